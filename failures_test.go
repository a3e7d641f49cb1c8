package auth0secrets

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// Failures of storage, of clocks and of orders to rotate all, where they meet the
// other features.

// TestABulkRotationIsBegunThoughItsWriteFailed: the write took effect all the same.
func TestABulkRotationIsBegunThoughItsWriteFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 2)
		sleep(time.Second)
		_, err := env.b.HandleRequest(t.Context(), &logical.Request{
			Operation: logical.UpdateOperation, Path: "rotate-all", Storage: &lyingStorage{env.storage}, Data: map[string]any{fieldForce: true},
		})
		require.Error(t, err)
		env.write("rotate-all", map[string]any{fieldForce: true}) // asked again
		sleep(20 * time.Hour)
		assert.NotEqual(t, "initial-secret-of-r0", env.auth0.secret("r0"), "ordered twice, answered 'still under way', and never begun")
	})
}

// TestRotationGoesOnThoughTheWriteThatResumedItFailed.
func TestRotationGoesOnThoughTheWriteThatResumedItFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("config", map[string]any{"drift_check_period": 0})
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "1m", fieldRotationPeriod: "1h"})
		env.write("config", map[string]any{fieldDisableRotation: true})
		sleep(2 * time.Hour)
		require.Equal(t, testAppSecret, env.auth0.secret(testAppID))
		_, err := env.b.HandleRequest(t.Context(), &logical.Request{
			Operation: logical.UpdateOperation, Path: "config", Storage: &lyingStorage{env.storage}, Data: map[string]any{fieldDisableRotation: false},
		})
		require.Error(t, err)
		env.write("config", map[string]any{fieldDisableRotation: false}) // tried again: succeeds
		for range 60 {
			sleep(time.Hour)
			_ = env.b.periodic(t.Context(), &logical.Request{Storage: env.storage})
		}
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID), "never rotated though rotation was resumed")
	})
}

// TestRotationRestsThoughTheWriteThatPausedItFailed.
func TestRotationRestsThoughTheWriteThatPausedItFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "1m", fieldRotationPeriod: "1h"})
		_, err := env.b.HandleRequest(t.Context(), &logical.Request{
			Operation: logical.UpdateOperation, Path: "config", Storage: &lyingStorage{env.storage}, Data: map[string]any{fieldDisableRotation: true},
		})
		require.Error(t, err)
		require.Equal(t, true, env.read("config")[fieldDisableRotation])
		sleep(2 * time.Hour)
		assert.Equal(t, testAppSecret, env.auth0.secret(testAppID), "config says rotation is disabled, and it goes on")
	})
}

// TestABulkRotationIsCalledOffWhileItIsAskedFor.
func TestABulkRotationIsCalledOffWhileItIsAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 200)
		sleep(time.Second)
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "set" {
				time.Sleep(10 * time.Second)
			}
			return nil
		})
		env.write("rotate-all", map[string]any{fieldForce: true})
		sleep(15 * time.Second)
		before := env.auth0.count("set")
		_, _ = env.request(logical.DeleteOperation, "rotate-all", nil)
		sleep(time.Hour)
		assert.LessOrEqual(t, env.auth0.count("set"), before, "called off after %d, and all were rotated", before)
	})
}

// TestDriftThatCouldNotBeStoredIsFoundAgain.
func TestDriftThatCouldNotBeStoredIsFoundAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := driftEnv(t, nil)
		sleep(time.Second)
		env.setForeign(foreignSecret)
		var found atomic.Bool
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "get" && found.CompareAndSwap(false, true) {
				env.storage.Underlying().FailPut(true)
				time.AfterFunc(5*time.Second, func() { env.storage.Underlying().FailPut(false) })
			}
			return nil
		})
		for !found.Load() {
			sleep(time.Minute)
		}
		sleep(12 * time.Hour)
		status := env.read("status")
		assert.Equal(t, foreignSecret, env.read("creds/app")[fieldClientSecret], "found 12 h ago, storage failed for 5 s; status: %v", status)
	})
}

// TestACallOffThatFailedIsCompleted, whether its write took effect or not.
func TestACallOffThatFailedIsCompleted(t *testing.T) {
	for name, bad := range map[string]func(logical.Storage) logical.Storage{
		"no effect": func(s logical.Storage) logical.Storage { return &failingRolePut{s} },
		"effect":    func(s logical.Storage) logical.Storage { return &lyingStorage{s} },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := manyRoles(t, 1)
				env.write("rotate/r0", map[string]any{fieldForce: true})
				first := env.auth0.secret("r0")
				env.write("rotate-all", nil)
				sleep(time.Second)
				_, err := env.b.HandleRequest(t.Context(), &logical.Request{Operation: logical.DeleteOperation, Path: "rotate-all", Storage: bad(env.storage)})
				require.Error(t, err)
				env.must(logical.DeleteOperation, "rotate-all", nil)
				sleep(time.Hour)
				assert.Equal(t, first, env.auth0.secret("r0"), "called off before it had begun")
			})
		})
	}
}

type failingRolePut struct{ logical.Storage }

func (s *failingRolePut) Put(ctx context.Context, e *logical.StorageEntry) error {
	if e.Key != storageBulk {
		return errors.New("no")
	}
	return s.Storage.Put(ctx, e)
}

// TestDeletingSaysIfAuth0MayHaveARejectedSecret.
func TestDeletingSaysIfAuth0MayHaveARejectedSecret(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := driftEnv(t, map[string]any{fieldTTL: "1m"})
		n := 0
		env.auth0.interfereWith(func(op, _ string, commit func()) error {
			if op != "set" {
				return nil
			}
			n++
			if n == 1 {
				commit()
				return noAnswer(op)
			}
			return refusal(op, 400, auth0.CodeInvalidBody, "Payload validation error")
		})
		_, err := env.request(logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
		require.Error(t, err)
		sleep(11 * time.Second)
		require.Equal(t, 2, n)
		live := env.auth0.secret(testAppID)
		require.NotEqual(t, testAppSecret, live)
		resp := env.must(logical.DeleteOperation, "roles/app", nil)
		assert.NotNil(t, resp, "the live secret was known to the role alone, and it is forgotten without a word")
	})
}

// TestDeletingTheConfigurationSaysIfAuth0MayHaveTheNextSecret.
func TestDeletingTheConfigurationSaysIfAuth0MayHaveTheNextSecret(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.losesAnswers("set", always)
		_, err := env.request(logical.UpdateOperation, "rotate-root", nil)
		require.Error(t, err)
		require.NotEqual(t, testEngineSecret, env.auth0.secret(testEngineID))
		resp := env.must(logical.DeleteOperation, "config", nil)
		assert.NotNil(t, resp, "only Vault knew the live secret, and it is forgotten without a warning")
	})
}

// H: rotate-root's due time overwrites that of a configuration written just after
type racingDue struct {
	dueTimes
	before func(key string, at time.Time)
}

func (d *racingDue) Set(key string, at time.Time) {
	if d.before != nil {
		d.before(key, at)
	}
	d.dueTimes.Set(key, at)
}

// TestAPeriodOfTheEnginesOwnSecretIsKeptThoughItWasJustRotated.
func TestAPeriodOfTheEnginesOwnSecretIsKeptThoughItWasJustRotated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("config", map[string]any{fieldPropagationDelay: 0})
		sleep(time.Second)
		raced := false
		env.b.due = &racingDue{env.b.index, func(key string, _ time.Time) {
			if key == dueRoot && !raced {
				raced = true // the lock is free here
				go env.write("config", map[string]any{fieldRotationPeriod: "1h"})
				time.Sleep(time.Second)
			}
		}}
		env.write("rotate-root", nil)
		require.True(t, raced)
		live := env.auth0.secret(testEngineID)
		sleep(10 * 24 * time.Hour)
		assert.NotEqual(t, live, env.auth0.secret(testEngineID), "never rotated though rotation_period is 1h")
	})
}

// TestDriftIsLookedForAfterTheClockWasPutBack.
func TestDriftIsLookedForAfterTheClockWasPutBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		var off atomic.Int64
		off.Store(int64(365 * 24 * time.Hour))
		env.restartAtClock(&off)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "15m"})
		sleep(time.Minute)
		off.Store(0)
		require.NoError(t, env.b.periodic(t.Context(), &logical.Request{Storage: env.storage}))
		sleep(time.Second)
		env.setForeign(foreignSecret)
		sleep(100 * 24 * time.Hour)
		assert.Equal(t, foreignSecret, env.read("creds/app")[fieldClientSecret], "no drift check for 100 days")
	})
}

// TestABulkRotationOfFormat1ConcernsNothingNewer: also if it is forced now.
func TestABulkRotationOfFormat1ConcernsNothingNewer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 2)
		env.auth0.interfereWith(func(op, id string, _ func()) error {
			if op == "set" && id == "r0" {
				return refusal(op, 403, auth0.CodeInsufficientScope, "no")
			}
			return nil
		})
		env.stop()
		// an unfinished order of format 1; r1 was imported after it
		put := func(key, value string) {
			require.NoError(t, env.storage.Put(t.Context(), &logical.StorageEntry{Key: key, Value: []byte(value)}))
		}
		started := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
		put("rotate-all", `{"format":1,"number":1,"started_at":"`+started+`"}`)
		put("role/r0", `{"format":1,"domain":"`+testDomain+`","client_id":"r0","ttl":60000000000,"secret_source":"vault","rotation":{"current":{"version":1,"value":"initial-secret-of-r0"},"last_rotation":"1999-12-01T00:00:00Z"}}`)
		put("role/r1", `{"format":1,"domain":"`+testDomain+`","client_id":"r1","ttl":60000000000,"secret_source":"vault","rotation":{"current":{"version":1,"value":"initial-secret-of-r1"},"last_rotation":"`+time.Now().UTC().Format(time.RFC3339)+`"}}`)
		env.start()
		sleep(5 * time.Second)
		env.write("rotate-all", map[string]any{fieldForce: true})
		sleep(10 * time.Minute)
		assert.Equal(t, "initial-secret-of-r1", env.auth0.secret("r1"), "imported after the order, rotated by force")
	})
}

// TestABulkRotationThatHasJustBegunIsNotOver: though its roles failed before.
func TestABulkRotationThatHasJustBegunIsNotOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 1)
		env.refuses("set")
		_, err := env.request(logical.UpdateOperation, "rotate/r0", map[string]any{fieldForce: true})
		require.Error(t, err)
		env.auth0.interfereWith(nil)
		env.write("rotate-all", nil)
		again := env.write("rotate-all", nil)
		require.NotEmpty(t, again.Warnings)
		assert.Contains(t, again.Warnings[0], "still under way")
		sleep(time.Second)
		assert.Contains(t, env.write("rotate-all", nil).Warnings[0], "still under way")
	})
}

// TestARetryIsToldOfWhereTheWindowAllowsIt.
func TestARetryIsToldOfWhereTheWindowAllowsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := driftEnv(t, map[string]any{fieldRotationSchedule: "0 3 * * *", fieldRotationWindow: "1h", fieldTTL: "10m"})
		env.withoutJitter()
		var told atomic.Bool
		var next atomic.Int64 // when the first attempt was made after it was told of
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "set" {
				if told.Load() {
					next.CompareAndSwap(0, time.Now().Unix())
				}
				return refusal(op, 403, auth0.CodeInsufficientScope, "no")
			}
			return nil
		})
		sleep(time.Until(time.Date(2000, 1, 1, 3, 59, 0, 0, time.UTC)))
		data := env.read("roles/app")
		said, err := time.Parse(time.RFC3339, data[fieldRetryAt].(string))
		require.NoError(t, err)
		told.Store(true)
		sleep(48 * time.Hour)
		assert.WithinDuration(t, said, time.Unix(next.Load(), 0), time.Minute)
	})
}

// TestAScheduleIsKeptOnceThoughClocksDiffer.
func TestAScheduleIsKeptOnceThoughClocksDiffer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		var off atomic.Int64
		off.Store(int64(50 * time.Minute))
		env.restartAtClock(&off)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "5m", fieldRotationSchedule: "0 3 * * *"})
		sleep(time.Until(time.Date(2000, 1, 1, 2, 11, 0, 0, time.UTC)))
		require.Equal(t, 2, env.read("roles/app")[fieldVersion])
		off.Store(0)
		env.restart()
		sleep(12 * time.Hour)
		assert.Equal(t, 2, env.read("roles/app")[fieldVersion], "rotated twice for one time of its schedule")
	})
}

// TestTheNextRotationIsToldOfAlsoWhileOnePropagates.
func TestTheNextRotationIsToldOfAlsoWhileOnePropagates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := driftEnv(t, map[string]any{fieldTTL: "10m", fieldRotationPeriod: "720h"})
		env.write("rotate/app", map[string]any{fieldForce: true})
		env.write("rotate/app", nil)
		said := env.read("roles/app")[fieldNextVaultRotation]
		sleep(15 * time.Minute)
		assert.Equal(t, 3, env.read("roles/app")[fieldVersion])
		assert.Equal(t, said, env.read("roles/app")[fieldLastVaultRotation])
	})
}

// TestARoleIsAttendedToThoughItsCreationFailed: the write took effect all the same.
func TestARoleIsAttendedToThoughItsCreationFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		_, err := env.b.HandleRequest(t.Context(), &logical.Request{
			Operation: logical.CreateOperation, Path: "roles/app", Storage: &lyingRole{env.storage},
			Data: map[string]any{fieldClientID: testAppID, fieldTTL: "1m", fieldRotationPeriod: "1h"},
		})
		require.Error(t, err)
		sleep(100 * time.Hour)
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID))
	})
}

type lyingRole struct{ logical.Storage }

func (s *lyingRole) Put(ctx context.Context, e *logical.StorageEntry) error {
	if e.Key == storageRoles+"app" {
		return errors.Join(s.Storage.Put(ctx, e), errors.New("deadline"))
	}
	return s.Storage.Put(ctx, e)
}

// TestAfterADoubtfulRejectionNoWindowIsWaitedFor.
func TestAfterADoubtfulRejectionNoWindowIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := driftEnv(t, map[string]any{fieldRotationSchedule: "0 3 1 1,4,7,10 *", fieldRotationWindow: "1h", fieldTTL: "1h"})
		env.auth0.grantScopes(scopeUpdateClientKeys, scopeReadClients)
		n := 0
		env.auth0.interfereWith(func(op, _ string, commit func()) error {
			if op != "set" {
				return nil
			}
			n++
			switch n {
			case 1:
				commit()
				return noAnswer(op)
			case 2:
				return refusal(op, 400, auth0.CodeInvalidBody, "Payload validation error")
			}
			return nil
		})
		sleep(time.Until(time.Date(2000, 2, 15, 0, 0, 0, 0, time.UTC)))
		assert.Equal(t, env.auth0.secret(testAppID), env.read("creds/app")[fieldClientSecret])
	})
}

// TestAnInvalidationDuringAWriteShortensNoWait.
func TestAnInvalidationDuringAWriteShortensNoWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := hookedEnv(t, map[string]any{fieldTTL: "15m"})
		sleep(time.Second)
		armed := true
		var last holder
		env.hooks.get.set(func(_ string) error {
			return nil
		})
		env.hooks.put.set(func(key string) error {
			if key == storageRoles+"app" && armed {
				armed = false
				time.Sleep(30 * time.Second)
				last = env.newHolder("app")
				env.b.InvalidateKey(context.Background(), storageRoles+"app")
				_ = last
			}
			return nil
		})
		env.write("rotate/app", nil)
		require.False(t, armed)
		for env.auth0.secret(testAppID) == testAppSecret {
			sleep(time.Second)
		}
		if time.Now().Before(last.expires) {
			assert.True(t, last.holds(env.auth0.secret(testAppID)))
		}
	})
}

// stepped is a time with the wall clock off by so much and, like a real one, a
// monotonic reading that is not (those of a bubble have none).
func stepped(at time.Time, by time.Duration) (out time.Time) {
	type form struct {
		wall uint64
		ext  int64
		loc  *time.Location
	}
	f := (*form)(unsafe.Pointer(&out))
	seconds := at.Add(by).Unix() - time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	f.wall = 1<<63 | uint64(seconds)<<30 | uint64(at.Nanosecond())
	f.ext = int64(at.Sub(time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)))
	return out
}

// TestAScheduleGoesOnAfterTheWallClockWasPutBack.
func TestAScheduleGoesOnAfterTheWallClockWasPutBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		ahead := 60 * 24 * time.Hour
		env.stop()
		env.now = func() time.Time { return stepped(time.Now(), ahead) }
		env.start()
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "5m", fieldRotationSchedule: "0 3 * * *"})
		sleep(26 * time.Hour)
		v := env.read("roles/app")[fieldVersion]
		require.Equal(t, 2, v)
		ahead = 0
		for range 30 * 24 {
			require.NoError(t, env.b.periodic(t.Context(), &logical.Request{Storage: env.storage}))
			sleep(time.Hour)
		}
		assert.Greater(t, env.read("roles/app")[fieldVersion], 25, "not rotated for a month")
	})
}

// TestTwoInvalidationsDuringAWriteShortenNoWait.
func TestTwoInvalidationsDuringAWriteShortenNoWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := hookedEnv(t, map[string]any{fieldTTL: "15m"})
		sleep(time.Second)
		armed, slow := true, false
		var last holder
		got := make(chan struct{})
		env.hooks.get.set(func(key string) error {
			if slow && key == storageRoles+"app" {
				slow = false
				time.Sleep(20 * time.Second)
			}
			return nil
		})
		env.hooks.put.set(func(key string) error {
			if key == storageRoles+"app" && armed {
				armed = false
				env.b.InvalidateKey(context.Background(), storageRoles+"app")
				slow = true
				go func() { defer close(got); last = env.newHolder("app") }()
				time.Sleep(5 * time.Second)
				env.b.InvalidateKey(context.Background(), storageRoles+"app")
				time.Sleep(16 * time.Second)
			}
			return nil
		})
		env.write("rotate/app", nil)
		<-got
		require.False(t, armed)
		for env.auth0.secret(testAppID) == testAppSecret {
			sleep(time.Second)
		}
		if time.Now().Before(last.expires) {
			assert.True(t, last.holds(env.auth0.secret(testAppID)), "a live lease lacks it for %s", time.Until(last.expires))
		}
	})
}

// TestNothingIsLeftOfARoleWhoseDeletionFailed: it took effect all the same.
func TestNothingIsLeftOfARoleWhoseDeletionFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 1)
		sleep(time.Second)
		before := env.b.index.Len()
		_, err := env.b.HandleRequest(t.Context(), &logical.Request{Operation: logical.DeleteOperation, Path: "roles/r0", Storage: &lyingDelete{env.storage}})
		require.Error(t, err)
		env.must(logical.DeleteOperation, "roles/r0", nil)
		sleep(48 * time.Hour)
		assert.Equal(t, before-1, env.b.index.Len())
		assert.Empty(t, env.b.drift.roles)
	})
}

type lyingDelete struct{ logical.Storage }

func (s *lyingDelete) Delete(ctx context.Context, key string) error {
	if err := s.Storage.Delete(ctx, key); err != nil {
		return err
	}
	return context.DeadlineExceeded
}

// TestARoleThatIsCalledOffDoesNotFailForEver.
func TestARoleThatIsCalledOffDoesNotFailForEver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := driftEnv(t, map[string]any{fieldSecretSource: "auth0"})
		env.refuses("rotate")
		env.write("rotate-all", nil)
		sleep(time.Second)
		env.must(logical.DeleteOperation, "rotate-all", nil)
		env.auth0.interfereWith(nil)
		sleep(1000 * time.Hour)
		assert.Empty(t, env.read("status")[fieldFailing], "nothing is to be done, and it fails for ever")
	})
}

// TestABulkRotationOfFormat1GoesByWhenSecretsWereMade.
func TestABulkRotationOfFormat1GoesByWhenSecretsWereMade(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 3)
		env.stop()
		put := func(key, value string) {
			require.NoError(t, env.storage.Put(t.Context(), &logical.StorageEntry{Key: key, Value: []byte(value)}))
		}
		at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
		put("rotate-all", `{"format":1,"number":1,"started_at":"`+at(-time.Hour)+`"}`)
		// staged before the order, promoted after it: the secret is older than the order
		put("role/r0", `{"format":1,"domain":"`+testDomain+`","client_id":"r0","ttl":60000000000,"secret_source":"vault","rotation":{"current":{"version":2,"value":"initial-secret-of-r0","made_at":"`+at(-2*time.Hour)+`"},"last_rotation":"`+at(-50*time.Minute)+`"}}`)
		// found after the order
		put("role/r1", `{"format":1,"domain":"`+testDomain+`","client_id":"r1","ttl":60000000000,"secret_source":"vault","rotation":{"current":{"version":2,"value":"initial-secret-of-r1"},"previous":{"version":1,"value":"ours-before-the-drift"},"drifted_at":"`+at(-time.Minute)+`","last_rotation":"1999-12-01T00:00:00Z"}}`)
		put("role/r2", `{"format":1,"domain":"`+testDomain+`","client_id":"r2","ttl":60000000000,"secret_source":"vault","rotation":{"current":{"version":1,"value":"initial-secret-of-r2"},"last_rotation":"1999-12-01T00:00:00Z"}}`)
		env.start()
		sleep(10 * time.Minute)
		assert.NotEqual(t, "initial-secret-of-r2", env.auth0.secret("r2"))
		assert.NotEqual(t, "initial-secret-of-r0", env.auth0.secret("r0"), "made before the order")
		assert.Equal(t, "initial-secret-of-r1", env.auth0.secret("r1"), "found after the order")
	})
}

// TestAScheduleIsKeptThoughTheWriteThatSetItFailed.
func TestAScheduleIsKeptThoughTheWriteThatSetItFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := driftEnv(t, nil)
		env.write("config", map[string]any{"drift_check_period": 0})
		sleep(time.Second)
		_, err := env.b.HandleRequest(t.Context(), &logical.Request{
			Operation: logical.UpdateOperation, Path: "roles/app", Storage: &lyingRole{env.storage}, Data: map[string]any{fieldRotationPeriod: "1h"},
		})
		require.Error(t, err)
		sleep(100 * time.Hour)
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID))
	})
}

// TestWhatTheScheduleStagedIsItsOwnAgainAfterACallOff.
func TestWhatTheScheduleStagedIsItsOwnAgainAfterACallOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := driftEnv(t, map[string]any{fieldRotationPeriod: "2h", fieldTTL: "1h"})
		sleep(time.Hour + time.Minute)
		require.Equal(t, "staged", env.read("roles/app")[fieldPhase])
		env.write("rotate-all", nil)
		sleep(time.Second)
		env.must(logical.DeleteOperation, "rotate-all", nil)
		env.write("config", map[string]any{fieldDisableRotation: true})
		sleep(24 * time.Hour)
		assert.Equal(t, testAppSecret, env.auth0.secret(testAppID), "staged by schedule, rotated while paused, by an order that was called off")
	})
}

type listCounter struct {
	logical.Storage
	n *atomic.Int64
}

func (s listCounter) List(ctx context.Context, prefix string) ([]string, error) {
	if prefix == storageRoles {
		s.n.Add(1)
	}
	return s.Storage.List(ctx, prefix)
}

// TestABulkRotationWithADeadRoleAsksNothingOfStorage.
func TestABulkRotationWithADeadRoleAsksNothingOfStorage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 2)
		env.auth0.mu.Lock()
		delete(env.auth0.apps, "r0")
		env.auth0.mu.Unlock()
		var n atomic.Int64
		env.b.storage = listCounter{env.b.storage, &n}
		env.write("rotate-all", nil)
		sleep(24 * time.Hour)
		before := n.Load()
		sleep(24 * time.Hour)
		assert.Less(t, n.Load()-before, int64(100), "all roles are listed and looked at so often a day, for one that fails")
	})
}

// TestRotationGoesOnThoughTheConfigurationCouldNotBeReadAgain.
func TestRotationGoesOnThoughTheConfigurationCouldNotBeReadAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := newEnv(t)
		env.stop()
		env.hooks = &hookedStorage{Storage: env.storage}
		env.start()
		env.write("config", engineConfig(map[string]any{"drift_check_period": 0}))
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "1m", fieldRotationPeriod: "1h"})
		env.write("config", map[string]any{fieldDisableRotation: true})
		sleep(2 * time.Hour)
		var written atomic.Bool
		env.hooks.put.set(func(key string) error { written.Store(key == storageConfig); return nil })
		env.hooks.get.set(func(key string) error {
			if key == storageConfig && written.CompareAndSwap(true, false) {
				return context.DeadlineExceeded
			}
			return nil
		})
		_, err := env.request(logical.UpdateOperation, "config", map[string]any{fieldDisableRotation: false})
		require.Error(t, err)
		env.hooks.put.unset()
		env.hooks.get.unset()
		env.write("config", map[string]any{fieldDisableRotation: false})
		sleep(60 * time.Hour)
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID))
	})
}

// TestSlowApplicationsHoldUpNoBulkRotation.
func TestSlowApplicationsHoldUpNoBulkRotation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 100)
		sleep(time.Second)
		env.auth0.interfereWith(func(op, id string, _ func()) error {
			if op == "set" && len(id) == 3 && id[1] < '5' { // r10..r49 hang
				time.Sleep(3 * time.Minute)
				return noAnswer(op)
			}
			return nil
		})
		env.write("rotate-all", map[string]any{fieldForce: true})
		sleep(2 * time.Minute)
		assert.NotEqual(t, "initial-secret-of-r99", env.auth0.secret("r99"), "32 that hang hold up all others")
	})
}

// TestNothingIsSentAgainWhileStorageCannotBeWritten.
func TestNothingIsSentAgainWhileStorageCannotBeWritten(t *testing.T) {
	for _, source := range []string{"vault", "auth0"} {
		t.Run(source, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := driftEnv(t, map[string]any{fieldTTL: "1m", fieldSecretSource: source})
				env.auth0.grantScopes(scopeUpdateClientKeys)
				env.auth0.whenSet(func(string, string) { env.storage.Underlying().FailPut(true) })
				_, _ = env.request("update", "rotate/app", map[string]any{fieldForce: true})
				sleep(time.Hour)
				assert.Less(t, env.auth0.count("set")+env.auth0.count("rotate"), 20, "writes to Auth0 in an hour in which storage could not be written")
			})
		})
	}
}
