package auth0secrets

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// manyRoles is an engine with roles r0, r1, ... of a minute's ttl.
func manyRoles(t *testing.T, n int) *testEnv {
	t.Helper()
	env := configuredEnv(t)
	for i := range n {
		id := fmt.Sprint("r", i)
		env.auth0.add(id, "initial-secret-of-"+id)
		env.write("roles/"+id, map[string]any{fieldClientID: id, fieldTTL: 60})
	}
	return env
}

func TestRotateAllStagedReturnsAtOnceAndFinishes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 20)
		never := env.must(logical.ReadOperation, "rotate-all", nil)
		assert.Equal(t, 0, never.Data[fieldDone])
		assert.NotContains(t, never.Data, fieldStartedAt)
		assert.Contains(t, never.Warnings[0], "never asked for")

		began := time.Now()
		progress := env.write("rotate-all", nil).Data
		assert.Equal(t, began, time.Now())
		assert.Equal(t, 20, progress[fieldTotal])
		assert.Equal(t, 0, progress[fieldDone])
		synctest.Wait()
		progress = env.read("rotate-all")
		assert.Equal(t, 20, progress[fieldWaiting])
		assert.Equal(t, int64(61), progress[fieldSecondsLeft])
		assert.Zero(t, env.auth0.count("set"), "staged: no lease is cut short")
		sleep(2 * time.Minute)
		progress = env.read("rotate-all")
		assert.Equal(t, 20, progress[fieldDone])
		assert.Equal(t, int64(0), progress[fieldSecondsLeft])
		assert.Contains(t, progress, fieldFinishedAt)
		assert.Equal(t, 20, env.auth0.count("set"))
		sleep(time.Hour)
		assert.Equal(t, 20, env.auth0.count("set"), "once each")
		env.must(logical.DeleteOperation, "roles/r0", nil)
		assert.Equal(t, 20, env.read("rotate-all")[fieldDone], "what came of an order stays as it was")
	})
}

// TestTheTimeLeftIsNotThatOfSchedules: the answer to the order says it before the roles
// are asked.
func TestTheTimeLeftIsNotThatOfSchedules(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 4)
		for i := range 4 {
			env.write(fmt.Sprint("roles/r", i), map[string]any{fieldRotationPeriod: "720h"})
		}
		staged := env.write("rotate-all", nil).Data[fieldSecondsLeft]
		synctest.Wait()
		assert.Equal(t, env.read("rotate-all")[fieldSecondsLeft], staged)
		env.auth0.interfereWith(func(string, string, func()) error {
			time.Sleep(time.Second) // or some may be done before they are counted
			return nil
		})
		assert.Equal(t, int64(2), env.write("rotate-all", map[string]any{fieldForce: true}).Data[fieldSecondsLeft], "four rotations, two in a second")
	})
}

// TestRotateAllCanBeOrderedAgainAtOnce: an order whose roles are all done is over,
// even if the pass that finishes it has not come by yet.
func TestRotateAllCanBeOrderedAgainAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 5)
		for order := 1; order <= 3; order++ {
			env.write("rotate-all", map[string]any{fieldForce: true})
			synctest.Wait()
			assert.Equal(t, 5*order, env.auth0.count("set"))
			assert.Equal(t, 5, env.read("rotate-all")[fieldDone])
		}
		sleep(time.Second)
		assert.Contains(t, env.read("rotate-all"), fieldFinishedAt)
		sleep(time.Minute) // until they have settled
		staged := env.write("rotate-all", nil)
		assert.Empty(t, staged.Warnings)
		sleep(61 * time.Second) // between the rotation and the look whether all are done
		assert.Equal(t, 20, env.auth0.count("set"))
		require.NotContains(t, env.read("rotate-all"), fieldFinishedAt)
		again := env.write("rotate-all", nil)
		assert.NotEqual(t, staged.Data[fieldStartedAt], again.Data[fieldStartedAt])
		assert.Empty(t, again.Warnings)
		sleep(time.Second)
		again = env.write("rotate-all", nil)
		assert.Contains(t, again.Warnings[0], "still under way")
	})
}

func TestRotateAllForcedSurvivesARestartAndFailures(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 20)
		env.auth0.interfereWith(func(op, clientID string, _ func()) error {
			switch clientID {
			case "r3":
				return refusal("set secret", 403, auth0.CodeInsufficientScope, "Insufficient scope")
			case "r4":
				return noAnswer(op)
			}
			time.Sleep(time.Second)
			return nil
		})
		resp := env.write("rotate-all", map[string]any{fieldForce: true})
		require.Len(t, resp.Warnings, 1)
		sleep(1500 * time.Millisecond)
		env.restart()
		sleep(30 * time.Second)
		progress := env.read("rotate-all")
		assert.Equal(t, 18, progress[fieldDone])
		assert.Equal(t, 2, progress[fieldFailed])
		assert.Contains(t, progress[fieldFailedRoles], "r3")
		env.auth0.interfereWith(nil)
		sleep(2 * time.Hour)
		progress = env.read("rotate-all")
		assert.Equal(t, 20, progress[fieldDone])
		assert.Contains(t, progress, fieldFinishedAt)
		for i := range 20 {
			assert.Equal(t, env.auth0.secret(fmt.Sprint("r", i)), env.read(fmt.Sprint("creds/r", i))[fieldClientSecret])
		}
	})
}

// TestRotateAllReplacesWhatWasStagedBefore: after a breach a secret that was
// handed out before the order is no good either.
func TestRotateAllReplacesWhatWasStagedBefore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 2)
		env.write("rotate/r0", nil)
		known := env.read("creds/r0")[fieldClientSecrets].([]string)
		require.Len(t, known, 2)
		sleep(time.Second)
		env.write("rotate-all", map[string]any{fieldForce: true})
		sleep(3 * time.Minute)
		assert.NotContains(t, known, env.auth0.secret("r0"))
		assert.Contains(t, env.read("rotate-all"), fieldFinishedAt)
		assert.Equal(t, 3, env.auth0.count("set"))
	})
}

func TestRotateAllAgainChangesNothingButForce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 5)
		first := env.write("rotate-all", nil).Data
		sleep(10 * time.Second)
		assert.Equal(t, first[fieldStartedAt], env.write("rotate-all", nil).Data[fieldStartedAt])
		assert.Zero(t, env.auth0.count("set"))
		env.write("rotate-all", map[string]any{fieldForce: true})
		synctest.Wait()
		assert.Equal(t, 5, env.auth0.count("set"))
		assert.Equal(t, true, env.read("rotate-all")[fieldForce])
	})
}

func TestRotateAllNeedsAConfiguration(t *testing.T) {
	env := newEnv(t)
	env.refused(400, "not configured yet", logical.UpdateOperation, "rotate-all", nil)
	assert.Equal(t, 0, env.read("rotate-all")[fieldTotal])
}

// TestARoleThatFailsDoesNotKeepTheOthersFromTheNextOrder: there may be another
// breach before somebody has taken away the role of a deleted application.
func TestARoleThatFailsDoesNotKeepTheOthersFromTheNextOrder(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 2)
		env.auth0.interfereWith(func(_, clientID string, _ func()) error {
			if clientID == "r1" {
				return refusal("set secret", 404, auth0.CodeUnknownApplication, "The client does not exist")
			}
			return nil
		})
		env.write("rotate-all", map[string]any{fieldForce: true})
		sleep(7 * 24 * time.Hour)
		leaked := env.auth0.secret("r0")
		env.write("rotate-all", map[string]any{fieldForce: true})
		sleep(time.Second)
		assert.NotEqual(t, leaked, env.auth0.secret("r0"))
		assert.Equal(t, 1, env.read("rotate-all")[fieldFailed])
	})
}

// TestAForcedOrderIsForcedAgain: Auth0 had refused it, and what was wrong is
// mended. No lease is waited for now as little as then.
func TestAForcedOrderIsForcedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 3)
		env.auth0.interfereWith(func(string, string, func()) error {
			return refusal("set secret", 403, auth0.CodeInsufficientScope, "Insufficient scope")
		})
		env.write("rotate-all", map[string]any{fieldForce: true})
		sleep(time.Second)
		assert.Equal(t, 3, env.read("rotate-all")[fieldFailed])
		env.auth0.interfereWith(nil)
		env.write("rotate-all", map[string]any{fieldForce: true})
		sleep(time.Second)
		for i := range 3 {
			assert.NotEqual(t, fmt.Sprint("initial-secret-of-r", i), env.auth0.secret(fmt.Sprint("r", i)))
		}
	})
}

// TestTheTimeLeftIsNotZeroWhileSomethingIsToDo.
func TestTheTimeLeftIsNotZeroWhileSomethingIsToDo(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 200)
		env.write("rotate-all", nil)
		sleep(30 * time.Second)
		env.auth0.interfereWith(func(string, string, func()) error { time.Sleep(20 * time.Second); return nil })
		sleep(33 * time.Second)
		progress := env.read("rotate-all")
		assert.Equal(t, 200, progress[fieldWaiting])
		assert.Equal(t, int64(100), progress[fieldSecondsLeft], "at the lowest rate that Auth0 has")
	})
}

// TestTwoOrdersAtOnceAreOne: both found the one before over, though roles fail.
func TestTwoOrdersAtOnceAreOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyRoles(t, 1)
		env.auth0.interfereWith(func(string, string, func()) error {
			return refusal("set secret", 404, auth0.CodeUnknownApplication, "The client does not exist")
		})
		env.write("rotate-all", map[string]any{fieldForce: true})
		sleep(time.Second)
		over, err := env.b.bulkThatIsOver(t.Context(), env.storage)
		require.NoError(t, err)
		require.NotZero(t, over)
		first, change, err := env.b.storeBulk(t.Context(), env.storage, false, over)
		require.NoError(t, err)
		assert.Equal(t, bulkBegun, change)
		second, change, err := env.b.storeBulk(t.Context(), env.storage, false, over)
		require.NoError(t, err)
		assert.Equal(t, bulkGoesOn, change)
		assert.Equal(t, first.Number, second.Number)
	})
}

// TestABulkRotationThatIsOnlyOnRecord: what a bulk rotation has put on record, without the driver, survives
// a restart, is called off, and is forced on top; also where an attempt is unclear.
func TestABulkRotationThatIsOnlyOnRecord(t *testing.T) {
	for _, source := range []string{"vault", "auth0"} {
		for _, unclear := range []bool{false, true} {
			for _, propagating := range []bool{false, true} {
				for _, then := range []string{"restart", "force", "calloff", "delete"} {
					t.Run(source+then, func(t *testing.T) {
						bubble(t, func(t *testing.T) {
							env := configuredEnv(t)
							env.write("config", map[string]any{fieldDriftCheckPeriod: 0})
							env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldSecretSource: source})
							sleep(time.Minute)
							if propagating {
								env.write("rotate/app", map[string]any{fieldForce: true})
								sleep(time.Second)
							}
							if unclear {
								env.auth0.interfereWith(func(op, _ string, commit func()) error {
									if op == "set" || op == "rotate" {
										commit()
										return noAnswer(op)
									}
									return nil
								})
								_, _ = env.request(logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
							}
							version := env.read("roles/app")[fieldVersion].(int)
							env.write("rotate-all", nil)
							if then == "restart" {
								env.restart()
							}
							sleep(time.Millisecond)
							env.auth0.interfereWith(nil)
							switch then {
							case "force":
								env.write("rotate-all", map[string]any{fieldForce: true})
							case "calloff":
								env.must(logical.DeleteOperation, "rotate-all", nil)
							case "delete":
								env.must(logical.DeleteOperation, "roles/app", nil)
							}
							sleep(3 * time.Hour)
							data := env.read("rotate-all")
							switch then {
							case "delete":
								assert.Contains(t, data, fieldFinishedAt)
								return
							case "calloff":
								if data[fieldFinishedAt] == nil { // where nothing is waited for it may be done first
									assert.Contains(t, data, fieldCalledOffAt)
								}
							default:
								assert.Contains(t, data, fieldFinishedAt)
								assert.Greater(t, env.read("roles/app")[fieldVersion], version)
							}
							role := env.read("roles/app")
							require.Equal(t, "steady", role[fieldPhase])
							assert.Equal(t, 0, role[fieldFailures], role)
							assert.Equal(t, env.auth0.secret(testAppID), env.read("creds/app")[fieldClientSecret])
							status := env.read("status")
							assert.Equal(t, 0, status[fieldOverdue])
							assert.Empty(t, status[fieldFailing])
						})
					})
				}
			}
		}
	}
}
