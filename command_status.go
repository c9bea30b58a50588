package gatehouse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

const (
	// exitStale is the exit code of `status` where some keys cannot be used.
	exitStale = 3

	// maxStatus bounds what is read of an answer: more than all refusals take.
	maxStatus = 16 << 20

	// shownRefusals is how many refusals are printed.
	shownRefusals = 10
)

// statusRequest is what `caddy gatehouse status` is asked for.
type statusRequest struct {
	address, config, adapter string
	request                  string
	json                     bool
}

func statusCommand() *cobra.Command {
	var q statusRequest
	cmd := &cobra.Command{
		Use:   "status [--address <interface>] [--config <path> [--adapter <name>]] [--json] [--request <request id>]",
		Short: "Prints what the running gates know: keys, cache, lock-outs, recent refusals",
		Long: `
Asks the admin endpoint of the running Caddy, and prints where each issuer's keys
come from, their age and the last error of fetching them; how many tokens are
remembered and how many networks locked out; and the last refusals.

With --request it prints the one refusal that a visitor was told this id with.
With --json it prints the answer of the admin endpoint instead.

Exit code: 0 all is well, 3 some issuer has no keys that can be used, 1 anything
else: Caddy cannot be reached, or no such refusal is kept.`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) {
			well, err := q.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
			switch {
			case err != nil:
				return caddy.ExitCodeFailedStartup, err
			case !well:
				cmd.SilenceErrors = true // it was said
				return exitStale, nil
			}
			return caddy.ExitCodeSuccess, nil
		})(cmd, args)
	}
	f := cmd.Flags()
	f.StringVar(&q.address, "address", "", "Address of the admin endpoint; default: that of --config, or Caddy's own")
	f.StringVarP(&q.config, "config", "c", "", "Configuration file to find the admin endpoint by")
	f.StringVarP(&q.adapter, "adapter", "a", "", "Name of the config adapter")
	f.StringVar(&q.request, "request", "", "Print the refusal with this request id")
	f.BoolVar(&q.json, "json", false, "Print JSON")
	return cmd
}

// run reports false where some issuer has no keys that can be used.
func (q *statusRequest) run(out, talk io.Writer) (well bool, err error) {
	address, err := caddycmd.DetermineAdminAPIAddress(q.address, nil, q.config, q.adapter)
	if err != nil {
		return false, err
	}
	if q.request != "" {
		data, err := askAdmin(address, "refusals/"+url.PathEscape(q.request))
		if err != nil {
			return false, err
		}
		return true, printJSON(out, data)
	}
	data, err := askAdmin(address, "status")
	if err != nil {
		return false, err
	}
	var report statusReport
	if err := json.Unmarshal(data, &report); err != nil {
		return false, fmt.Errorf("the admin endpoint at %s answered with what is no status of gates: %s", printable(address), printable(err.Error()))
	}
	if q.json {
		err = printJSON(out, data)
	} else {
		err = printStatus(out, address, &report)
	}
	return sayStale(talk, &report), err
}

func printStatus(out io.Writer, address string, report *statusReport) error {
	data, err := askAdmin(address, "refusals")
	if err != nil {
		return err
	}
	var recent []refusalLine
	if err := json.Unmarshal(data, &recent); err != nil {
		return fmt.Errorf("reading the refusals: %s", printable(err.Error()))
	}
	_, err = out.Write(report.print(recent))
	return err
}

// askAdmin returns what the admin endpoint tells under a name.
func askAdmin(address, name string) ([]byte, error) {
	resp, err := caddycmd.AdminAPIRequest(address, http.MethodGet, adminBase+name, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("asking the admin endpoint at %s: %s", printable(address), printable(err.Error()))
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is lost when closing a body that was read
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus+1))
	if err == nil && len(data) > maxStatus {
		err = errors.New("its answer is too long")
	}
	if err != nil {
		return nil, fmt.Errorf("asking the admin endpoint at %s: %w", printable(address), err)
	}
	return data, nil
}

// printJSON indents it. Even in JSON nothing may reach the terminal that it would
// act on.
func printJSON(out io.Writer, data []byte) error {
	var b, clean bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(data), "", "  "); err != nil {
		return fmt.Errorf("the admin endpoint answered with what is no JSON: %s", printable(err.Error()))
	}
	for text := range strings.Lines(b.String() + "\n") {
		clean.WriteString(printable(strings.TrimSuffix(text, "\n")) + "\n")
	}
	_, err := out.Write(clean.Bytes())
	return err
}

func sayStale(talk io.Writer, report *statusReport) bool {
	well := true
	for i := range report.Issuers {
		if is := &report.Issuers[i]; is.Stale {
			well = false
			_, _ = fmt.Fprintf(talk, "no keys that can be used: issuer %s\n", printable(is.Issuer))
		}
	}
	return well
}

// refusalLine is what is printed of a refusal.
type refusalLine struct {
	Time      string `json:"time"`
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Rule      string `json:"rule"`
	RequestID string `json:"request_id"`
	Observed  bool   `json:"observed"`
}

// print makes one table for issuers and one for refusals. Nothing comes into
// them but printable text.
func (s *statusReport) print(recent []refusalLine) []byte {
	var b bytes.Buffer
	if len(s.Issuers) == 0 {
		b.WriteString("no issuers\n")
	} else {
		s.printIssuers(&b)
	}
	fmt.Fprintf(&b, "\ncache     %d tokens remembered, %d at most\n", s.Cache.Entries, s.Cache.Capacity)
	fmt.Fprintf(&b, "lockouts  %d networks locked out; %d records in use, %d at most\n", s.Lockouts.Active, s.Lockouts.Records, s.Lockouts.Capacity)
	fmt.Fprintf(&b, "refusals  %d kept, %d at most; %d came too fast to be kept\n", s.Refusals.Entries, s.Refusals.Capacity, s.Refusals.LeftOut)
	if len(recent) > 0 {
		printRefusals(&b, recent[:min(len(recent), shownRefusals)])
	}
	return b.Bytes()
}

func (s *statusReport) printIssuers(b *bytes.Buffer) {
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	row(table, "ISSUER", "KIND", "STATE", "AGE", "FETCHES", "FAILURES", "KEYS")
	for i := range s.Issuers {
		is := &s.Issuers[i]
		age, fetches, failures := "-", "-", "-"
		if is.Kind == kindURL {
			fetches, failures = fmt.Sprint(is.Fetches), fmt.Sprint(is.Failures)
		}
		if is.AgeSeconds != nil {
			age = (time.Duration(*is.AgeSeconds) * time.Second).String()
		}
		row(table, is.Issuer, is.Kind, is.state(), age, fetches, failures, is.keyNames())
	}
	_ = table.Flush() // into memory
	for i := range s.Issuers {
		if is := &s.Issuers[i]; is.LastError != "" {
			fmt.Fprintf(b, "\nlast error of %s, %s:\n  %s\n", printable(is.Issuer), is.LastErrorAt.UTC().Format(time.RFC3339), printable(is.LastError))
		}
	}
}

func (r *issuerReport) state() string {
	switch {
	case r.Stale:
		return "stale"
	case r.Failing:
		return "failing"
	}
	return "ok"
}

// keyNames lists the first keys by kid, or by what there is in place of one.
func (r *issuerReport) keyNames() string {
	const most, width = 4, 16
	var names []string
	for i, k := range r.Keys {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(r.Keys)-most))
			break
		}
		name := k.KeyID
		if name == "" {
			name = k.Thumbprint
		}
		if short := []rune(name); len(short) > width {
			name = string(short[:width-1]) + "…"
		}
		names = append(names, strings.TrimSpace(name+" "+k.Type))
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func printRefusals(b *bytes.Buffer, recent []refusalLine) {
	b.WriteByte('\n')
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	row(table, "TIME", "STATUS", "CODE", "RULE", "REQUEST ID")
	for _, r := range recent {
		status := fmt.Sprint(r.Status)
		if r.Observed {
			status = "(" + status + ")" // it was let pass
		}
		rule := r.Rule
		if rule == "" {
			rule = "-"
		}
		row(table, r.Time, status, r.Code, rule, r.RequestID)
	}
	_ = table.Flush() // into memory
}

// row writes cells that hold no tab, no line break and nothing that a terminal
// acts on.
func row(table *tabwriter.Writer, cells ...string) {
	for i, cell := range cells {
		cells[i] = printable(cell)
	}
	_, _ = fmt.Fprintln(table, strings.Join(cells, "\t"))
}
