package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// world is where a test's scripts run: beside the page, as an extension's do.
// The page's policy, which forbids scripts, stays in force for the page.
type world struct {
	tab    *tab
	id     runtime.ExecutionContextID
	forced bool // the document was opened in forced colours
}

// newWorld is for the document that is shown now.
func (b *tab) newWorld(t *testing.T) *world {
	t.Helper()
	return b.newWorldIn(t, call(t, b, page.GetFrameTree, cdp.Empty{}).FrameTree.Frame.ID)
}

func (b *tab) newWorldIn(t *testing.T, frame cdp.FrameID) *world {
	t.Helper()
	made := call(t, b, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: frame, WorldName: "test"})
	return &world{tab: b, id: made.ExecutionContextID}
}

// childFrame is the one frame of the page.
func (b *tab) childFrame(t *testing.T) cdp.FrameID {
	t.Helper()
	children := call(t, b, page.GetFrameTree, cdp.Empty{}).FrameTree.ChildFrames
	if len(children) != 1 {
		t.Fatalf("the page has %d frames", len(children))
	}
	return children[0].Frame.ID
}

func evalIn[T any](t *testing.T, w *world, script string) T {
	t.Helper()
	in := func(p *runtime.EvaluateParams) { p.ContextID = w.id }
	return run(t, w.tab, chromedp.Evaluate[T](script, in, chromedp.EvalAwaitPromise))
}

// load brings a library in.
func (w *world) load(t *testing.T, library string) {
	t.Helper()
	evalIn[int](t, w, library+"\n;0")
}

// layout is what is wrong with how the page is laid out.
func (w *world) layout(t *testing.T) []string {
	t.Helper()
	return evalIn[[]string](t, w, readScript(t, "layout.js"))
}

// findings are axe-core's.
type findings struct{ Violations, Unsure, Passed []string }

func (w *world) check(t *testing.T) findings {
	t.Helper()
	return evalIn[findings](t, w, readScript(t, "axe.js"))
}

func (w *world) mustBeAccessible(t *testing.T, where string) {
	t.Helper()
	f := w.check(t)
	for _, v := range slices.Concat(f.Violations, f.Unsure) {
		t.Errorf("%s: %s", where, v)
	}
	for _, rule := range []string{"color-contrast", "document-title", "html-has-lang", "html-lang-valid", "meta-viewport", "aria-hidden-focus"} {
		if !slices.Contains(f.Passed, rule) {
			t.Errorf("%s: %s was not looked at, only %s", where, rule, strings.Join(f.Passed, ", "))
		}
	}
}
