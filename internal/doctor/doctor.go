// Package doctor looks at an Auth0 tenant as the engine would, and says what
// works: login, scopes, rate limit, clocks, and which applications can be roles.
// It only reads: it changes nothing in Auth0. It knows nothing of Vault, and goes
// by the same rules as the engine (package requirements).
//
//	export AUTH0_CLIENT_SECRET=...
//	vault-plugin-secrets-auth0 doctor -domain=example.eu.auth0.com -client_id=...
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
)

const (
	pageSize = 100
	// maxListed is how many applications Auth0 lists at most.
	maxListed = 1000

	// skewTolerated is how far apart the clocks may be without a warning. Servers
	// allow a client's assertion no more than some seconds.
	skewTolerated = 10 * time.Second

	// A request that the rate limit turns away is sent again, three times in all, if
	// the wait is at most limitPatience each time.
	attempts      = 3
	limitPatience = 30 * time.Second
)

// examination is one look at a tenant.
type examination struct {
	*settings
	client   *auth0.Client
	progress io.Writer // of a terminal, where one line is written over
	report   Report
	granted  []string // scopes; nil: not told
}

// examine makes all checks.
func examine(ctx context.Context, s *settings, userAgent string, progress io.Writer) (*Report, error) {
	client, err := auth0.New(s.client(userAgent))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	e := &examination{settings: s, client: client, progress: progress, report: Report{
		Domain: s.Domain, ClientID: s.ClientID, Audience: requirements.Audience(s.Domain, s.audience),
		OtherScopes: []string{}, Applications: Applications{List: []Application{}},
	}}
	e.tell("logging in to %s", s.Domain)
	loggedIn := e.login(ctx)
	e.scopes(loggedIn)
	if loggedIn {
		e.applications(ctx)
	} else {
		e.note(checkAPI, Skipped, "not asked, for want of a token", "")
		e.note(checkApplications, Skipped, "not looked at, for want of a token", "")
	}
	e.rateLimit()
	e.clock()
	e.tell("")
	order := []string{checkLogin, checkScopes, checkAPI, checkRateLimit, checkClock, checkApplications}
	slices.SortStableFunc(e.report.Checks, func(a, b Check) int {
		return cmp.Compare(slices.Index(order, a.Name), slices.Index(order, b.Name))
	})
	e.report.OK = !slices.ContainsFunc(e.report.Checks, func(c Check) bool { return c.Status == Failed })
	return &e.report, nil
}

// tell says how far the work is.
func (e *examination) tell(format string, args ...any) {
	fmt.Fprintf(e.progress, "\r\x1b[K"+format, args...)
}

func (e *examination) note(check string, status Status, message, remedy string) {
	e.report.Checks = append(e.report.Checks, Check{Name: check, Status: status, Message: message, Remedy: remedy})
}

// login gets a token.
func (e *examination) login(ctx context.Context) bool {
	grant, err := e.client.Grant(ctx)
	if err != nil {
		message, remedy := e.explain(err)
		e.note(checkLogin, Failed, message, remedy)
		return false
	}
	e.granted = grant.Scopes
	by := "client secret"
	if e.byKey() {
		by = "private_key_jwt (" + e.SigningAlgorithm + ")"
	}
	message := "by " + by
	if !grant.ExpiresAt.IsZero() {
		message += "; a token lives for " + hours(time.Until(grant.ExpiresAt))
	}
	status, remedy := OK, ""
	if e.lineBreak {
		status, remedy = Warning, "Take it away (printf '%s' instead of echo): the engine refuses it."
		message += "; but there is a line break after the client secret, which was left out here"
	}
	e.note(checkLogin, status, message, remedy)
	return true
}

// scopes says which scopes were granted, and what that means.
func (e *examination) scopes(loggedIn bool) {
	var missing []string
	for _, scope := range requirements.Scopes {
		granted := slices.Contains(e.granted, scope.Name)
		found := Scope{
			Name: scope.Name, Required: scope.Required, Enables: scope.Enables, Without: scope.Without,
			Needed: (granted || !scope.Covered(e.granted)) && (!scope.ForKeys || e.byKey()),
		}
		if e.granted != nil {
			found.Granted = &granted
		}
		if !granted && found.Needed {
			missing = append(missing, scope.Name)
		}
		e.report.Scopes = append(e.report.Scopes, found)
	}
	e.report.OtherScopes = append(e.report.OtherScopes, requirements.Missing(e.granted, requirements.Wanted(true, true))...)
	slices.Sort(e.report.OtherScopes)
	const remedy = "Grant it in Auth0's dashboard: Applications > APIs > Auth0 Management API, where applications are authorised."
	list := strings.Join(missing, ", ")
	switch {
	case !loggedIn:
		e.note(checkScopes, Skipped, "not known, for want of a token", "")
	case e.granted == nil:
		e.note(checkScopes, Warning, "Auth0 did not say which scopes it granted, so they could not be checked", "")
	case slices.Contains(missing, auth0.ScopeUpdateClientKeys):
		e.note(checkScopes, Failed, "missing: "+list+". Without "+auth0.ScopeUpdateClientKeys+" no secret can be rotated", remedy)
	case len(missing) > 0:
		e.note(checkScopes, Warning, "missing: "+list, remedy+" Or do without what it is for.")
	case len(e.lackedForKeys()) > 0: // no warning: most tenants use no keys
		e.note(checkScopes, OK, "all that roles of client secrets need are granted; roles of keys need "+
			strings.Join(e.lackedForKeys(), ", ")+", too", "")
	default:
		e.note(checkScopes, OK, "all that the engine can use are granted", "")
	}
}

// lackedForKeys are the scopes that roles of keys need and that are known not to be
// granted.
func (e *examination) lackedForKeys() []string {
	if e.granted == nil {
		return nil
	}
	return requirements.Missing(auth0.KeyScopes, e.granted)
}

// rateLimit says what the last answer said of the rate limit.
func (e *examination) rateLimit() {
	limit := newRateLimit(e.client.RateLimit())
	e.report.RateLimit = limit
	asked := slices.ContainsFunc(e.report.Checks, func(c Check) bool { return c.Name == checkAPI && c.Status == OK })
	switch {
	case limit == nil && !asked:
		e.note(checkRateLimit, Skipped, "not told: the Management API gave no answer of its own", "")
	case limit == nil:
		e.note(checkRateLimit, Warning, "the answers do not tell it (X-RateLimit-Limit, -Remaining)",
			"See whether a proxy takes headers out of answers. Without them the engine learns of the limit only by being turned away.")
	case limit.Limit != nil && limit.Remaining != nil && *limit.Remaining*10 < *limit.Limit:
		e.note(checkRateLimit, Warning, fmt.Sprintf("%d requests at once, of which only %d are left", *limit.Limit, *limit.Remaining),
			"That may be this check's own doing, or others use the tenant's limit, too. Rotations take longer then, and do not fail.")
	case limit.Limit != nil && limit.Remaining != nil:
		e.note(checkRateLimit, OK, fmt.Sprintf("%d requests at once, of which %d are left", *limit.Limit, *limit.Remaining), "")
	default:
		e.note(checkRateLimit, OK, "told in part", "")
	}
}

// clock compares the clocks.
func (e *examination) clock() {
	seen := e.client.Clock()
	e.report.Clock = newClock(seen)
	ahead := seen.Ahead()
	if !seen.Known() {
		e.note(checkClock, Skipped, "not compared: no answer told the time (header Date)", "")
		return
	}
	if ahead.Abs() <= skewTolerated {
		e.note(checkClock, OK, fmt.Sprintf("agrees with Auth0's to %s, as far as can be told", skewTolerated), "")
		return
	}
	where := "behind"
	if ahead < 0 {
		where = "ahead of"
	}
	message := fmt.Sprintf("this machine's is at least %s %s Auth0's. ", ahead.Abs().Round(time.Second), where)
	if e.byKey() {
		message += "Assertions of private_key_jwt are refused if they seem expired, or signed in the future; times of rotations and in logs do not agree"
	} else {
		message += "With a client secret logins work all the same, with private_key_jwt they would not; times of rotations and in logs do not agree"
	}
	e.note(checkClock, Warning, message, "Set the clock of this machine (NTP). What counts is the machine on which Vault runs: run this there.")
}

// applications looks at the applications that were named, or at all.
func (e *examination) applications(ctx context.Context) {
	look := e.all
	if len(e.settings.applications) > 0 {
		look = e.named
	}
	err := look(ctx)
	slices.SortStableFunc(e.report.Applications.List, func(a, b Application) int {
		order := []Verdict{Fit, FitWithWarnings, Unchecked, Unfit}
		return cmp.Or(cmp.Compare(slices.Index(order, a.Verdict), slices.Index(order, b.Verdict)),
			strings.Compare(a.Name, b.Name), strings.Compare(a.ClientID, b.ClientID))
	})
	switch {
	case auth0.HasCode(err, auth0.CodeInsufficientScope):
		e.note(checkAPI, OK, "answers", "")
		e.note(checkApplications, Warning, "could not be looked at: the grant has neither "+auth0.ScopeReadClients+" nor "+auth0.ScopeReadClientKeys,
			"Grant "+auth0.ScopeReadClients+". Without it, whether an application is fit to be a role shows at its first rotation.")
	case err != nil:
		message, remedy := e.explain(err)
		e.note(checkAPI, Failed, message, remedy)
		e.note(checkApplications, Skipped, fmt.Sprintf("looked at %d, before the Management API failed", e.report.Applications.Checked), "")
	default:
		e.note(checkAPI, OK, "answers", "")
		e.summary()
	}
}

// summary says how many applications are fit. That one is not is a failure only if it
// was named.
func (e *examination) summary() {
	found := e.report.Applications
	message := fmt.Sprintf("%d looked at: %d fit to be a role", found.Checked, found.Fit+found.FitWithWarnings)
	for _, part := range []struct {
		n    int
		text string
	}{
		{found.FitWithWarnings, " (%d of them with warnings)"}, {found.Unfit, ", %d not"}, {found.Unchecked, ", %d could not be checked"},
	} {
		if part.n > 0 {
			message += fmt.Sprintf(part.text, part.n)
		}
	}
	status, remedy := OK, ""
	if found.FitWithWarnings+found.Unchecked > 0 {
		status, remedy = Warning, "See the list of applications."
	}
	if len(e.settings.applications) > 0 && found.Unfit > 0 {
		status, remedy = Failed, "See the list of applications."
	}
	if total := found.Total; total != nil && *total > found.Checked {
		status = Warning
		message += fmt.Sprintf("; the tenant has %d, more than Auth0 lists", *total)
		remedy = strings.TrimSpace(remedy + " Name others by -application.")
	}
	e.note(checkApplications, status, message, remedy)
}

// all looks at all applications that Auth0 lists, page after page.
func (e *examination) all(ctx context.Context) error {
	for page := range maxListed / pageSize {
		found, err := patiently(ctx, e, func() (auth0.ApplicationPage, error) { return e.client.Applications(ctx, page, pageSize) })
		if err != nil {
			return err
		}
		if found.Total >= 0 {
			e.report.Applications.Total = &found.Total
		}
		for i := range found.Applications {
			e.take(&found.Applications[i])
		}
		if len(found.Applications) < pageSize {
			return nil
		}
		if found.Total >= 0 {
			e.tell("checked %d of %d applications", e.report.Applications.Checked, found.Total)
		} else {
			e.tell("checked %d applications", e.report.Applications.Checked)
		}
	}
	return nil
}

// named looks at the applications that were named. What Auth0 says of one that
// it does not know is no failure of the API.
func (e *examination) named(ctx context.Context) error {
	for i, id := range e.settings.applications {
		app, err := patiently(ctx, e, func() (*auth0.Application, error) { return e.client.Application(ctx, id) })
		switch {
		case auth0.HasCode(err, auth0.CodeUnknownApplication):
			e.report.Applications.add(Application{ClientID: id, Verdict: Unfit, Reasons: []string{"it does not exist in the tenant: check the client ID"}})
		case err != nil:
			return err
		default:
			app.ClientID = id
			e.take(app)
		}
		e.tell("checked %d of %d applications", i+1, len(e.settings.applications))
	}
	return nil
}

// take judges an application by the engine's own rules.
func (e *examination) take(app *auth0.Application) {
	found := Application{
		ClientID: app.ClientID, Name: app.Name, AppType: requirements.AppType(app), Verdict: Fit, CredentialType: credentialSecret,
	}
	reason := requirements.Unfit(app)
	unchecked, sideEffects := requirements.Unchecked(app), requirements.SideEffects(app, false)
	switch {
	case app.ClientID == e.ClientID:
		found.Verdict, found.Reasons, found.CredentialType = Unfit, []string{"it is the engine's own: rotate-root rotates it"}, ""
	case requirements.UnfitForKeys(app) == "":
		found.CredentialType = credentialKey
		found.Verdict, found.Reasons = e.judgeKeys(app)
	case reason != "":
		found.Verdict, found.Reasons, found.CredentialType = Unfit, []string{reason}, ""
	case len(unchecked) > 0:
		found.Verdict, found.Reasons = Unchecked, slices.Concat(unchecked, sideEffects)
	case len(sideEffects) > 0:
		found.Verdict, found.Reasons = FitWithWarnings, sideEffects
	}
	e.report.Applications.add(found)
}

// judgeKeys says whether an application that authenticates by private_key_jwt can be a
// role of keys: that needs scopes of its own, and a place beside the keys in use, at
// once and for every rotation.
func (e *examination) judgeKeys(app *auth0.Application) (Verdict, []string) {
	used := app.KeysInUse()
	switch {
	case used == 0:
		return Unchecked, []string{"it authenticates by private_key_jwt, but Auth0 does not show how many keys it uses"}
	case !auth0.RoomForKey(used):
		return Unfit, []string{fmt.Sprintf("it uses %d keys, which leaves no room: a role with credential_type=private_key needs a place "+
			"for its first key, and for the next one in every rotation. Remove a key that nobody uses", used)}
	}
	reasons := []string{fmt.Sprintf("make a role with credential_type=private_key: it uses %d, and has room for the role's first. "+
		"The next rotation needs a place, too: remove the earlier key when nobody uses it any more", used)}
	if lacked := e.lackedForKeys(); len(lacked) > 0 {
		reasons = append(reasons, "that role needs "+strings.Join(lacked, ", ")+", which the engine's grant lacks")
	}
	return FitWithWarnings, reasons
}

// patiently sends a request that the rate limit has turned away again, unless Auth0
// says to wait long.
func patiently[T any](ctx context.Context, e *examination, ask func() (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		answer, err := ask()
		var limited *auth0.Error
		if attempt == attempts || !errors.As(err, &limited) || limited.Class != auth0.Limited || limited.RetryAfter > limitPatience || ctx.Err() != nil {
			return answer, err
		}
		// The client itself waits before the next request.
		e.tell("Auth0 limits the rate: going on in %s", limited.RetryAfter.Round(time.Second))
	}
}

// hours gives a duration to the minute, as 24h or 1h30m; below one to the second.
func hours(d time.Duration) string {
	if d < time.Minute {
		return d.Round(time.Second).String()
	}
	text := strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
