package gatehouse

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Attributes of the span that Caddy's `tracing` began.
const (
	attributeOutcome = "gatehouse.outcome"
	attributeCode    = "gatehouse.code"
	attributeRule    = "gatehouse.rule"
	attributeCache   = "gatehouse.cache"
)

// What became of the look into the memory of tokens.
const (
	cacheHit  = "hit"
	cacheMiss = "miss"
)

// trace tells the request's span what was decided. Without one that is recorded
// it takes no memory.
func (g *gate) trace(r *http.Request, let admission, no *refusal) {
	span := trace.SpanFromContext(r.Context())
	if !span.IsRecording() {
		return
	}
	if no == nil {
		span.SetAttributes(attribute.String(attributeOutcome, outcomeOf(let, no)))
		return
	}
	span.SetAttributes(attribute.String(attributeOutcome, outcomeOf(let, no)), attribute.String(attributeCode, string(no.code)))
	if rule := g.teller.privacy.rule(no.rule); rule != "" {
		span.SetAttributes(attribute.String(attributeRule, label(rule)))
	}
}

// traceCache tells the span whether a token's signature had to be checked.
func traceCache(ctx context.Context, result string) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.String(attributeCache, result))
	}
}
