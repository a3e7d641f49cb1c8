package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const docLimits = "https://auth0.com/docs/troubleshoot/customer-support/operational-policies/rate-limit-policy"

var limitAssumptions = []Assumption{
	{
		Name:     "limit-headers",
		Assumed:  "Answers of the Management API carry X-RateLimit-Limit, -Remaining and -Reset.",
		Evidence: Documented, Source: docLimits,
		Scopes: []string{readClients}, check: checkLimitHeaders,
	},
	{
		Name:     "limit-reset",
		Assumed:  "X-RateLimit-Reset is an epoch second, by the clock of Date, an hour ahead at most.",
		Evidence: Documented, Source: docLimits,
		Scopes: []string{readClients}, check: checkLimitReset,
	},
	{
		Name:     "limit-of-the-list",
		Assumed:  "GET /clients may have a limit of its own; four requests in a row are not turned away.",
		Evidence: Documented, Source: docLimits + "/management-api-endpoint-rate-limits",
		Scopes: []string{readClients}, check: checkLimitOfTheList,
	},
	{
		Name:     "limit-exceeded",
		Assumed:  "Above the limit the answer is 429 too_many_requests, and Retry-After or X-RateLimit-Reset say when to come again.",
		Evidence: Documented, Source: docLimits,
		check: func(context.Context, *Run) (string, bool, error) {
			return "", false, errors.New("it is not exceeded on purpose: that would turn others away")
		},
	},
}

const (
	headerLimit     = "X-RateLimit-Limit"
	headerRemaining = "X-RateLimit-Remaining"
	headerReset     = "X-RateLimit-Reset"
)

// list is the smallest request that the list of applications can be.
func (r *Run) list(ctx context.Context) (answer, error) {
	got, err := r.api(ctx, http.MethodGet, "clients?fields=client_id&include_fields=true&per_page=1", nil)
	if err == nil && got.status != http.StatusOK {
		err = unexpected("applications could not be listed", got)
	}
	return got, err
}

func checkLimitHeaders(ctx context.Context, r *Run) (string, bool, error) {
	got, err := r.list(ctx)
	if err != nil {
		return "", false, err
	}
	var seen []string
	for _, name := range []string{headerLimit, headerRemaining, headerReset} {
		if value := got.header.Get(name); value != "" {
			seen = append(seen, name+" "+printable(value))
		}
	}
	if len(seen) == 0 {
		return "none of them", false, nil
	}
	return strings.Join(seen, ", "), len(seen) == 3, nil
}

func checkLimitReset(ctx context.Context, r *Run) (string, bool, error) {
	var seen []string
	sane := true
	for range 2 { // a bucket that is refilled in windows names the same time twice
		got, err := r.list(ctx)
		if err != nil {
			return "", false, err
		}
		ahead, ok := resetAhead(got)
		sane = sane && ok && ahead > -2*time.Second && ahead <= time.Hour
		seen = append(seen, fmt.Sprintf("with %s of %s left: %s, Date and %s", printable(got.header.Get(headerRemaining)), printable(got.header.Get(headerLimit)),
			printable(got.header.Get(headerReset)), ahead))
	}
	return strings.Join(seen, "; "), sane, nil
}

func checkLimitOfTheList(ctx context.Context, r *Run) (string, bool, error) {
	var left []string
	limit := ""
	before := r.limit(http.MethodGet, "clients").Limited
	for range 4 {
		got, err := r.list(ctx)
		if err != nil {
			return "", false, err
		}
		left, limit = append(left, printable(got.header.Get(headerRemaining))), printable(got.header.Get(headerLimit))
	}
	others := r.limit(http.MethodGet, "clients/{id}")
	limited := r.limit(http.MethodGet, "clients").Limited - before
	return fmt.Sprintf("limit %s, left %s, turned away %d. GET /clients/{id}: limit %s, least left %d", limit, strings.Join(left, " "), limited, others.Limit, others.Least),
		limited == 0, nil
}
