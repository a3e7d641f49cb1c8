package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-auth0/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a simulated tenant, and the credential of a run.
type bench struct {
	*tenant.Tenant
	t          *testing.T
	credential tenant.Application
	said       []string
}

func newBench(t *testing.T, scopes ...string) *bench {
	t.Helper()
	tn, err := tenant.Start(tenant.Options{})
	require.NoError(t, err)
	t.Cleanup(tn.Close)
	return &bench{Tenant: tn, t: t, credential: tn.AddManagementApplication(scopes...)}
}

func (b *bench) open(ctx context.Context) (*Run, error) {
	return Open(ctx, Tenant{
		Domain: b.Domain(), ClientID: b.credential.ClientID, ClientSecret: b.credential.ClientSecret, CACert: b.CACert(),
		Pace: time.Nanosecond, Poll: time.Millisecond, Promised: 300 * time.Millisecond, Watch: 5 * time.Second,
		Say: func(line string) { b.said = append(b.said, line) },
	})
}

// run is a whole run. What it shows has no secret in it, and nothing is left over.
func (b *bench) run(ctx context.Context) []Result {
	b.t.Helper()
	r, err := b.open(ctx)
	require.NoError(b.t, err)
	results := r.Check(ctx)
	secrets := b.EverySecret()
	require.NoError(b.t, r.Close(ctx))
	var report strings.Builder
	require.NoError(b.t, Report{Results: results, Missing: r.Missing()}.Write(&report))
	for _, secret := range append(secrets, b.Domain(), b.credential.ClientID) {
		assert.NotContains(b.t, report.String()+strings.Join(b.said, "\n"), secret)
	}
	assert.Len(b.t, b.Applications(), 1, "the credential's own")
	return results
}

// untried are the assumptions that cannot be tried anywhere.
var untried = []string{"code-survives-refusal", "limit-exceeded"}

// TestTheSimulatedTenantIsAsAssumed is the whole list. The simulation must do what
// the engine assumes of Auth0, or the other tests show nothing.
func TestTheSimulatedTenantIsAsAssumed(t *testing.T) {
	for _, mode := range []tenant.PropagationMode{tenant.NewOnly, tenant.BothAccepted, tenant.OldOnly, tenant.Mixed} {
		t.Run(string(mode), func(t *testing.T) {
			b := newBench(t, Scopes...)
			b.SetPropagation(tenant.Propagation{Delay: 200 * time.Millisecond, Mode: mode})
			for _, result := range b.run(t.Context()) {
				assert.NotEmpty(t, result.Seen, result.Name)
				if slices.Contains(untried, result.Name) {
					assert.Equal(t, NotTried, result.Outcome, result.Name)
				} else {
					assert.Equal(t, Agrees, result.Outcome, "%s: assumed: %s Seen: %s", result.Name, result.Assumed, result.Seen)
				}
			}
		})
	}
}

// TestAssumptionsAreComplete: each says what, by which evidence and where.
func TestAssumptionsAreComplete(t *testing.T) {
	names := map[string]bool{}
	for _, a := range Assumptions() {
		assert.Regexp(t, `^[a-z]+(-[a-z]+)+$`, a.Name)
		assert.False(t, names[a.Name], a.Name)
		names[a.Name] = true
		assert.NotEmpty(t, a.Assumed, a.Name)
		assert.NotEmpty(t, a.Source, a.Name)
		assert.Contains(t, []Evidence{Recorded, Documented, Unknown}, a.Evidence, a.Name)
		for _, scope := range a.Scopes {
			assert.Contains(t, Scopes, scope, a.Name)
		}
	}
}

func outcomes(results []Result) map[string]Outcome {
	all := map[string]Outcome{}
	for _, r := range results {
		all[r.Name] = r.Outcome
	}
	return all
}

// TestDifferencesAreSeen: a tenant that does something else.
func TestDifferencesAreSeen(t *testing.T) {
	b := newBench(t, Scopes...)
	b.Inject(tenant.Fault{Endpoint: tenant.RotateSecret, Kind: tenant.SecretMissingInAnswer})
	b.Inject(tenant.Fault{Endpoint: tenant.Revoke, Kind: tenant.ServerError})
	b.SetCredentialAddOn(true)
	seen := outcomes(b.run(t.Context()))
	for _, name := range []string{"secret-rotated", "key-proof", "key-slot"} {
		assert.Equal(t, Differs, seen[name], name)
	}
	assert.Equal(t, Agrees, seen["key-refused"])
}

// TestSlowPropagationIsSeen: a secret that takes longer than is watched.
func TestSlowPropagationIsSeen(t *testing.T) {
	b := newBench(t, Scopes...)
	b.SetPropagation(tenant.Propagation{Delay: time.Hour, Mode: tenant.OldOnly})
	r, err := b.open(t.Context())
	require.NoError(t, err)
	r.tenant.Watch = 100 * time.Millisecond
	seen := outcomes(r.Check(t.Context()))
	require.NoError(t, r.Close(t.Context()))
	assert.Equal(t, Differs, seen["secret-new-accepted"])
	assert.Equal(t, Differs, seen["secret-old-refused"])
	assert.Equal(t, Agrees, seen["secret-either-accepted"])
}

// TestMissingScopes are named, and what needs them is not tried.
func TestMissingScopes(t *testing.T) {
	b := newBench(t, createClients, deleteClients, readClients, createGrants)
	results := b.run(t.Context())
	for _, result := range results {
		if slices.Contains(result.Scopes, updateKeys) {
			assert.Equal(t, NotTried, result.Outcome)
			assert.Contains(t, result.Seen, "the credential lacks")
			assert.Contains(t, result.Seen, updateKeys)
		}
	}
	assert.Equal(t, Agrees, outcomes(results)["token-answer"])
	assert.Contains(t, strings.Join(b.said, "\n"), updateKeys)

	_, err := newBench(t, readClients).open(t.Context())
	assert.ErrorContains(t, err, "lacks create:clients, delete:clients")
}

func TestWrongCredentialIsAnError(t *testing.T) {
	b := newBench(t, Scopes...)
	b.credential.ClientSecret = "this-is-another-secret"
	_, err := b.open(t.Context())
	require.ErrorContains(t, err, "401 access_denied")
	assert.NotContains(t, err.Error(), "this-is-another-secret")
	_, err = Open(t.Context(), Tenant{Domain: "https://example.eu.auth0.com"})
	assert.ErrorContains(t, err, "without scheme")
}

// TestAnInterruptedRunLeavesNothing: wherever it is interrupted.
func TestAnInterruptedRunLeavesNothing(t *testing.T) {
	for _, after := range []int{1, 5, 12, 20, 30} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			b := newBench(t, Scopes...)
			ctx, interrupt := context.WithCancel(t.Context())
			r, err := b.open(ctx)
			require.NoError(t, err)
			r.tenant.Say = func(line string) {
				if strings.HasPrefix(strings.TrimSpace(line), fmt.Sprint(after)+"/") {
					interrupt()
				}
			}
			results := r.Check(ctx)
			assert.Equal(t, NotTried, results[len(results)-1].Outcome)
			assert.Contains(t, results[len(results)-1].Seen, "ended")
			require.NoError(t, r.Close(ctx))
			assert.Len(t, b.Applications(), 1, "the credential's own")
		})
	}
}

// TestLostAnswerLeavesNothing: an application that was made without an answer.
func TestLostAnswerLeavesNothing(t *testing.T) {
	b := newBench(t, Scopes...)
	r, err := b.open(t.Context())
	require.NoError(t, err)
	b.Inject(tenant.Fault{Endpoint: tenant.CreateApplication, Kind: tenant.ResetAfterCommit, Times: 1})
	_, err = r.Make(t.Context(), "app")
	require.ErrorContains(t, err, "no answer")
	require.Len(t, b.Applications(), 2)
	require.NoError(t, r.Close(t.Context()))
	assert.Len(t, b.Applications(), 1, "the credential's own")
}

// TestWhatAKilledRunHasLeftIsRemoved, and nothing else.
func TestWhatAKilledRunHasLeftIsRemoved(t *testing.T) {
	b := newBench(t, Scopes...)
	others := []tenant.Application{
		b.AddApplication(tenant.Application{Name: "shop", Description: description}),
		b.AddApplication(tenant.Application{Name: NamePrefix + "of-somebody"}),
		b.AddApplication(tenant.Application{Name: NamePrefix + "0123abcd-app", Description: "another suite"}),
	}
	killed, err := b.open(t.Context())
	require.NoError(t, err)
	_, err = killed.Make(t.Context(), "app")
	require.NoError(t, err)
	killed.http.CloseIdleConnections()
	require.Len(t, b.Applications(), 5)

	next, err := b.open(t.Context())
	require.NoError(t, err)
	require.NoError(t, next.Close(t.Context()))
	for _, app := range others {
		assert.NotEmpty(t, b.Secret(app.ClientID), app.Name)
	}
	assert.Len(t, b.Applications(), 4)
	assert.Contains(t, strings.Join(b.said, "\n"), "left over")
}

// TestWhatCannotBeRemovedIsNamed, for a person to remove it.
func TestWhatCannotBeRemovedIsNamed(t *testing.T) {
	b := newBench(t, Scopes...)
	r, err := b.open(t.Context())
	require.NoError(t, err)
	app, err := r.Make(t.Context(), "elsewhere")
	require.NoError(t, err)
	b.SetDown(true)
	err = r.Close(t.Context())
	require.ErrorContains(t, err, app.ClientID)
	assert.ErrorContains(t, err, "left over")
}

// TestRateLimitIsRespected: on the smallest tenant nothing is turned away for long.
func TestRateLimitIsRespected(t *testing.T) {
	b := newBench(t, Scopes...)
	b.SetRateLimit(tenant.RateLimit{PerSecond: 20, Burst: 2})
	r, err := b.open(t.Context())
	require.NoError(t, err)
	trial := &trial{Run: r, ctx: t.Context()}
	for range 3 {
		trial.list()
	}
	require.NoError(t, trial.err)
	require.NoError(t, r.Close(t.Context()))
	assert.Zero(t, b.Stats().RateLimited)
}
