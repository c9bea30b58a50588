package gatehouse

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Whether the token was remembered, as a span tells it.
const (
	cacheHit  = "hit"
	cacheMiss = "miss"
)

// traceVerdict puts what was decided on the span that Caddy's `tracing` has
// begun. It costs nothing where no span is recorded.
func traceVerdict(ctx context.Context, p privacy, let admission, no *refusal) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("gatehouse.outcome", outcomeOf(let, no)))
	if no == nil {
		return
	}
	span.SetAttributes(attribute.String("gatehouse.code", string(no.code)))
	if rule := p.rule(no.rule); rule != "" {
		span.SetAttributes(attribute.String("gatehouse.rule", rule))
	}
}

// traceCache tells of a token that was looked at.
func traceCache(ctx context.Context, result string) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.String("gatehouse.cache", result))
	}
}

// outcomeOf is what became of a request, in one of the words of the metrics.
func outcomeOf(let admission, no *refusal) string {
	switch {
	case no != nil && no.code == codeHidden:
		return outcomeHidden
	case no != nil:
		return outcomeRefused
	case let.preflight:
		return outcomePreflight
	case let.open:
		return outcomePublic
	}
	return outcomePassed
}
