package conformance

import (
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
	{"secret-set", "PATCH with nothing but a `client_secret` of 64 URL-safe characters is 200 with the client object, and the same secret in it.",
		Documented, docRotate, []string{updateKeys, createGrants}, checkSecretSet},
	{"secret-new-accepted", "At the latest 30 s after the answer the new secret is accepted everywhere.",
		Documented, docRotate, []string{updateKeys, createGrants}, checkNewAccepted},
	{"secret-old-refused", "At the latest 30 s after the answer the old secret is refused everywhere. Until then it may be accepted.",
		Documented, docRotate, []string{updateKeys, createGrants}, checkOldRefused},
	{"secret-either-accepted", "At every moment one of the two is accepted, by an application that goes through both of them twice.",
		Unknown, "no document says it", []string{updateKeys, createGrants}, checkEitherAccepted},
	{"secret-short", "A short secret (8 characters) is accepted, or refused with 400 invalid_body: the engine's are longer than any minimum.",
		Unknown, "no document says it", []string{updateKeys}, func(t *trial) (string, bool) {
			app := t.make("short", machine) // without a grant: it is of no use to anybody
			defer t.discard(app)
			got := t.api(http.MethodPatch, "clients/"+app.ClientID, map[string]any{"client_secret": t.newSecret()[:8]})
			if got.status == http.StatusOK {
				return "200: accepted", true
			}
			return got.String(), got.isError(http.StatusBadRequest, "")
		}},
	{"secret-rotated", "POST rotate-secret with an empty body is 200 with the client object, and a new secret in it.",
		Documented, docRotate, []string{updateKeys, readKeys}, func(t *trial) (string, bool) {
			app := t.make("rotated", machine)
			defer t.discard(app)
			got := t.api(http.MethodPost, "clients/"+app.ClientID+"/rotate-secret", nil)
			if got.status != http.StatusOK {
				return got.String(), false
			}
			made := got.text("client_secret")
			return fmt.Sprintf("200, the client object with a secret of %d characters", len(made)),
				got.text("client_id") == app.ClientID && made != "" && made != app.ClientSecret
		}},
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
func (t *trial) theChange() change {
	return t.changed.get(t, func(t *trial) change {
		was := t.make("changed", machine, readClients)
		defer t.discard(was)
		now := was
		now.ClientSecret = t.newSecret()
		got := t.api(http.MethodPatch, "clients/"+was.ClientID, map[string]any{"client_secret": now.ClientSecret})
		seen := change{answer: got, echoed: got.text("client_secret") == now.ClientSecret, newFirst: -1, newRefused: -1, oldAccepted: -1}
		if got.status == http.StatusOK {
			t.watch(was, now, &seen)
		}
		return seen
	})
}

// theSetSecret is theChange where the secret could be set.
func (t *trial) theSetSecret() change {
	c := t.theChange()
	t.expect(http.StatusOK, c.answer, "the secret could not be set")
	return c
}

// watch looks at both secrets until Promised is over and the new one alone is
// accepted, or Watch is over. One look does not meet all of Auth0's servers.
func (t *trial) watch(was, now Application, seen *change) {
	began, inARow := time.Now(), 0
	for t.err == nil && time.Since(began) < t.tenant.Watch && (inARow < quiet || time.Since(began) < t.tenant.Promised) {
		at := time.Since(began)
		byNew, byOld := t.accepts(now), t.accepts(was)
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
		// As an application does it: through both of them once more.
		if !byNew && !byOld && !t.accepts(now) && !t.accepts(was) {
			seen.locked++
		}
		switch {
		case byOld || !byNew:
			inARow = 0
		case inARow == 0:
			seen.settledAfter, inARow = at, 1
		default:
			inARow++
		}
		t.sleep(t.tenant.Poll)
	}
	seen.settled = inARow >= quiet
}

// accepts says whether the tenant accepts an application's secret.
func (t *trial) accepts(app Application) bool {
	got := t.logIn(app)
	if got.status != http.StatusUnauthorized {
		t.expect(http.StatusOK, got, "a login was neither accepted nor refused")
	}
	return got.status == http.StatusOK
}

func checkSecretSet(t *trial) (string, bool) {
	c := t.theChange()
	if c.answer.status != http.StatusOK {
		return c.answer.String(), false
	}
	shown := "another secret in it"
	switch {
	case !c.answer.has("client_secret"):
		shown = "no secret in it"
	case c.echoed:
		shown = "the secret that was sent in it"
	}
	return "200, the client object with " + shown, c.answer.text("client_id") != "" && (c.echoed || !c.answer.has("client_secret"))
}

func checkNewAccepted(t *trial) (string, bool) {
	c := t.theSetSecret()
	if c.newFirst < 0 {
		return fmt.Sprintf("never accepted in %d looks, until %s", c.looks, t.tenant.Watch), false
	}
	refused := ", never refused"
	if c.newRefused >= 0 {
		refused = fmt.Sprintf(", last refused after %s", rounded(c.newRefused))
	}
	return fmt.Sprintf("first accepted after %s%s%s", rounded(c.newFirst), refused, c.end(t)), c.newRefused <= t.tenant.Promised && c.settled
}

func checkOldRefused(t *trial) (string, bool) {
	c := t.theSetSecret()
	seen := "refused at once"
	if c.oldAccepted >= 0 {
		seen = fmt.Sprintf("last accepted after %s", rounded(c.oldAccepted))
	}
	return seen + c.end(t), c.oldAccepted <= t.tenant.Promised && c.settled
}

// end says how the look at both secrets ended.
func (c change) end(t *trial) string {
	if !c.settled {
		return fmt.Sprintf("; not settled in %d looks, until %s", c.looks, t.tenant.Watch)
	}
	return fmt.Sprintf("; settled after %s (%d looks, %s apart)", rounded(c.settledAfter), c.looks, t.tenant.Poll)
}

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

func checkEitherAccepted(t *trial) (string, bool) {
	c := t.theSetSecret()
	return fmt.Sprintf("both were refused twice at %d of %d looks", c.locked, c.looks), c.locked == 0
}
