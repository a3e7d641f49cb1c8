package auth0login

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// TestASecretThatIsKnownToBeDeadIsNotTriedWhileAnotherWorks, and none is given up: random
// rotations, staged and forced, with servers that switch one after the other, attempts that
// meet any of them or no answer, sets that are stale or read again. An attempt with a
// secret that the last answer refused is only made when no other of the set was accepted
// by its last answer; a login whose server accepts one of the set succeeds.
func TestASecretThatIsKnownToBeDeadIsNotTriedWhileAnotherWorks(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 17))
		accepted := []string{"s0", "s0", "s0", "s0"} // by server
		set := []string{"s0"}
		app := New(SourceFunc(func(context.Context) (Credentials, error) {
			return Credentials{Domain: "d", ClientID: "c", ClientSecrets: set}, nil
		}))
		last := map[string]bool{} // what the last answer said of each secret of the set
		newest := 0
		for step := range 200 {
			switch random.IntN(8) {
			case 0: // staged
				if len(set) == 1 {
					newest++
					set = append(slices.Clone(set), fmt.Sprint("s", newest))
				}
			case 1: // activated, or forced; the servers follow
				accepted[0] = fmt.Sprint("s", newest)
			case 2:
				accepted[1+random.IntN(3)] = accepted[0]
			case 3: // read again
				present := accepted[0]
				set = append([]string{present}, slices.DeleteFunc(slices.Clone(set), func(s string) bool { return s == present })...)
				set = set[:1+random.IntN(len(set))]
				for secret := range last {
					if !slices.Contains(set, secret) {
						delete(last, secret)
					}
				}
			default:
				server, fails := random.IntN(4), random.IntN(10)
				err := app.Login(t.Context(), func(_ context.Context, _ Credentials, secret string) error {
					if works, told := last[secret]; told && !works {
						for other, works := range last {
							require.False(t, works && slices.Contains(set, other),
								"seed %d, step %d: %s was tried, which was refused, though %s works", seed, step, secret, other)
						}
					}
					if fails == 0 {
						return &oauth2.RetrieveError{ErrorCode: "server_error"}
					}
					last[secret] = accepted[server] == secret
					if !last[secret] {
						return ErrRefused
					}
					return nil
				})
				if fails > 0 {
					require.Equal(t, slices.Contains(set, accepted[server]), err == nil, "seed %d, step %d: %v of %v", seed, step, accepted, set)
				}
			}
		}
	}
}

// TestNothingIsTriedInVain: once all servers have the new secret and one login has found
// it, each login is one attempt, until the next rotation.
func TestNothingIsTriedInVain(t *testing.T) {
	auth0 := startAuth0(t, accepts("B"))
	app := New(auth0.source("A", "B", "C"))
	require.NoError(t, auth0.login(t, app))
	auth0.switchTo(accepts("B"))
	for range 5 {
		require.NoError(t, auth0.login(t, app))
	}
	assert.Equal(t, []string{"B", "B", "B", "B", "B"}, auth0.attempts())
	auth0.switchTo(accepts("C"))
	require.NoError(t, auth0.login(t, app))
	assert.Equal(t, []string{"B", "C"}, auth0.attempts(), "A was refused before, nothing is known of C")
}

// TestARefusedSecretIsTriedAfterTheOthersAlsoIfNoneWasAccepted: Auth0 fails meanwhile.
func TestARefusedSecretIsTriedAfterTheOthersAlsoIfNoneWasAccepted(t *testing.T) {
	auth0 := startAuth0(t, accepts("A"))
	app := New(auth0.source("A", "B"))
	require.NoError(t, auth0.login(t, app))
	auth0.switchTo(func(secret string) (int, string) {
		if secret == "A" {
			return refusal()
		}
		return 503, ""
	})
	require.Error(t, auth0.login(t, app))
	require.Error(t, auth0.login(t, app))
	assert.Equal(t, []string{"A", "B", "B"}, auth0.attempts())
}

// TestAnAudienceThatIsRefusedTellsNothingOfTheSecret: while a login for it tries the others,
// a code is sent with the secret that works, not with one that is not active yet.
func TestAnAudienceThatIsRefusedTellsNothingOfTheSecret(t *testing.T) {
	auth0 := startAuth0(t, accepts("A"))
	app := New(auth0.source("A", "B"))
	require.NoError(t, auth0.login(t, app))
	auth0.switchTo(func(secret string) (int, string) {
		if secret == "A" {
			return 403, `{"error":"access_denied","error_description":"Service not enabled within domain"}`
		}
		return 503, ""
	})
	require.Error(t, auth0.login(t, app))
	auth0.switchTo(accepts("A"))
	require.NoError(t, auth0.login(t, app))
	assert.Equal(t, []string{"A"}, auth0.attempts())
}

// TestALateAnswerDoesNotOutdoALaterAttempt: what counts is when an attempt began.
func TestALateAnswerDoesNotOutdoALaterAttempt(t *testing.T) {
	r := &record{}
	early := r.begin()
	r.ended("A", r.begin(), false)
	r.ended("B", r.begin(), true)
	r.ended("A", early, true)
	assert.Equal(t, []string{"B", "C", "A"}, r.inOrder([]string{"A", "B", "C"}))
	r = &record{}
	early = r.begin()
	r.ended("A", r.begin(), true)
	r.ended("A", early, false)
	assert.Equal(t, []string{"A", "B"}, r.inOrder([]string{"B", "A"}))
}

// TestSecretsThatAreNotHandedOutAnyMoreAreForgotten: a process runs for years.
func TestSecretsThatAreNotHandedOutAnyMoreAreForgotten(t *testing.T) {
	r := &record{}
	for i := range 1000 {
		secret := fmt.Sprint(i)
		r.ended(secret, r.begin(), true)
		r.inOrder([]string{secret})
	}
	assert.Len(t, r.of, 1)
}
