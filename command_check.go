package gatehouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"golang.org/x/net/http/httpguts"
)

// exitRefused is the exit code of `check` for a request that is refused.
const exitRefused = 3

// checkRequest is what `caddy gatehouse check` is asked for.
type checkRequest struct {
	config, adapter string
	call            call
	claims, headers []string
	accept          string
	signedIn        time.Duration
	signedInGiven   bool
	body            bool
}

func checkCommand() *cobra.Command {
	var q checkRequest
	cmd := &cobra.Command{
		Use:   "check [--config <path>] [--token <token> | --role <role>... --scope <scope>... --user <sub>] [--ip <address>] [--header <line>]... [--accept <types>] <METHOD> <URL>",
		Short: "Says what a request would be answered, and why, rule by rule",
		Long: `
Says what a request would be answered, and why: each rule with file:line, whether
it is hit, what it needs and what the visitor has; then the answer, but for Date.

The configuration's own routes, matchers and gates judge the request. Handlers
that answer or may reach out do not run: no upstream is contacted, nothing is
listened on, nothing is written. With --token the issuers' keys are fetched, as
the running server does; without, the visitor is imagined.

The URL may be a path where the configuration has only one site.

Exit code: 0 the request passes, 3 it is refused, 1 anything else.`,
		Args: cobra.ExactArgs(2),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		q.call.method, q.call.target = args[0], args[1]
		q.signedInGiven = cmd.Flags().Changed("signed-in")
		return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) {
			passed, err := q.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
			switch {
			case err != nil:
				return caddy.ExitCodeFailedStartup, err
			case !passed:
				cmd.SilenceErrors = true // a refusal is an answer
				return exitRefused, nil
			}
			return caddy.ExitCodeSuccess, nil
		})(cmd, args)
	}
	q.flags(cmd)
	return cmd
}

func (q *checkRequest) flags(cmd *cobra.Command) {
	f, who := cmd.Flags(), &q.call.visitor
	f.StringVarP(&q.config, "config", "c", "", "Configuration file; default: the Caddyfile in this folder, if there is one")
	f.StringVarP(&q.adapter, "adapter", "a", "", "Name of the config adapter")
	f.StringVarP(&q.call.token, "token", "t", "", "Token of the visitor, in place of the flags that imagine one")
	f.StringArrayVarP(&who.Role, "role", "r", nil, "Role of the visitor; repeatable")
	f.StringArrayVar(&who.Scope, "scope", nil, "Scope of the visitor; repeatable")
	f.StringVarP(&who.User, "user", "u", "", "Subject of the visitor; default: somebody, if another flag makes it a recognised one")
	f.StringVar(&who.Issuer, "issuer", "", "Issuer of the visitor's token; default: the only one of the gate")
	f.StringArrayVar(&q.claims, "claim", nil, "Another claim as name=value; repeatable")
	f.StringVar(&who.ACR, "acr", "", "How the visitor signed in")
	f.DurationVar(&q.signedIn, "signed-in", 0, "How long ago the visitor signed in; default: just now")
	f.StringVar(&who.IP, "ip", "", "Address that the request comes from; default: 100::1, which is in nobody's network")
	f.StringArrayVarP(&q.headers, "header", "H", nil, "Header of the request, as 'Name: value'; repeatable")
	f.StringVar(&q.accept, "accept", "", "Accept header of the request: text/html for what people see")
	f.BoolVar(&q.body, "body", false, "Print HTML pages whole")
}

func (q *checkRequest) run(ctx context.Context, out, talk io.Writer) (passed bool, err error) {
	if err := q.prepare(); err != nil {
		return false, err
	}
	config, _, _, err := caddycmd.LoadConfig(q.config, q.adapter)
	if err != nil {
		return false, err
	}
	warnings, err := errorRoutesWithFiles(config)
	if err != nil {
		return false, err
	}
	for _, w := range warnings {
		_, _ = fmt.Fprintln(talk, "warning:", w)
	}
	s, err := newStage(config)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if q.call.token != "" {
		if err := s.fetchKeys(ctx, q.call.token); err != nil {
			return false, err
		}
	}
	p, err := s.perform(ctx, &q.call)
	if err != nil {
		return false, err
	}
	if len(p.gates) == 0 {
		return false, fmt.Errorf("no gate looked at %s %s; %s", p.method, p.url, p.ending())
	}
	return p.passed(), p.print(out, q.body)
}

// prepare turns flags into the call.
func (q *checkRequest) prepare() error {
	who := &q.call.visitor
	for _, pair := range q.claims {
		if err := who.addClaim(pair); err != nil {
			return fmt.Errorf("--%w", err)
		}
	}
	if q.signedInGiven {
		since := caddy.Duration(q.signedIn)
		who.SignedIn = &since
	}
	if q.call.token != "" && who.recognised() {
		return errors.New("found --token beside flags that imagine a visitor; expected one of the two")
	}
	if err := who.check(); err != nil {
		return err
	}
	if !isMethod(q.call.method) {
		return fmt.Errorf("found method %q; expected one in capitals, such as GET", q.call.method)
	}
	q.call.header = make(http.Header)
	for _, line := range q.headers {
		name, value, found := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !found || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("--header: found %q; expected 'Name: value'", line)
		}
		q.call.header.Add(name, value)
	}
	if q.accept != "" {
		q.call.header.Set("Accept", q.accept)
	}
	return nil
}
