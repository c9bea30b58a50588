package gatehouse

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The alerts and the dashboard list the codes of each status. A code that is in no
// list would be refused and seen by nobody.
func TestMonitoringNamesEveryCode(t *testing.T) {
	// They have an alert and a panel of their own.
	apart := []string{"locked_out", "throttled"}
	alerts, dashboard := readDoc(t, "monitoring/alerts.yml"), readDoc(t, "monitoring/dashboard.json")
	after := func(text, start string) []string {
		_, rest, found := strings.Cut(text, start)
		match := regexp.MustCompile(`code=~\\?"([a-z_|]+)\\?"`).FindStringSubmatch(rest)
		if !found || match == nil {
			t.Fatalf("no list of codes after %q", start)
		}
		return strings.Split(match[1], "|")
	}
	for _, list := range []struct {
		where string
		codes []string
		holds func(status int) bool
	}{
		{"GatehouseUnrecognisedSpike", after(alerts, "alert: GatehouseUnrecognisedSpike"), func(status int) bool { return status == http.StatusUnauthorized }},
		{"GatehouseForbiddenSpike", after(alerts, "alert: GatehouseForbiddenSpike"), func(status int) bool { return status == http.StatusForbidden }},
		{"panel 401", after(dashboard, "Not recognised (401)"), func(status int) bool { return status == http.StatusUnauthorized }},
		{"panel 403", after(dashboard, "Not permitted (403)"), func(status int) bool { return status == http.StatusForbidden || status == http.StatusNotFound }},
		{"panel of the rest", after(dashboard, "Not judged"), func(status int) bool { return !slices.Contains([]int{401, 403, 404}, status) }},
	} {
		var want []string
		for _, c := range allCodes() {
			if list.holds(c.effect().status) && !slices.Contains(apart, string(c)) {
				want = append(want, string(c))
			}
		}
		slices.Sort(want)
		slices.Sort(list.codes)
		if !slices.Equal(list.codes, want) {
			t.Errorf("%s lists %v, want %v", list.where, list.codes, want)
		}
	}
	// The spikes name their codes three times each.
	for _, code := range []string{"step_up_required", "origin_denied"} {
		if n := strings.Count(alerts, code); n != 3 {
			t.Errorf("%s is named %d times, want 3", code, n)
		}
	}
}
