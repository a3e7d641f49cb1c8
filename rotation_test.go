package auth0secrets

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/rotation"
)

// TestEveryLiveLeaseHoldsTheAcceptedSecret is invariant 3: with
// secret_source=vault and without force, at every instant. Holders read at
// random times, also in the middle of storage writes; ttl changes, rotations are
// asked for and due, the engine is restarted, and Auth0 loses answers.
func TestEveryLiveLeaseHoldsTheAcceptedSecret(t *testing.T) {
	t.Parallel()
	seeds := uint64(20)
	if !thorough() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { walk(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func walk(t *testing.T, random *rand.Rand) {
	env := minuteRole(t, map[string]any{fieldRotationPeriod: "20m"})
	var holders []holder
	check := func() {
		alive := holders[:0]
		for _, h := range holders {
			if time.Now().Before(h.expires) {
				alive = append(alive, h)
				require.True(t, h.holds(env.auth0.secret(testAppID)), "a live lease lacks the secret that Auth0 accepts")
			}
		}
		holders = alive
	}
	for range 400 {
		switch random.IntN(14) {
		case 0:
			_, _ = env.request(logical.UpdateOperation, "rotate/app", nil) // Auth0 may be away
		case 1:
			env.write("roles/app", map[string]any{fieldTTL: 10 + random.IntN(500)})
		case 2:
			env.restart()
		case 3:
			committed := random.IntN(2) == 0
			env.auth0.interfereWith(func(op, _ string, commit func()) error {
				if committed {
					commit()
				}
				return noAnswer(op)
			})
		case 4:
			env.auth0.interfereWith(nil)
		case 5:
			env.must(logical.DeleteOperation, "roles/app", nil)
			env.auth0.interfereWith(nil)
			env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 10 + random.IntN(500), fieldRotationPeriod: "20m"})
		default:
			holders = append(holders, env.newHolder("app"))
		}
		for range random.IntN(60) {
			sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
			check()
		}
	}
	require.Greater(t, env.auth0.count("set"), 5, "the walk has to rotate to mean anything")
}

// TestLeaseGivenOutWhileStagingIsStoredIsWaitedFor: a reader that comes between
// the moment of staging and its storage gets the old set, and is waited for.
func TestLeaseGivenOutWhileStagingIsStoredIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		slow := &slowPut{Storage: env.storage, delay: 20 * time.Second, t: t, during: func() holder { return env.newHolder("app") }}
		req := &logical.Request{Operation: logical.UpdateOperation, Path: "rotate/app", Storage: slow}
		_, err := env.b.HandleRequest(context.Background(), req)
		require.NoError(t, err)
		require.NotEmpty(t, slow.holders)
		for range 200 {
			sleep(time.Second)
			for _, h := range slow.holders {
				if time.Now().Before(h.expires) {
					require.True(t, h.holds(env.auth0.secret(testAppID)))
				}
			}
		}
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID))
	})
}

// slowPut is storage whose writes take time, with a reader at their end.
type slowPut struct {
	logical.Storage
	delay   time.Duration
	during  func() holder
	holders []holder
	t       *testing.T
}

func (s *slowPut) Put(ctx context.Context, entry *logical.StorageEntry) error {
	time.Sleep(s.delay)
	if err := s.Storage.Put(ctx, entry); err != nil {
		return err
	}
	s.holders = append(s.holders, s.during())
	return nil
}

// TestRestartNeverShortensStaging is invariant 6.
func TestRestartNeverShortensStaging(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.write("rotate/app", nil)
		sleep(50 * time.Second)
		env.stop()
		sleep(time.Hour) // an outage: nobody could read
		env.start()
		synctest.Wait()
		began := time.Now()
		assert.Equal(t, inRFC3339(began.Add(time.Minute+rotation.HandOutMargin)), env.read("roles/app")[fieldReadyAt])
		sleep(time.Minute)
		assert.Equal(t, testAppSecret, env.auth0.secret(testAppID))
		sleep(rotation.HandOutMargin)
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID))
	})
}

// TestChangeOfSettingsNeitherRestartsNorShortensStaging.
func TestChangeOfSettingsNeitherRestartsNorShortensStaging(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		ready := env.write("rotate/app", nil).Data[fieldReadyAt]
		sleep(30 * time.Second)
		for _, ttl := range []int{10, 3600} {
			env.write("roles/app", map[string]any{fieldTTL: ttl})
			assert.Equal(t, ready, env.read("roles/app")[fieldReadyAt])
		}
	})
}

// TestRestartCausesNoRotation is invariant 6.
func TestRestartCausesNoRotation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldRotationPeriod: "1h"})
		for range 20 {
			env.restart()
			sleep(2 * time.Minute)
		}
		assert.Equal(t, testAppSecret, env.read("creds/app")[fieldClientSecret])
		assert.Equal(t, "steady", env.read("roles/app")[fieldPhase])
		assert.Zero(t, env.auth0.count("set"))
	})
}

// TestPeriodIsKept: rotations take effect on time, staged ahead of it.
func TestPeriodIsKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldRotationPeriod: "1h"})
		began := time.Now()
		var took []time.Duration
		env.auth0.whenSet(func(_, _ string) { took = append(took, time.Since(began)) })
		assert.Equal(t, inRFC3339(began.Add(time.Hour)), env.read("roles/app")[fieldNextVaultRotation])
		sleep(time.Hour - time.Minute - rotation.HandOutMargin - time.Second)
		assert.Equal(t, "steady", env.read("roles/app")[fieldPhase])
		sleep(time.Second)
		assert.Equal(t, "staged", env.read("roles/app")[fieldPhase])
		sleep(9*time.Hour + 2*time.Minute)
		env.auth0.whenSet(nil)
		require.Len(t, took, 10)
		for i, after := range took {
			assert.Equal(t, time.Duration(i+1)*time.Hour, after)
		}
	})
}

// TestShorterPeriodTakesEffectAtOnce, and a longer one holds off.
func TestPeriodChangeTakesEffectAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldRotationPeriod: "10h"})
		sleep(time.Hour)
		env.write("roles/app", map[string]any{fieldRotationPeriod: "2h"})
		sleep(time.Hour)
		assert.Equal(t, 1, env.auth0.count("set"))
		env.write("roles/app", map[string]any{fieldRotationPeriod: "100h"})
		sleep(99 * time.Hour)
		assert.Equal(t, 1, env.auth0.count("set"))
	})
}

// TestHangingApplicationsHoldUpNoOther: as many as can be at work at a time.
func TestHangingApplicationsHoldUpNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		for i := range 64 / 2 {
			id := fmt.Sprint("hanging", i)
			env.auth0.add(id, "secret-of-"+id)
			env.write("roles/"+id, map[string]any{fieldClientID: id, fieldTTL: 30})
			env.write("rotate/"+id, nil)
		}
		release := make(chan struct{})
		env.auth0.interfereWith(func(_, clientID string, _ func()) error {
			if clientID != testAppID {
				<-release
			}
			return nil
		})
		env.write("rotate/app", nil)
		sleep(time.Minute + rotation.HandOutMargin)
		assert.Equal(t, 2, env.read("roles/app")[fieldVersion])
		close(release)
		synctest.Wait()
		assert.Equal(t, 2, env.read("roles/hanging0")[fieldVersion])
	})
}

// TestWhereStorageCannotBeWrittenNothingRotates is invariant 9.
func TestWhereStorageCannotBeWrittenNothingRotates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldRotationPeriod: "1h"})
		env.stop()
		for _, state := range []consts.ReplicationState{
			consts.ReplicationPerformanceStandby, consts.ReplicationPerformanceSecondary, consts.ReplicationDRSecondary,
		} {
			env.system.ReplicationStateVal = state
			env.start()
			sleep(5 * time.Hour)
			require.NoError(t, env.b.PeriodicFunc(context.Background(), &logical.Request{Storage: env.storage}))
			sleep(time.Hour)
			assert.Zero(t, env.auth0.count("set"))
			assert.Equal(t, testEngineID, env.read("config")[fieldClientID], "reading works all the same")
			if state == consts.ReplicationPerformanceStandby { // Vault sends these to the active node
				for _, path := range []string{"creds/app", "static-creds/app", "roles/app", "rotate/app", "rotate-all", "status"} {
					_, err := env.request(logical.ReadOperation, path, nil)
					require.ErrorIs(t, err, logical.ErrReadOnly, path)
				}
			} else {
				assert.Equal(t, "steady", env.read("roles/app")[fieldPhase])
				assert.Equal(t, testAppSecret, env.read("creds/app")[fieldClientSecret])
			}
			for _, path := range []string{"rotate/app", "roles/app", "config"} {
				if state != consts.ReplicationDRSecondary { // Vault routes no requests there
					_, err := env.request(logical.UpdateOperation, path, nil)
					require.ErrorIs(t, err, logical.ErrReadOnly, path)
				}
			}
			env.stop()
		}
		env.system.ReplicationStateVal = 0
		env.start()
	})
}

// TestPeriodicHeals: a scheduler that could not start is started by the next tick.
func TestPeriodicHeals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldRotationPeriod: "1h"})
		env.stop()
		env.system.ReplicationStateVal = consts.ReplicationPerformanceSecondary
		env.start()
		env.system.ReplicationStateVal = 0
		sleep(3 * time.Hour)
		require.Zero(t, env.auth0.count("set"))
		env.system.TaintedVal = true
		require.NoError(t, env.b.PeriodicFunc(context.Background(), &logical.Request{Storage: env.storage}))
		sleep(time.Hour)
		require.Zero(t, env.auth0.count("set"), "not while the mount is taken away")
		env.system.TaintedVal = false
		require.NoError(t, env.b.PeriodicFunc(context.Background(), &logical.Request{Storage: env.storage}))
		sleep(time.Hour)
		assert.Equal(t, 1, env.auth0.count("set"))
	})
}

// TestUnreadableStorageIsTriedAgain: a failure that cannot even be stored.
func TestUnreadableStorageIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldRotationPeriod: "1h"})
		env.stop()
		env.storage.FailList(true)
		env.storage.FailGet(true)
		env.start()
		sleep(time.Minute)
		env.storage.FailList(false)
		sleep(time.Minute)
		env.storage.FailGet(false)
		sleep(time.Hour)
		assert.Equal(t, 1, env.auth0.count("set"))
	})
}

// TestFailureThatCannotBeStoredIsNotRetriedInALoop: Auth0 must not be flooded
// while storage is broken.
func TestFailureThatCannotBeStoredIsNotRetriedInALoop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if env.auth0.count("set") > 1000 {
				time.Sleep(time.Hour) // a loop without a pause would never end in a bubble
			}
			return noAnswer(op)
		})
		_, err := env.request(logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
		require.Error(t, err)
		env.storage.FailPut(true)
		sleep(time.Hour)
		assert.LessOrEqual(t, env.auth0.count("set"), 1+int(time.Hour/storageRetry))
		env.storage.FailPut(false)
	})
}

func TestEntryOfANewerFormatIsRefusedNotGuessed(t *testing.T) {
	env := configuredEnv(t)
	entry, err := logical.StorageEntryJSON(storageRoles+"app", map[string]any{"format": keysFormat + 1, "client_id": testAppID})
	require.NoError(t, err)
	require.NoError(t, env.storage.Put(t.Context(), entry))
	_, err = env.request(logical.ReadOperation, "creds/app", nil)
	require.ErrorContains(t, err, "written by a newer version of this plugin")
	require.NoError(t, env.storage.Put(t.Context(), &logical.StorageEntry{Key: storageRoles + "app", Value: []byte(`{"client_id": "` + testAppSecret)}))
	_, err = env.request(logical.ReadOperation, "creds/app", nil)
	require.ErrorContains(t, err, `the stored entry "role/app" cannot be read`)
}

func TestLocksOfOneKeyExcludeAndOfOthersDoNot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		locks := newKeyedLocks()
		release, err := locks.lock(context.Background(), "a")
		require.NoError(t, err)
		other, err := locks.lock(context.Background(), "b")
		require.NoError(t, err)
		other()
		patience, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err = locks.lock(patience, "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		release()
		release, err = locks.lock(context.Background(), "a")
		require.NoError(t, err)
		release()
		assert.Empty(t, locks.locks, "nobody wants them: nothing is kept")
	})
}
