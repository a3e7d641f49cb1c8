package doctor

import (
	"math"
	"time"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// Status says how a check ended.
type Status string

// How a check ends.
const (
	OK      Status = "ok"
	Warning Status = "warning" // the engine works, with the limits that are told
	Failed  Status = "failed"  // the engine does not work
	Skipped Status = "skipped" // could not be looked at, because of an earlier failure
)

// Names of the checks, in the order in which they are told.
const (
	checkLogin        = "login"
	checkScopes       = "scopes"
	checkAPI          = "management_api"
	checkRateLimit    = "rate_limit"
	checkClock        = "clock"
	checkApplications = "applications"
)

// Report is what was found. Its JSON form is what -format=json prints: fields
// are added to it, never taken away or given another meaning. It holds no
// secret.
type Report struct {
	Domain       string       `json:"domain"`
	ClientID     string       `json:"client_id"`
	Audience     string       `json:"audience"`
	OK           bool         `json:"ok"` // no check has failed
	Checks       []Check      `json:"checks"`
	Scopes       []Scope      `json:"scopes"`
	OtherScopes  []string     `json:"other_scopes"` // granted, and of no use to the engine itself
	RateLimit    *RateLimit   `json:"rate_limit"`   // null: not told
	Clock        *Clock       `json:"clock"`        // null: not told
	Applications Applications `json:"applications"`
}

// Check is one thing that was looked at.
type Check struct {
	Name    string `json:"check"`
	Status  Status `json:"status"`
	Message string `json:"message"`
	Remedy  string `json:"remedy"` // what to do; "": nothing
}

// Scope is a scope that the engine can use.
type Scope struct {
	Name     string `json:"scope"`
	Granted  *bool  `json:"granted"`  // null: Auth0 did not say, or there was no login
	Required bool   `json:"required"` // without it the engine is of no use
	Needed   bool   `json:"needed"`   // of use with this way to authenticate, and not covered by another scope
	Enables  string `json:"enables"`
	Without  string `json:"without"`
}

// RateLimit is what X-RateLimit-* of the last answer said.
type RateLimit struct {
	Limit     *int       `json:"limit"`     // null: not told
	Remaining *int       `json:"remaining"` // null: not told
	Reset     *time.Time `json:"reset"`     // null: not told
}

// Clock is how far Auth0's clock is ahead of this machine's (negative: behind),
// in seconds: somewhere between Least and Most; Ahead is what is certain.
type Clock struct {
	Ahead float64 `json:"ahead_seconds"`
	Least float64 `json:"least_seconds"`
	Most  float64 `json:"most_seconds"`
}

// Verdict says whether an application can be a role.
type Verdict string

// Whether an application can be a role.
const (
	Fit             Verdict = "fit"
	FitWithWarnings Verdict = "fit_with_warnings"
	Unfit           Verdict = "unfit"
	Unchecked       Verdict = "unchecked" // not all of it could be seen
)

// Applications are those that were looked at.
type Applications struct {
	Total           *int          `json:"total"` // of the tenant; null: not told, or not asked
	Checked         int           `json:"checked"`
	Fit             int           `json:"fit"`
	FitWithWarnings int           `json:"fit_with_warnings"`
	Unfit           int           `json:"unfit"`
	Unchecked       int           `json:"unchecked"`
	List            []Application `json:"list"`
}

// What a role hands out: its credential_type.
const (
	credentialSecret = "client_secret"
	credentialKey    = "private_key"
)

// Application is one of them.
type Application struct {
	ClientID       string   `json:"client_id"`
	Name           string   `json:"name"`
	AppType        string   `json:"app_type"` // not_set: Auth0 has none
	Verdict        Verdict  `json:"verdict"`
	Reasons        []string `json:"reasons"`         // of what Verdict says
	CredentialType string   `json:"credential_type"` // of the role that it can be: client_secret, private_key; "": of none
}

func (a *Applications) add(app Application) {
	a.Checked++
	switch app.Verdict {
	case Fit:
		a.Fit++
	case FitWithWarnings:
		a.FitWithWarnings++
	case Unfit:
		a.Unfit++
	case Unchecked:
		a.Unchecked++
	}
	if app.Reasons == nil {
		app.Reasons = []string{}
	}
	a.List = append(a.List, app)
}

func newRateLimit(seen auth0.RateLimit) *RateLimit {
	if seen.SeenAt.IsZero() {
		return nil
	}
	told := func(n int) *int {
		if n < 0 {
			return nil
		}
		return &n
	}
	limit := &RateLimit{Limit: told(seen.Limit), Remaining: told(seen.Remaining)}
	if !seen.Reset.IsZero() {
		reset := seen.Reset.UTC()
		limit.Reset = &reset
	}
	return limit
}

func newClock(seen auth0.Clock) *Clock {
	if !seen.Known() {
		return nil
	}
	tenths := func(d time.Duration) float64 { return math.Round(d.Seconds()*10) / 10 }
	return &Clock{Ahead: tenths(seen.Ahead()), Least: tenths(seen.Least), Most: tenths(seen.Most)}
}
