package conformance

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

const (
	docRotate = "https://auth0.com/docs/get-started/applications/rotate-client-secret"

	// quiet is how many looks in a row have to see the new secret alone accepted.
	quiet = 10
)

var secretAssumptions = []Assumption{
	{
		Name:     "secret-set",
		Assumed:  "PATCH with nothing but a `client_secret` of 64 URL-safe characters is 200 with the client object, and the same secret in it.",
		Evidence: Documented, Source: docRotate,
		Scopes: []string{updateKeys, createGrants}, check: checkSecretSet,
	},
	{
		Name:     "secret-new-accepted",
		Assumed:  "At the latest 30 s after the answer the new secret is accepted everywhere.",
		Evidence: Documented, Source: docRotate,
		Scopes: []string{updateKeys, createGrants}, check: checkNewAccepted,
	},
	{
		Name:     "secret-old-refused",
		Assumed:  "At the latest 30 s after the answer the old secret is refused everywhere. Until then it may be accepted.",
		Evidence: Documented, Source: docRotate,
		Scopes: []string{updateKeys, createGrants}, check: checkOldRefused,
	},
	{
		Name:     "secret-either-accepted",
		Assumed:  "At every moment one of the two is accepted, by an application that goes through both of them twice.",
		Evidence: Unknown, Source: "no document says it",
		Scopes: []string{updateKeys, createGrants}, check: checkEitherAccepted,
	},
	{
		Name:     "secret-short",
		Assumed:  "A short secret (8 characters) is accepted, or refused with 400 invalid_body: the engine's are longer than any minimum.",
		Evidence: Unknown, Source: "no document says it",
		Scopes: []string{updateKeys}, check: checkSecretShort,
	},
	{
		Name:     "secret-rotated",
		Assumed:  "POST rotate-secret with an empty body is 200 with the client object, and a new secret in it.",
		Evidence: Documented, Source: docRotate,
		Scopes: []string{updateKeys, readKeys}, check: checkSecretRotated,
	},
}

// change is what was seen when a secret was set. The times are from the answer to
// the PATCH.
type change struct {
	answer answer
	echoed bool // the answer has the secret that was sent

	looks        int           // at both secrets
	newFirst     time.Duration // when the new one was first accepted; -1: never
	newRefused   time.Duration // when it was last refused; -1: never
	oldAccepted  time.Duration // when the old one was last accepted; -1: never
	locked       int           // looks at which both were refused twice
	settled      bool          // in the end the new one alone was accepted, quiet times in a row
	settledAfter time.Duration // when the first of these was
}

// theChange sets an application's secret, and looks at which one is accepted.
func (r *Run) theChange(ctx context.Context) (change, error) {
	return r.changed.get(func() (change, error) {
		was, err := r.make(ctx, "changed", machine(), readClients)
		if err != nil {
			return change{}, err
		}
		defer func() { _ = r.remove(ctx, was.ClientID) }()
		now := was
		now.ClientSecret = r.newSecret()
		got, err := r.api(ctx, http.MethodPatch, "clients/"+was.ClientID, map[string]any{"client_secret": now.ClientSecret})
		if err != nil {
			return change{}, err
		}
		seen := change{answer: got, echoed: got.text("client_secret") == now.ClientSecret, newFirst: -1, newRefused: -1, oldAccepted: -1}
		if got.status != http.StatusOK {
			return seen, nil
		}
		return seen, r.watch(ctx, was, now, &seen)
	})
}

// watch looks at both secrets until Promised is over and the new one alone is
// accepted, or Watch is over. One look does not meet all of Auth0's servers.
func (r *Run) watch(ctx context.Context, was, now Application, seen *change) error {
	began, inARow := time.Now(), 0
	for time.Since(began) < r.tenant.Watch && (inARow < quiet || time.Since(began) < r.tenant.Promised) {
		at := time.Since(began)
		byNew, byOld, err := r.either(ctx, was, now)
		if err != nil {
			return err
		}
		seen.looks++
		if byNew && seen.newFirst < 0 {
			seen.newFirst = at
		}
		if !byNew {
			seen.newRefused = at
		}
		if byOld {
			seen.oldAccepted = at
		}
		if !byNew && !byOld { // as an application does it: through all of them once more
			if byNew, byOld, err = r.either(ctx, was, now); err != nil {
				return err
			}
			if !byNew && !byOld {
				seen.locked++
			}
		}
		if byOld || seen.newRefused == at {
			inARow = 0
		} else {
			if inARow == 0 {
				seen.settledAfter = at
			}
			inARow++
		}
		if err := sleep(ctx, r.tenant.Poll); err != nil {
			return err
		}
	}
	seen.settled = inARow >= quiet
	return nil
}

// either tries the new secret and then the old one.
func (r *Run) either(ctx context.Context, was, now Application) (byNew, byOld bool, err error) {
	if byNew, err = r.accepts(ctx, now); err != nil {
		return false, false, err
	}
	byOld, err = r.accepts(ctx, was)
	return byNew, byOld, err
}

// accepts says whether the tenant accepts an application's secret.
func (r *Run) accepts(ctx context.Context, app Application) (bool, error) {
	got, err := r.logIn(ctx, app)
	if err == nil && got.status != http.StatusOK && got.status != http.StatusUnauthorized {
		err = unexpected("a login was neither accepted nor refused", got)
	}
	return got.status == http.StatusOK, err
}

func (c change) unset() (string, bool, error) {
	return "", false, unexpected("the secret could not be set", c.answer)
}

func checkSecretSet(ctx context.Context, r *Run) (string, bool, error) {
	c, err := r.theChange(ctx)
	if err != nil {
		return "", false, err
	}
	if c.answer.status != http.StatusOK {
		return c.answer.String(), false, nil
	}
	shown := "another secret in it"
	switch {
	case !c.answer.has("client_secret"):
		shown = "no secret in it"
	case c.echoed:
		shown = "the secret that was sent in it"
	}
	return "200, the client object with " + shown, c.answer.text("client_id") != "" && (c.echoed || !c.answer.has("client_secret")), nil
}

func checkNewAccepted(ctx context.Context, r *Run) (string, bool, error) {
	c, err := r.theChange(ctx)
	if err != nil {
		return "", false, err
	}
	if c.answer.status != http.StatusOK {
		return c.unset()
	}
	if c.newFirst < 0 {
		return fmt.Sprintf("never accepted in %d looks, until %s", c.looks, r.tenant.Watch), false, nil
	}
	seen := fmt.Sprintf("first accepted after %s", rounded(c.newFirst))
	if c.newRefused >= 0 {
		seen += fmt.Sprintf(", last refused after %s", rounded(c.newRefused))
	} else {
		seen += ", never refused"
	}
	return seen + c.end(r), c.newRefused <= r.tenant.Promised && c.settled, nil
}

func checkOldRefused(ctx context.Context, r *Run) (string, bool, error) {
	c, err := r.theChange(ctx)
	if err != nil {
		return "", false, err
	}
	if c.answer.status != http.StatusOK {
		return c.unset()
	}
	seen := "refused at once"
	if c.oldAccepted >= 0 {
		seen = fmt.Sprintf("last accepted after %s", rounded(c.oldAccepted))
	}
	return seen + c.end(r), c.oldAccepted <= r.tenant.Promised && c.settled, nil
}

// end says how the look at both secrets ended.
func (c change) end(r *Run) string {
	if !c.settled {
		return fmt.Sprintf("; not settled in %d looks, until %s", c.looks, r.tenant.Watch)
	}
	return fmt.Sprintf("; settled after %s (%d looks, %s apart)", rounded(c.settledAfter), c.looks, r.tenant.Poll)
}

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

func checkEitherAccepted(ctx context.Context, r *Run) (string, bool, error) {
	c, err := r.theChange(ctx)
	if err != nil {
		return "", false, err
	}
	if c.answer.status != http.StatusOK {
		return c.unset()
	}
	return fmt.Sprintf("both were refused twice at %d of %d looks", c.locked, c.looks), c.locked == 0, nil
}

func checkSecretShort(ctx context.Context, r *Run) (string, bool, error) {
	app, err := r.make(ctx, "short", machine()) // without a grant: it is of no use to anybody
	if err != nil {
		return "", false, err
	}
	defer func() { _ = r.remove(ctx, app.ClientID) }()
	got, err := r.api(ctx, http.MethodPatch, "clients/"+app.ClientID, map[string]any{"client_secret": r.newSecret()[:8]})
	if got.status == http.StatusOK {
		return "200: accepted", true, err
	}
	return got.String(), got.isError(http.StatusBadRequest), err
}

func checkSecretRotated(ctx context.Context, r *Run) (string, bool, error) {
	app, err := r.make(ctx, "rotated", machine())
	if err != nil {
		return "", false, err
	}
	defer func() { _ = r.remove(ctx, app.ClientID) }()
	got, err := r.api(ctx, http.MethodPost, "clients/"+app.ClientID+"/rotate-secret", nil)
	if err != nil || got.status != http.StatusOK {
		return got.String(), false, err
	}
	made := got.text("client_secret")
	return fmt.Sprintf("200, the client object with a secret of %d characters", len(made)),
		got.text("client_id") == app.ClientID && made != "" && made != app.ClientSecret, nil
}
