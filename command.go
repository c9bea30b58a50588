package gatehouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/certmagic"
	"github.com/google/uuid"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "gatehouse",
		Usage: "token|check|status|templates|preview ...",
		Short: "Tools for the gatehouse handler",
		Long: `
Tools for the gatehouse handler. Results go to stdout, talk goes to stderr.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(tokenCommand(), checkCommand(), statusCommand(), templatesCommand(), previewCommand())
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		},
	})
}

// tokenRequest is what `caddy gatehouse token` is asked for.
type tokenRequest struct {
	config, adapter  string
	subject          string
	roles, scopes    []string
	audience, claims []string
	lifetime         time.Duration
}

func tokenCommand() *cobra.Command {
	var req tokenRequest
	cmd := &cobra.Command{
		Use:   "token --subject <sub> [--role <role>]... [--scope <scope>]... [--audience <aud>]... [--lifetime <duration>] [--claim <name>=<value>]... [--config <path>]",
		Short: "Mints a token from `issuer internal`",
		Long: `
Mints a token from the built-in issuer and writes it to stdout.

The key is the one that the running server keeps in its storage; this command
reads it and never makes one. The audience is taken from the configuration
unless --audience is given.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			return req.run(cmd.Context(), cmd.OutOrStdout(), time.Now())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&req.config, "config", "c", "", "Configuration file; default: the Caddyfile in this folder, if there is one")
	f.StringVarP(&req.adapter, "adapter", "a", "", "Name of the config adapter")
	f.StringVarP(&req.subject, "subject", "s", "", "Whom the token is for (required)")
	f.StringArrayVarP(&req.roles, "role", "r", nil, "Role to give; repeatable")
	f.StringArrayVar(&req.scopes, "scope", nil, "Scope to give; repeatable")
	f.StringArrayVar(&req.audience, "audience", nil, "Audience; repeatable; default: the one of issuer internal in the configuration")
	f.DurationVar(&req.lifetime, "lifetime", time.Hour, "How long the token is valid")
	f.StringArrayVar(&req.claims, "claim", nil, "Another claim as name=value; value is JSON, or else a string; repeatable")
	return cmd
}

func (q *tokenRequest) run(ctx context.Context, out io.Writer, now time.Time) error {
	if q.subject == "" {
		return errors.New("--subject is empty; expected whom the token is for")
	}
	if q.lifetime <= 0 {
		return fmt.Errorf("--lifetime is %s; expected more than 0s", q.lifetime)
	}
	config, _, _, err := caddycmd.LoadConfig(q.config, q.adapter)
	if err != nil {
		return err
	}
	if len(q.audience) == 0 {
		if q.audience, err = internalAudience(config); err != nil {
			return err
		}
	}
	claims, err := q.build(now)
	if err != nil {
		return err
	}
	storage, err := configuredStorage(ctx, config)
	if err != nil {
		return err
	}
	private, err := loadInternalKey(ctx, storage)
	if err != nil {
		return explainNoKey(err, storage)
	}
	minted, err := mint(private, claims)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, minted)
	return err
}

// build puts the claims together (RFC 7519; roles and scope as in RFC 9068).
func (q *tokenRequest) build(now time.Time) (map[string]any, error) {
	claims := map[string]any{
		"iss": internalIssuer,
		"sub": q.subject,
		"iat": now.Unix(),
		"exp": now.Add(q.lifetime).Unix(),
		"jti": uuid.NewString(),
	}
	if len(q.audience) > 0 {
		claims["aud"] = q.audience
	}
	if len(q.roles) > 0 {
		claims["roles"] = q.roles
	}
	if len(q.scopes) > 0 {
		claims["scope"] = strings.Join(q.scopes, " ")
	}
	for _, claim := range q.claims {
		name, value, found := strings.Cut(claim, "=")
		if !found || name == "" {
			return nil, fmt.Errorf("--claim: found %q; expected name=value", claim)
		}
		if _, taken := claims[name]; taken {
			return nil, fmt.Errorf("--claim: %s is set by another flag already", name)
		}
		var parsed any
		if json.Unmarshal([]byte(value), &parsed) != nil {
			parsed = value
		}
		claims[name] = parsed
	}
	return claims, nil
}

// explainNoKey says where it looked and what to do: the usual reason is a
// server that has not run yet, or one that runs as another user.
func explainNoKey(err error, storage certmagic.Storage) error {
	who := "this user"
	if u, lookErr := user.Current(); lookErr == nil {
		who = u.Username
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no key of issuer internal in %v, looked as %s: start the server with this configuration first, and run this command as the user that the server runs as", storage, who)
	}
	return fmt.Errorf("reading the key of issuer internal from %v as %s: %w; run this command as the user that the server runs as", storage, who, err)
}

// configuredStorage is the storage that a server with this configuration uses.
func configuredStorage(ctx context.Context, config []byte) (certmagic.Storage, error) {
	var top struct {
		StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=caddy.storage inline_key=module"`
	}
	if len(config) > 0 {
		if err := json.Unmarshal(config, &top); err != nil {
			return nil, fmt.Errorf("reading the configuration: %w", err)
		}
	}
	if top.StorageRaw == nil {
		return caddy.DefaultStorage, nil
	}
	moduleCtx, cancel := caddy.NewContext(caddy.Context{Context: ctx})
	defer cancel()
	module, err := moduleCtx.LoadModule(&top, "StorageRaw")
	if err != nil {
		return nil, fmt.Errorf("loading the storage: %w", err)
	}
	return module.(caddy.StorageConverter).CertMagicStorage()
}

// internalAudience finds the audience that issuer internal asks for.
func internalAudience(config []byte) ([]string, error) {
	if len(config) == 0 {
		return nil, errors.New("found no configuration; expected --config <path>, or --audience <aud>")
	}
	gates, err := gatesIn(config)
	if err != nil {
		return nil, err
	}
	var issuers []*Issuer
	for _, g := range gates {
		issuers = append(issuers, slices.DeleteFunc(g.Issuers, func(is *Issuer) bool { return is == nil || !is.Internal })...)
	}
	if len(issuers) == 0 {
		return nil, errors.New("found no `issuer internal` in the configuration; tokens from it would be of no use")
	}
	audiences := issuers[0].Audiences
	for _, is := range issuers[1:] {
		if !slices.Equal(is.Audiences, audiences) {
			return nil, errors.New("the configuration has several issuers internal with different audiences; expected --audience <aud>")
		}
	}
	return resolveAll("audience", audiences)
}
