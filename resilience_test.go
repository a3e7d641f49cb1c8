package auth0secrets

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/rotation"
)

func limited(op string) *auth0.Error {
	return &auth0.Error{Class: auth0.Limited, Op: op, Status: 429, RetryAfter: 5 * time.Second}
}

// failing has an operation at Auth0 fail in a way, without effect.
func (env *testEnv) failing(op string, err error) {
	env.auth0.interfereWith(func(at, _ string, _ func()) error {
		if at == op {
			return err
		}
		return nil
	})
}

// refuses has Auth0 refuse an operation for want of a scope.
func (env *testEnv) refuses(op string) {
	env.failing(op, refusal(op, 403, auth0.CodeInsufficientScope, "Insufficient scope"))
}

// losesAnswers has the next requests of a kind take effect, and their answers get lost.
func (env *testEnv) losesAnswers(op string, times int64) {
	var lost atomic.Int64
	env.auth0.interfereWith(func(at, _ string, commit func()) error {
		if at != op || lost.Add(1) > times {
			return nil
		}
		commit()
		return noAnswer(op)
	})
}

const always = math.MaxInt64

// restartAtClock starts a fresh engine with a wall clock that is ahead by off.
// (Its monotonic readings step with it, which those of a real clock do not.)
func (env *testEnv) restartAtClock(off *atomic.Int64) {
	env.stop()
	env.now = func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
	env.start()
	synctest.Wait()
}

// TestRootSurvivesACrashAfterItWasSet, whatever Auth0 says to the next attempt:
// only the refusal of what is known to be the first proves anything.
func TestRootSurvivesACrashAfterItWasSet(t *testing.T) {
	for name, second := range map[string]error{
		"429": limited("set secret"),
		"403": refusal("set secret", 403, auth0.CodeInsufficientScope, "Insufficient scope"),
		"400": refusal("set secret", 400, auth0.CodeInvalidBody, "Payload validation error"),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := configuredEnv(t)
				env.auth0.interfereWith(func(op, _ string, _ func()) error {
					if op == "set" {
						env.storage.FailPut(true) // Auth0 takes it, and that cannot be stored
					}
					return nil
				})
				_, err := env.request(logical.UpdateOperation, "rotate-root", nil)
				require.Error(t, err)
				env.storage.FailPut(false)
				env.failing("set", second)
				env.restart()
				sleep(time.Hour)
				assert.True(t, env.canLogIn())
				env.auth0.interfereWith(nil)
				sleep(3 * time.Hour)
				assert.True(t, env.canLogIn())
				assert.NotContains(t, env.read("config"), fieldLastError, "it is through")
			})
		})
	}
}

// TestRootSurvivesAReloadDuringItsProof.
func TestRootSurvivesAReloadDuringItsProof(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("config", map[string]any{fieldRotationPeriod: 3600})
		propagating := true
		env.auth0.whenLogin(func(c auth0.Config) error {
			if propagating && len(c.Secrets) == 1 && c.Secrets[0] != testEngineSecret {
				return refusal("token", 401, "access_denied", "Unauthorized")
			}
			return nil
		})
		sleep(time.Hour + 3*time.Second)
		require.Equal(t, 1, env.auth0.count("set"))
		env.stop()
		propagating = false
		env.failing("set", limited("set secret"))
		env.start()
		sleep(time.Minute)
		assert.True(t, env.canLogIn())
		env.auth0.interfereWith(nil)
		sleep(30 * time.Minute)
		assert.True(t, env.canLogIn())
		assert.NotContains(t, env.read("config"), fieldLastError)
	})
}

// TestRootIsTriedAgainAfterStorageFailed, without being asked.
func TestRootIsTriedAgainAfterStorageFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "set" {
				env.storage.FailPut(true)
			}
			return nil
		})
		_, err := env.request(logical.UpdateOperation, "rotate-root", nil)
		require.Error(t, err)
		env.storage.FailPut(false)
		env.auth0.interfereWith(nil)
		sleep(time.Hour)
		config, err := readConfig(t.Context(), env.storage)
		require.NoError(t, err)
		assert.Empty(t, config.Rotation.Next())
		assert.True(t, env.canLogIn())
	})
}

// TestRootProofTakesAsLongAsPropagation, also if that is long.
func TestRootProofTakesAsLongAsPropagation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("config", map[string]any{fieldPropagationDelay: 1800})
		late := time.Now().Add(20 * time.Minute)
		env.auth0.whenLogin(func(c auth0.Config) error {
			if time.Now().Before(late) && len(c.Secrets) == 1 && c.Secrets[0] != testEngineSecret {
				return refusal("token", 401, "access_denied", "Unauthorized")
			}
			return nil
		})
		env.write("rotate-root", nil)
		assert.Equal(t, 1, env.auth0.count("set"))
		assert.NotContains(t, env.read("config"), fieldLastError)
	})
}

// TestConfigSentAgain: the present credential keeps its history, and an earlier
// one is refused, though Auth0 may accept it for a moment yet.
func TestConfigSentAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("rotate-root", nil)
		env.refused(400, "engine's earlier credential", logical.UpdateOperation, "config",
			map[string]any{fieldClientSecret: testEngineSecret, fieldVerifyConnection: false})
		present := env.auth0.secret(testEngineID)
		sleep(time.Hour)
		before := env.read("config")
		env.write("config", map[string]any{fieldClientSecret: present})
		assert.Equal(t, before, env.read("config"))
	})
}

// lyingStorage applies a write and answers with an error, as one does whose
// answer comes too late.
type lyingStorage struct{ logical.Storage }

func (s *lyingStorage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	return errors.Join(s.Storage.Put(ctx, entry), errors.New("context deadline exceeded"))
}

// TestAWriteThatFailedButTookEffectIsWaitedFor: a next secret that was stored so
// is served before it is waited for.
func TestAWriteThatFailedButTookEffectIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 600})
		synctest.Wait()
		req := &logical.Request{Operation: logical.UpdateOperation, Path: "rotate/app", Storage: &lyingStorage{env.storage}}
		_, err := env.b.HandleRequest(t.Context(), req)
		require.Error(t, err)
		var last holder
		for began := time.Now(); env.auth0.secret(testAppID) == testAppSecret; sleep(time.Second) {
			require.Less(t, time.Since(began), time.Hour, "it is never rotated")
			last = env.newHolder("app")
		}
		assert.True(t, last.holds(env.auth0.secret(testAppID)))
	})
}

// TestAnOrderDoesNotGoByTheClock: an order from a node whose clock is ahead
// rotates each role once.
func TestAnOrderDoesNotGoByTheClock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60})
		var off atomic.Int64
		off.Store(int64(10 * time.Minute))
		env.restartAtClock(&off)
		env.write("rotate-all", map[string]any{fieldForce: true})
		off.Store(0)
		env.restartAtClock(&off)
		sleep(15 * time.Minute)
		assert.Equal(t, 1, env.auth0.count("set"))
		assert.Contains(t, env.read("rotate-all"), fieldFinishedAt)
		env.write("rotate-all", map[string]any{fieldForce: true})
		sleep(15 * time.Minute)
		assert.Equal(t, 2, env.auth0.count("set"))
	})
}

// TestAnOrderTakesOverWhatIsStagedBySchedule, also where that rests.
func TestAnOrderTakesOverWhatIsStagedBySchedule(t *testing.T) {
	for _, path := range []string{"rotate/app", "rotate-all"} {
		t.Run(path, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := configuredEnv(t)
				env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldRotationPeriod: 3600})
				sleep(time.Hour - 30*time.Second)
				require.Equal(t, "staged", env.read("roles/app")[fieldPhase])
				env.write("config", map[string]any{fieldDisableRotation: true})
				sleep(time.Minute)
				require.Zero(t, env.auth0.count("set"))
				env.write(path, nil)
				sleep(10 * time.Minute)
				assert.NotZero(t, env.auth0.count("set"))
				assert.Equal(t, "steady", env.read("roles/app")[fieldPhase])
			})
		})
	}
}

// TestARequestDoesNotWaitForTheNextWindow.
func TestARequestDoesNotWaitForTheNextWindow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldRotationSchedule: "0 3 1 * *", fieldRotationWindow: 3600})
		env.refuses("set")
		sleep(time.Until(time.Date(2000, 2, 1, 8, 0, 0, 0, time.UTC)))
		env.auth0.interfereWith(nil)
		env.write("rotate/app", nil)
		sleep(2 * time.Minute)
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID))
	})
}

// TestALongLeaseIsRememberedThoughTheClockIsSteppedAhead.
func TestALongLeaseIsRememberedThoughTheClockIsSteppedAhead(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 3600})
	env.write("roles/app", map[string]any{fieldTTL: 60})
	role, err := env.b.own(t.Context(), env.storage, "app")
	require.NoError(t, err)
	defer role.release()
	until := role.entry.Rotation.LeasesAt(0, time.Now().Add(-time.Hour)).Until
	assert.NotEqual(t, until, until.Round(0), "it goes by the monotonic clock") // which a bubble does not have
}

// TestSchedulesWithTimeZonesAreRefused: the SDK would take them, run them in UTC,
// and panic on some.
func TestSchedulesWithTimeZonesAreRefused(t *testing.T) {
	env := configuredEnv(t)
	for _, schedule := range []string{"TZ=UTC", "CRON_TZ=America/New_York 0 3 * * *", "TZ=UTC 3 * * *", "@daily", "0 3 * *"} {
		env.refused(400, "is no cron expression of five fields", logical.UpdateOperation, "roles/app",
			map[string]any{fieldClientID: testAppID, fieldRotationSchedule: schedule})
	}
}

// TestAPolicyThatFailsIsRetriedLikeAnyFailure, at growing intervals.
func TestAPolicyThatFailsIsRetriedLikeAnyFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		var asked atomic.Int32
		var gone atomic.Bool
		env.system.PasswordPolicies = map[string]logical.PasswordGenerator{"p": func() (string, error) {
			if asked.Add(1); gone.Load() {
				return "", errors.New("gone")
			}
			return "password-password-password-password", nil
		}}
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldRotationPeriod: 3600, fieldPasswordPolicy: "p"})
		asked.Store(0)
		gone.Store(true)
		sleep(4 * time.Hour)
		assert.Less(t, asked.Load(), int32(15))
		assert.Contains(t, env.read("roles/app")[fieldLastError], "gone")
		gone.Store(false)
		sleep(2 * time.Hour)
		assert.NotContains(t, env.read("roles/app"), fieldLastError)
	})
}

// TestASecretWhoseFormAuth0RefusesIsReplaced, once the policy makes better ones.
func TestASecretWhoseFormAuth0RefusesIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.system.PasswordPolicies = map[string]logical.PasswordGenerator{"p": func() (string, error) { return "tiny-secret-of-just-thirty-two-c", nil }}
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldPasswordPolicy: "p", fieldRotationPeriod: 3600})
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			role, err := readRole(context.Background(), env.storage, "app")
			if op == "set" && err == nil && len(role.Rotation.Next()) < 40 {
				return refusal("set secret", 400, auth0.CodeInvalidBody, "String is too short")
			}
			return nil
		})
		sleep(2 * time.Hour)
		assert.Contains(t, env.read("roles/app")[fieldLastError], "too short")
		assert.Equal(t, testAppSecret, env.read("creds/app")[fieldClientSecret])
		env.write("roles/app", map[string]any{fieldPasswordPolicy: ""})
		env.write("rotate/app", nil)
		sleep(2 * time.Hour)
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID))
		assert.NotContains(t, env.read("roles/app"), fieldLastError)
	})
}

// TestSkipImportDoesNotTakeTheOldSecretForANewOne.
func TestSkipImportDoesNotTakeTheOldSecretForANewOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		lost := false
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "rotate" && !lost {
				lost = true
				return noAnswer("rotate secret")
			}
			return nil
		})
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldSkipImport: true, fieldSecretSource: "auth0"})
		sleep(time.Minute)
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID))
		assert.Equal(t, env.auth0.secret(testAppID), env.read("creds/app")[fieldClientSecret])
	})
}

// TestOneUnreadableRoleHidesNoOther, and can be deleted.
func TestOneUnreadableRoleHidesNoOther(t *testing.T) {
	for name, damaged := range map[string]string{"newer": `{"format":4}`, "damaged": `{"format":`, "schedule": `{"format":1,"rotation_schedule":"nonsense"}`} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := configuredEnv(t)
				for i := range 3 {
					id := fmt.Sprint("r", i)
					env.auth0.add(id, "initial-secret-of-"+id)
					env.write("roles/"+id, map[string]any{fieldClientID: id, fieldTTL: 60})
				}
				env.stop()
				require.NoError(t, env.storage.Put(t.Context(), &logical.StorageEntry{Key: storageRoles + "r0", Value: []byte(damaged)}))
				env.start()
				assert.Len(t, env.must(logical.ListOperation, "roles/", nil).Data["keys"], 3)
				assert.Contains(t, env.read("status")[fieldFailing], "r0")
				env.write("rotate-all", map[string]any{fieldForce: true})
				sleep(time.Minute)
				assert.Equal(t, 2, env.auth0.count("set"))
				progress := env.read("rotate-all")
				assert.Equal(t, 2, progress[fieldDone])
				assert.Contains(t, progress[fieldFailedRoles], "r0")
				env.must(logical.DeleteOperation, "roles/r0", nil)
				sleep(time.Minute)
				assert.Equal(t, 1, env.eventCount(eventRoleDelete))
				assert.Contains(t, env.read("rotate-all"), fieldFinishedAt)
				env.write("roles/again", map[string]any{fieldClientID: "r0", fieldTTL: 60})
			})
		})
	}
}

// TestAStepOfTheWallClockIsNoticed within a minute: schedules go by it.
func TestAStepOfTheWallClockIsNoticed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		var off atomic.Int64
		env.restartAtClock(&off)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldRotationPeriod: "720h"})
		sleep(time.Minute)
		off.Store(int64(31 * 24 * time.Hour))
		sleep(time.Minute)
		assert.Equal(t, "steady", env.read("roles/app")[fieldPhase])
		require.NoError(t, env.b.periodic(t.Context(), &logical.Request{Storage: env.storage}))
		sleep(time.Second)
		assert.Equal(t, "staged", env.read("roles/app")[fieldPhase])
	})
}

// TestDeletingSaysIfAuth0MayHaveTheNextSecret, also after a crash.
func TestDeletingSaysIfAuth0MayHaveTheNextSecret(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.write("rotate/app", nil)
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "set" {
				env.storage.FailPut(true)
			}
			return nil
		})
		sleep(62 * time.Second)
		env.stop()
		env.storage.FailPut(false)
		env.failing("set", limited("set secret"))
		env.start()
		sleep(2 * time.Minute)
		resp := env.must(logical.DeleteOperation, "roles/app", nil)
		require.NotNil(t, resp)
		assert.Contains(t, resp.Warnings[0], "had no clear answer")
	})
}

// TestARefusedForceSaysWhatItLeavesBehind.
func TestARefusedForceSaysWhatItLeavesBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.refuses("set")
		env.refused(400, "The next secret stays staged, and is set at "+inRFC3339(time.Now().Add(time.Minute+rotation.HandOutMargin)),
			logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
	})
}

// TestAnAnswerThatComesWhileTheEngineStopsIsStored.
func TestAnAnswerThatComesWhileTheEngineStopsIsStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldSecretSource: "auth0", fieldRotationPeriod: 3600})
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "rotate" {
				time.Sleep(3 * time.Second)
			}
			return nil
		})
		sleep(time.Hour + time.Second)
		env.stop()
		env.auth0.interfereWith(nil)
		env.start()
		assert.Equal(t, env.auth0.secret(testAppID), env.read("creds/app")[fieldClientSecret])
		assert.Equal(t, 1, env.auth0.count("rotate"))
		sleep(time.Minute)
		assert.Equal(t, 1, env.auth0.count("rotate"))
	})
}

// TestTheRateLimitIsRememberedAcrossConfigurations.
func TestTheRateLimitIsRememberedAcrossConfigurations(t *testing.T) {
	env := configuredEnv(t)
	var seen []*auth0.Limits
	newAPI := env.b.newAPI
	env.b.newAPI = func(c auth0.Config) (managementAPI, error) {
		seen = append(seen, c.Limits)
		return newAPI(c)
	}
	env.write("config", map[string]any{fieldRequestTimeout: "10s"})
	env.write("rotate-root", nil)
	require.Greater(t, len(seen), 3)
	for _, limits := range seen {
		assert.Same(t, seen[0], limits)
	}
}

// punctualStorage refuses writes whose time is up, as real storage does.
type punctualStorage struct{ logical.Storage }

func (s *punctualStorage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.Storage.Put(ctx, entry)
}

// TestAnAnswerThatComesTooLateIsStored: nobody waits for it any more, but the
// secret is set.
func TestAnAnswerThatComesTooLateIsStored(t *testing.T) {
	for path, read := range map[string]func(*testEnv) any{
		"rotate/app":  func(env *testEnv) any { return env.read("creds/app")[fieldClientSecret] == env.auth0.secret(testAppID) },
		"rotate-root": func(env *testEnv) any { return env.read("config")[fieldFailures] == 0 },
	} {
		t.Run(path, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := minuteRole(t, nil)
				env.auth0.interfereWith(func(op, _ string, _ func()) error {
					if op == "set" {
						time.Sleep(upstreamPatience + time.Second) // beyond its own time-outs, and in time for the last of them
					}
					return nil
				})
				env.auth0.deaf = true
				req := &logical.Request{Operation: logical.UpdateOperation, Path: path, Storage: &punctualStorage{env.storage}}
				if path == "rotate/app" {
					req.Data = map[string]any{fieldForce: true}
				}
				_, err := env.b.HandleRequest(t.Context(), req)
				require.NoError(t, err)
				assert.Equal(t, true, read(env))
			})
		})
	}
}

// TestAFailedTokenRequestHasSentNothing: whatever Auth0 says to it, the attempt has
// not begun, and a force is still one.
func TestAFailedTokenRequestHasSentNothing(t *testing.T) {
	for name, class := range map[string]auth0.Class{"refused": auth0.Refused, "no answer": auth0.Ambiguous} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := minuteRole(t, nil)
				env.failing("set", &auth0.Error{Class: class, Op: auth0.OpToken, Status: 401, Code: "access_denied", Message: "Unauthorized"})
				_, err := env.request(logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
				require.Error(t, err)
				assert.False(t, env.stored("app").Rotation.Unsettled())
				env.auth0.interfereWith(nil)
				sleep(10 * time.Second)
				assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID), "no lease is waited for")
			})
		})
	}
}
