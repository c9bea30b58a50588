package gatehouse

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/tracing"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// span is what a trace tells of a request.
type span map[string]string

// traced sends a request within a span, and returns what the gate added to it.
func (s *site) traced(a ask) span {
	s.t.Helper()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	ctx, began := provider.Tracer("test").Start(s.t.Context(), "request")
	a.change = func(r *http.Request) { *r = *r.WithContext(ctx) }
	s.do(a)
	began.End()
	return attributesOf(spans.Ended()[0].Attributes())
}

func attributesOf(list []attribute.KeyValue) span {
	out := make(span)
	for _, kv := range list {
		out[string(kv.Key)] = kv.Value.AsString()
	}
	return out
}

// A trace says why a request was refused, and whether a signature was checked.
func TestSpanOfARequest(t *testing.T) {
	s := newSite(t, `
		deny /private/*
		hide /internal/*
		public /login
		cors {
			origins https://app.example.com
		}
		require /admin/* {
			name admins
			role admin
		}`)
	good, bad := s.token(t, nil), newSigner(t, testIssuer).token(t, nil)
	deny, hide := s.gate.Deny[0].Source, s.gate.Hide[0].Source
	refusal := func(outcome string, c code, rest span) span {
		all := span{attributeOutcome: outcome, attributeCode: string(c)}
		maps.Copy(all, rest)
		return all
	}
	for _, c := range []struct { // in this order: what was seen before is remembered
		name string
		ask
		want span
	}{
		{"no credential", ask{target: "/x"}, refusal(outcomeRefused, codeCredentialsMissing, nil)},
		{"garbage", ask{target: "/x", token: "garbage"}, refusal(outcomeRefused, codeCredentialsMalformed, nil)},
		{"a public path", ask{target: "/login"}, span{attributeOutcome: outcomePublic}},
		{"a path that is denied", ask{target: "/private/x", token: good}, refusal(outcomeRefused, codePathDenied, span{attributeRule: deny})},
		{"a good token", ask{target: "/x", token: good}, span{attributeOutcome: outcomePassed, attributeCache: cacheMiss}},
		{"the same again", ask{target: "/x", token: good}, span{attributeOutcome: outcomePassed, attributeCache: cacheHit}},
		{"a forged token", ask{target: "/x", token: bad}, refusal(outcomeRefused, codeTokenInvalid, span{attributeCache: cacheMiss})},
		{"the same forged token again", ask{target: "/x", token: bad}, refusal(outcomeRefused, codeTokenInvalid, span{attributeCache: cacheHit})},
		{"a public path with a token", ask{target: "/login", token: good}, span{attributeOutcome: outcomePublic, attributeCache: cacheHit}},
		{"a role that is missing", ask{target: "/admin/x", token: good},
			refusal(outcomeRefused, codeRoleMissing, span{attributeRule: "admins", attributeCache: cacheHit})},
		{"a hidden path", ask{target: "/internal/x", token: good}, refusal(outcomeHidden, codeHidden, span{attributeRule: hide, attributeCache: cacheHit})},
		{"a preflight", ask{method: http.MethodOptions, target: "/x", header: http.Header{
			"Origin": {"https://app.example.com"}, "Access-Control-Request-Method": {"GET"},
		}}, span{attributeOutcome: outcomePreflight}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			if got := s.traced(c.ask); !maps.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// Traces leave the house more often than logs do.
func TestSpanOfAPrivateGate(t *testing.T) {
	s := newSite(t, "privacy hipaa\nrequire /x {\nname oncology\nrole admin\n}")
	want := span{attributeOutcome: outcomeRefused, attributeCode: string(codeRoleMissing), attributeCache: cacheMiss}
	if got := s.traced(ask{target: "/x", token: s.token(t, nil)}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Without a memory of tokens there is nothing to tell of it.
func TestSpanWithoutCache(t *testing.T) {
	s := newSite(t, "cache off")
	if got := s.traced(ask{target: "/x", token: s.token(t, nil)}); !maps.Equal(got, span{attributeOutcome: outcomePassed}) {
		t.Errorf("got %v", got)
	}
}

// Who does not trace pays nothing.
func TestNoSpanCostsNothing(t *testing.T) {
	s := newSite(t, "")
	r := httptest.NewRequest(http.MethodGet, "/x", nil)
	gate, no := s.gate.gate, refused(codeRoleMissing, "")
	if n := testing.AllocsPerRun(1000, func() {
		gate.trace(r, admission{}, nil)
		gate.trace(r, admission{}, no)
		traceCache(r.Context(), cacheHit)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Caddy sorts `tracing` before the gate wherever it is written, so that refusals
// are in the trace. In a `route` it must be written before.
func TestSpanOfCaddysTracing(t *testing.T) {
	gate := func(s *signer) string {
		return "gatehouse {\n\tissuer " + testIssuer + " {\n\t\tkeys " + s.keyFile + "\n\t\taudience panel\n\t}\n}\n"
	}
	for name, c := range map[string]struct {
		body func(gate string) string
		want span
	}{
		"written after the gate": {
			func(gate string) string { return gate + "tracing\nrespond next" },
			span{attributeOutcome: outcomeRefused, attributeCode: string(codeCredentialsMissing)},
		},
		"before the gate in a route": {
			func(gate string) string { return "route {\ntracing\n" + gate + "respond next\n}" },
			span{attributeOutcome: outcomeRefused, attributeCode: string(codeCredentialsMissing)},
		},
		"after the gate in a route, which refuses before": {
			func(gate string) string { return "route {\n" + gate + "tracing\nrespond next\n}" },
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_EXPORTER", exporterName)
			signer := newSigner(t, testIssuer)
			s := newSiteFrom(t, signer, ":80 {\n"+c.body(gate(signer))+"\n}")
			_ = exported.take()
			s.do(ask{target: "/x"})
			handler := findTracing(s.server.Routes)
			if handler == nil {
				t.Fatal("no tracing")
			}
			if err := handler.Cleanup(); err != nil { // exports what is still to be exported
				t.Fatal(err)
			}
			spans := exported.take()
			if c.want == nil {
				if len(spans) != 0 {
					t.Errorf("got %d spans", len(spans))
				}
				return
			}
			if len(spans) != 1 {
				t.Fatalf("got %d spans", len(spans))
			}
			got := attributesOf(spans[0].Attributes())
			for _, name := range []string{attributeOutcome, attributeCode, attributeRule, attributeCache} {
				if got[name] != c.want[name] {
					t.Errorf("%s is %q, want %q", name, got[name], c.want[name])
				}
			}
		})
	}
}

func findTracing(routes caddyhttp.RouteList) *tracing.Tracing {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *tracing.Tracing:
				return h
			case *caddyhttp.Subroute:
				if found := findTracing(h.Routes); found != nil {
					return found
				}
			}
		}
	}
	return nil
}

// exporter keeps the spans that Caddy exports.
type exporter struct {
	mu    sync.Mutex
	spans []sdktrace.ReadOnlySpan
}

const exporterName = "gatehouse-test"

var exported exporter

func (e *exporter) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spans = append(e.spans, spans...)
	return nil
}

func (*exporter) Shutdown(context.Context) error { return nil }

func (e *exporter) take() []sdktrace.ReadOnlySpan {
	e.mu.Lock()
	defer e.mu.Unlock()
	spans := e.spans
	e.spans = nil
	return spans
}

func init() {
	autoexport.RegisterSpanExporter(exporterName, func(context.Context) (sdktrace.SpanExporter, error) { return &exported, nil })
}
