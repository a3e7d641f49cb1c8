package conformance

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

const docLimits = "https://auth0.com/docs/troubleshoot/customer-support/operational-policies/rate-limit-policy"

var limitAssumptions = []Assumption{
	{"limit-headers", "Answers of the Management API carry X-RateLimit-Limit, -Remaining and -Reset.",
		Documented, docLimits, []string{readClients}, checkLimitHeaders},
	{"limit-reset", "X-RateLimit-Reset is an epoch second, by the clock of Date, an hour ahead at most.",
		Documented, docLimits, []string{readClients}, checkLimitReset},
	{"limit-of-the-list", "GET /clients may have a limit of its own; four requests in a row are not turned away.",
		Documented, docLimits + "/management-api-endpoint-rate-limits", []string{readClients}, checkLimitOfTheList},
	{"limit-exceeded", "Above the limit the answer is 429 too_many_requests, and Retry-After or X-RateLimit-Reset say when to come again.",
		Documented, docLimits, nil, byHand("it is not exceeded on purpose: that would turn others away")},
}

// list is the smallest request that the list of applications can be.
func (t *trial) list() answer {
	got := t.api(http.MethodGet, "clients?fields=client_id&include_fields=true&per_page=1", nil)
	t.expect(http.StatusOK, got, "applications could not be listed")
	return got
}

func checkLimitHeaders(t *trial) (string, bool) {
	got := t.list()
	var seen []string
	for _, name := range []string{headerLimit, headerRemaining, headerReset} {
		if value := got.shown(name); value != "" {
			seen = append(seen, name+" "+value)
		}
	}
	if len(seen) == 0 {
		return "none of them", false
	}
	return strings.Join(seen, ", "), len(seen) == 3
}

func checkLimitReset(t *trial) (string, bool) {
	seen := make([]string, 0, 2)
	sane := true
	for range 2 { // a bucket that is refilled in windows names the same time twice
		got := t.list()
		ahead, ok := got.resetAhead()
		sane = sane && ok && ahead > -2*time.Second && ahead <= time.Hour
		seen = append(seen, fmt.Sprintf("with %s of %s left: %s, Date and %s",
			got.shown(headerRemaining), got.shown(headerLimit), got.shown(headerReset), ahead))
	}
	return strings.Join(seen, "; "), sane
}

func checkLimitOfTheList(t *trial) (string, bool) {
	app := t.make("limit", nil)
	defer t.discard(app)
	before := t.limited
	var list answer
	left := make([]string, 0, 4)
	for range 4 {
		list = t.list()
		left = append(left, list.shown(headerRemaining))
	}
	limited := t.limited - before
	other := t.api(http.MethodGet, "clients/"+app.ClientID, nil)
	return fmt.Sprintf("limit %s, left %s, turned away %d. GET /clients/{id}: limit %s, left %s", list.shown(headerLimit),
		strings.Join(left, " "), limited, other.shown(headerLimit), other.shown(headerRemaining)), limited == 0
}
