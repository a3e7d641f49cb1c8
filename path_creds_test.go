package auth0secrets

import (
	"context"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/rotation"
)

func TestCredsCarryTheSetInOrderWithALease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldRotationPeriod: "1h"})
		imported := inRFC3339(time.Now())
		resp := env.must(logical.ReadOperation, "creds/app", nil)
		assert.Equal(t, map[string]any{
			fieldDomain: testDomain, fieldClientID: testAppID, fieldClientSecret: testAppSecret, fieldFallbackClientSecret: "",
			fieldClientSecrets: []string{testAppSecret}, fieldRotationPeriod: int64(3600), fieldLastVaultRotation: imported, fieldTTL: int64(60),
		}, resp.Data)
		assert.Equal(t, time.Minute, resp.Secret.TTL)
		assert.Equal(t, time.Minute, resp.Secret.MaxTTL)
		assert.False(t, resp.Secret.Renewable)

		env.write("rotate/app", nil)
		staged := env.read("creds/app")
		next := staged[fieldFallbackClientSecret].(string)
		assert.Len(t, next, 64)
		assert.Equal(t, []string{testAppSecret, next}, staged[fieldClientSecrets])
		assert.Equal(t, testAppSecret, staged[fieldClientSecret])

		sleep(time.Minute + rotation.HandOutMargin)
		settling := env.read("creds/app")
		assert.Equal(t, []string{next, testAppSecret}, settling[fieldClientSecrets])
		assert.Equal(t, next, env.auth0.secret(testAppID))
		sleep(defaultPropagationDelay)
		steady := env.read("creds/app")
		assert.Equal(t, []string{next}, steady[fieldClientSecrets])
		assert.Empty(t, steady[fieldFallbackClientSecret])
	})
}

func TestLeaseCanBeRevokedAndNotRenewed(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID})
	secret := env.must(logical.ReadOperation, "creds/app", nil).Secret
	resp, err := env.b.HandleRequest(t.Context(), logical.RevokeRequest("creds/app", secret, nil))
	require.NoError(t, err)
	assert.Nil(t, resp)
	resp, err = env.b.HandleRequest(t.Context(), logical.RenewRequest("creds/app", secret, nil))
	assert.True(t, err != nil || resp.IsError())
	assert.Equal(t, testAppSecret, env.auth0.secret(testAppID))
}

// TestStaticCredsOfOneSetDifferInTTLOnly: the Vault Secrets Operator restarts
// workloads when anything else changes.
func TestStaticCredsOfOneSetDifferInTTLOnly(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldRotationPeriod: "1h"})
		var last string
		var sets int
		for range 3 * 3600 {
			data := env.read("static-creds/app")
			ttl := data[fieldTTL].(int64)
			require.GreaterOrEqual(t, ttl, int64(1))
			require.LessOrEqual(t, ttl, int64(60))
			delete(data, fieldTTL)
			now, err := json.Marshal(data)
			require.NoError(t, err)
			if string(now) != last {
				last = string(now)
				sets++
			}
			sleep(time.Second)
		}
		// import; staged, settling and steady of two rotations; the third is
		// staged and takes effect as the test ends
		assert.Equal(t, 1+2*3+1, sets)
	})
}

// TestStaticCredsReaderIsNeverWrong: one that reads again when ttl says so
// always holds the secret that Auth0 accepts.
func TestStaticCredsReaderIsNeverWrong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldRotationPeriod: "10m"})
		var held []string
		var readAgain time.Time
		for range 3600 {
			if !time.Now().Before(readAgain) {
				data := env.read("static-creds/app")
				held = data[fieldClientSecrets].([]string)
				readAgain = time.Now().Add(time.Duration(data[fieldTTL].(int64) * int64(time.Second)))
			}
			require.Contains(t, held, env.auth0.secret(testAppID))
			sleep(time.Second)
		}
		assert.Equal(t, 6, env.auth0.count("set"))
	})
}

func TestManualRoleTellsReadersOfItsTTL(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60})
	data := env.read("static-creds/app")
	assert.Equal(t, int64(60), data[fieldRotationPeriod])
	assert.Equal(t, int64(30), data[fieldTTL])
	assert.NotContains(t, data, "rotation_schedule")
}

// TestAuth0MadeSecretsHaveLeasesThatEndWithThem: nothing can be staged, so
// leases count down to the rotation.
func TestAuth0MadeSecretsHaveLeasesThatEndWithThem(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldRotationPeriod: "10m", fieldSecretSource: "auth0"})
		sleep(9*time.Minute + 30*time.Second)
		lease := env.must(logical.ReadOperation, "creds/app", nil)
		assert.Equal(t, 30*time.Second, lease.Secret.TTL)
		assert.Equal(t, int64(30), lease.Data[fieldTTL])
		assert.Equal(t, int64(30), env.read("static-creds/app")[fieldTTL])
		sleep(27 * time.Second)
		assert.Equal(t, minLease, env.must(logical.ReadOperation, "creds/app", nil).Secret.TTL)
		assert.Equal(t, int64(3), env.read("static-creds/app")[fieldTTL])
		sleep(4 * time.Second)
		assert.Equal(t, "made-by-auth0-1", env.read("creds/app")[fieldClientSecret])
		assert.Equal(t, testAppSecret, env.read("creds/app")[fieldFallbackClientSecret])
	})
}

// TestReadingNeedsNeitherAuth0NorStorage but for a role's first read.
func TestReadingNeedsNeitherAuth0NorStorage(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID})
	env.auth0.interfereWith(func(op, _ string, _ func()) error { return noAnswer(op) })
	env.storage.FailGet(true).FailList(true).FailPut(true)
	calls := len(env.auth0.calls)
	for _, path := range []string{"creds/app", "static-creds/app"} {
		assert.Equal(t, testAppSecret, env.read(path)[fieldClientSecret])
	}
	assert.Len(t, env.auth0.calls, calls)
	env.storage.FailGet(false).FailList(false).FailPut(false)

	env.stop()
	env.b = newPluginBackend(time.Now) // no scheduler, nothing loaded
	require.NoError(t, env.b.Setup(t.Context(), &logical.BackendConfig{System: env.system, StorageView: env.storage}))
	env.storage.FailGet(true)
	_, err := env.request(logical.ReadOperation, "creds/app", nil)
	require.Error(t, err)
	env.storage.FailGet(false)
	env.read("creds/app")
	env.storage.FailGet(true)
	assert.Equal(t, testAppSecret, env.read("creds/app")[fieldClientSecret])
	env.storage.FailGet(false)
}

func TestInvalidatedRoleIsReadAnew(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID})
	env.read("creds/app")
	role, err := readRole(t.Context(), env.storage, "app")
	require.NoError(t, err)
	role.Rotation = rotation.Imported("written-by-another-node", 0, time.Now())
	require.NoError(t, writeRole(t.Context(), env.storage, "app", role))
	assert.Equal(t, testAppSecret, env.read("creds/app")[fieldClientSecret])
	env.b.InvalidateKey(t.Context(), storageRoles+"app")
	assert.Equal(t, "written-by-another-node", env.read("creds/app")[fieldClientSecret])
}

// TestLoadOvertakenByAChangeIsNotKept: what was read from storage before a
// change must not be served after it.
func TestLoadOvertakenByAChangeIsNotKept(t *testing.T) {
	old := &roleEntry{TTL: time.Minute, Rotation: rotation.Imported("one", 0, time.Now())}
	changed := &roleEntry{TTL: time.Minute, Rotation: rotation.Imported("two", 0, time.Now())}
	for name, c := range map[string]struct {
		change func(*servedSets)
		want   *roleEntry // what the next read gets without loading; nil: it has to load
	}{
		"published":   {func(s *servedSets) { s.publish("app", changed) }, changed},
		"deleted":     {func(s *servedSets) { s.forget("app") }, nil},
		"invalidated": {func(s *servedSets) { s.invalidate("app") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServedSets(time.Now)
			_, err := s.get(t.Context(), "app", func(context.Context) (*roleEntry, error) {
				c.change(s)
				return old, nil
			})
			require.NoError(t, err)
			loaded := false
			set, err := s.get(t.Context(), "app", func(context.Context) (*roleEntry, error) {
				loaded = true
				return changed, nil
			})
			require.NoError(t, err)
			assert.Equal(t, c.want == nil, loaded)
			assert.Same(t, changed, set.role)
		})
	}
}

// TestWhatAnotherNodeHasChangedIsServedFromThenOn: holders of what was served until
// then get a whole ttl more.
func TestWhatAnotherNodeHasChangedIsServedFromThenOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "1m"})
		env.write("rotate/app", nil)
		sleep(30 * time.Second)
		env.b.InvalidateKey(t.Context(), storageRoles+"app")
		assert.Equal(t, inRFC3339(time.Now().Add(time.Minute)), env.read("rotate/app")[fieldReadyAt])
		sleep(time.Minute)
		assert.Equal(t, testAppSecret, env.auth0.secret(testAppID))
		sleep(rotation.HandOutMargin)
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID))
	})
}

// TestALoweredMaximumOfTheMountCountsWithinAMinute.
func TestALoweredMaximumOfTheMountCountsWithinAMinute(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "1h"})
	lease := func() time.Duration { return env.must(logical.ReadOperation, "creds/app", nil).Secret.TTL }
	require.Equal(t, time.Hour, lease())
	env.system.MaxLeaseTTLVal = 10 * time.Minute
	require.NoError(t, env.b.PeriodicFunc(t.Context(), &logical.Request{Storage: env.storage}))
	assert.Equal(t, 10*time.Minute, lease())
}

// TestTTLWhileOverdue: whatever a rotation is kept from by Auth0, ttl is a few seconds
// then, and never so few that the Vault Secrets Operator takes them for a rotation that
// is just about to come.
func TestTTLWhileOverdue(t *testing.T) {
	failures := map[string]func(op string) error{
		"refused":      func(op string) error { return refusal(op, 403, auth0.CodeInsufficientScope, "Insufficient scope") },
		"form refused": func(op string) error { return refusal(op, 400, auth0.CodeInvalidBody, "too long") },
		"rate limit": func(op string) error {
			return &auth0.Error{Class: auth0.Limited, Op: op, Status: 429, RetryAfter: 7 * time.Second}
		},
		"no login":  func(string) error { return refusal(auth0.OpToken, 401, "access_denied", "Unauthorized") },
		"no answer": func(op string) error { return noAnswer(op) },
		"hangs": func(op string) error {
			time.Sleep(20 * time.Second)
			return noAnswer(op)
		},
	}
	for plan, settings := range map[string]map[string]any{
		"period":            {fieldRotationPeriod: "10m"},
		"schedule":          {fieldRotationSchedule: "*/10 * * * *"},
		"window":            {fieldRotationSchedule: "*/10 * * * *", fieldRotationWindow: "1h"},
		"by hand":           {},
		"all roles":         {},
		"made by Auth0":     {fieldSecretSource: string(rotation.Auth0), fieldRotationPeriod: "10m"},
		"schedule by Auth0": {fieldSecretSource: string(rotation.Auth0), fieldRotationSchedule: "*/10 * * * *", fieldRotationWindow: "1h"},
	} {
		for failure, fail := range failures {
			if failure == "form refused" && settings[fieldSecretSource] != nil {
				continue // nothing of a form is sent
			}
			t.Run(plan+", "+failure, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					env := configuredEnv(t)
					role := map[string]any{fieldClientID: testAppID, fieldTTL: 60}
					maps.Copy(role, settings)
					env.write("roles/app", role)
					env.auth0.interfereWith(func(op, _ string, _ func()) error {
						if op == "set" || op == "rotate" {
							return fail(op)
						}
						return nil
					})
					switch plan {
					case "by hand":
						env.write("rotate/app", nil)
					case "all roles":
						env.write("rotate-all", nil)
					}
					sleep(595 * time.Second)
					overdue := 0
					for range 150 {
						sleep(time.Second)
						if env.read("status")[fieldOverdue] == 0 {
							continue
						}
						overdue++
						ttl := env.read("static-creds/app")[fieldTTL].(int64)
						require.GreaterOrEqual(t, ttl, int64(3), "%v", env.read("roles/app"))
						require.LessOrEqual(t, ttl, int64(10), "%v", env.read("roles/app"))
					}
					require.Greater(t, overdue, 5)
				})
			})
		}
	}
}
