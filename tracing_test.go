package gatehouse

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collected "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// The span of Caddy's own `tracing`, as it is exported, tells what was decided.
func TestSpans(t *testing.T) {
	for level, named := range map[string]bool{privacyNone: true, privacyHIPAA: false} {
		t.Run(level, func(t *testing.T) {
			exported := collectSpans(t)
			s := newSigner(t, testIssuer)
			c := run(t, s, hosted("a", `
				tracing {
					span {method}:{path}
				}
				gatehouse {
					issuer `+testIssuer+` {
						keys `+s.keyFile+`
						audience `+testAudience+`
					}
					privacy `+level+`
					public /open
					hide /secret
					require /named/* {
						name admins
						role admin
					}
				}
				respond next
`))
			token := s.token(t, nil)
			forged := newSigner(t, testIssuer).token(t, nil)
			for _, a := range []ask{
				{target: "/first", token: token}, {target: "/again", token: token}, {target: "/open"}, {target: "/none"},
				{target: "/forged", token: forged}, {target: "/forged-again", token: forged}, {target: "/named/x", token: token}, {target: "/secret", token: token},
			} {
				a.target = urlOf("a", a.target)
				c.do(a)
			}
			c.stop() // which exports
			got := exported()
			for name, want := range map[string]map[string]string{
				"/first":        {"outcome": "passed", "cache": "miss"},
				"/again":        {"outcome": "passed", "cache": "hit"},
				"/open":         {"outcome": "public"},
				"/none":         {"outcome": "refused", "code": "credentials_missing"},
				"/forged":       {"outcome": "refused", "code": "token_invalid", "cache": "miss"},
				"/forged-again": {"outcome": "refused", "code": "token_invalid", "cache": "hit"},
				"/named/x":      {"outcome": "refused", "code": "role_missing", "cache": "hit", "rule": "admins"},
				"/secret":       {"outcome": "hidden", "code": "hidden", "cache": "hit", "rule": "Caddyfile:15"},
			} {
				if !named {
					delete(want, "rule")
				}
				span := got["GET:"+name]
				if !maps.Equal(span, want) {
					t.Errorf("%s: the span tells %v, want %v", name, span, want)
				}
			}
		})
	}
}

func TestSpansThatNobodyRecordsCostNothing(t *testing.T) {
	no := refused(codeTokenInvalid, "test")
	if n := testing.AllocsPerRun(100, func() {
		traceCache(context.Background(), cacheHit)
		traceVerdict(context.Background(), privacy{}, admission{}, nil)
		traceVerdict(context.Background(), privacy{}, admission{}, no)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// collectSpans makes Caddy's tracing export to a collector, and returns what
// tells of each span, by its name, what the gate says on it.
func collectSpans(t *testing.T) func() map[string]map[string]string {
	t.Helper()
	var mu sync.Mutex
	told := make(map[string]map[string]string)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var export collected.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &export)
		}
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, resource := range export.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, span := range scope.Spans {
					told[span.Name] = make(map[string]string)
					for _, a := range span.Attributes {
						if key, ours := strings.CutPrefix(a.Key, "gatehouse."); ours {
							told[span.Name][key] = a.Value.GetStringValue()
						}
					}
				}
			}
		}
	}))
	t.Cleanup(collector.Close)
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	return func() map[string]map[string]string {
		mu.Lock()
		defer mu.Unlock()
		return told
	}
}
