package auth0secrets

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/rotation"
)

func minuteRole(t *testing.T, more map[string]any) *testEnv {
	t.Helper()
	env := configuredEnv(t)
	data := map[string]any{fieldClientID: testAppID, fieldTTL: 60}
	for field, value := range more {
		data[field] = value
	}
	env.write("roles/app", data)
	return env
}

func TestRotateStagesAndSaysWhenItTakesEffect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		now := time.Now()
		resp := env.write("rotate/app", nil)
		assert.Empty(t, resp.Warnings)
		assert.Equal(t, map[string]any{
			fieldPhase: "staged", fieldVersion: 1, fieldFailures: 0, fieldStagedAt: inRFC3339(now),
			fieldReadyAt: inRFC3339(now.Add(time.Minute + rotation.HandOutMargin)), fieldNextVaultRotation: inRFC3339(now.Add(time.Minute + rotation.HandOutMargin)),
			fieldLastVaultRotation: inRFC3339(now),
		}, resp.Data)
		sleep(10 * time.Second)
		assert.Equal(t, resp.Data, env.write("rotate/app", nil).Data, "again while staged changes nothing")
		assert.Equal(t, resp.Data, env.read("rotate/app"))
		assert.Equal(t, testAppSecret, env.auth0.secret(testAppID))

		sleep(51 * time.Second)
		data := env.read("rotate/app")
		assert.Equal(t, "propagating", data[fieldPhase])
		assert.Equal(t, 2, data[fieldVersion])
		assert.Equal(t, inRFC3339(time.Now().Add(defaultPropagationDelay)), data[fieldFallbackUntil])
		sleep(defaultPropagationDelay)
		assert.Equal(t, "steady", env.read("rotate/app")[fieldPhase])
		assert.Equal(t, 1, env.auth0.count("set"), "one write to Auth0 for a rotation")
		assert.Equal(t, 2, env.auth0.count("get"), "one read when the role was made, and one for drift when the secret was staged")
	})
}

func TestRotateForcedTakesEffectAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		resp := env.write("rotate/app", map[string]any{fieldForce: true})
		require.Len(t, resp.Warnings, 1)
		assert.Contains(t, resp.Warnings[0], "holders of older ones fail until they read again")
		assert.Equal(t, "propagating", resp.Data[fieldPhase])
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID))
		assert.Equal(t, []string{env.auth0.secret(testAppID), testAppSecret}, env.read("creds/app")[fieldClientSecrets])
	})
}

func TestRotateForcedWhileStagedActivatesTheStagedSecret(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.write("rotate/app", nil)
		next := env.read("creds/app")[fieldFallbackClientSecret]
		env.write("rotate/app", map[string]any{fieldForce: true})
		assert.Equal(t, next, env.auth0.secret(testAppID))
		sleep(time.Hour)
		assert.Equal(t, 1, env.auth0.count("set"))
	})
}

func TestRotateWhileSettlingIsStagedAfterwards(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.write("rotate/app", map[string]any{fieldForce: true})
		resp := env.write("rotate/app", nil)
		require.Len(t, resp.Warnings, 1)
		assert.Contains(t, resp.Warnings[0], "still propagating")
		assert.Equal(t, "propagating", resp.Data[fieldPhase])
		sleep(defaultPropagationDelay)
		assert.Equal(t, "staged", env.read("rotate/app")[fieldPhase])
		sleep(time.Minute + rotation.HandOutMargin)
		assert.Equal(t, 3, env.read("rotate/app")[fieldVersion])
	})
}

// TestSettlingAfterARestartSaysWhenItEnds: a process waits a whole delay itself.
func TestSettlingAfterARestartSaysWhenItEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.write("rotate/app", map[string]any{fieldForce: true})
		sleep(defaultPropagationDelay / 2)
		env.restart()
		ends := inRFC3339(time.Now().Add(defaultPropagationDelay))
		assert.Equal(t, ends, env.read("rotate/app")[fieldFallbackUntil])
		assert.Equal(t, ends, env.read("roles/app")[fieldFallbackUntil])
		resp := env.write("rotate/app", nil)
		require.Len(t, resp.Warnings, 1)
		assert.Contains(t, resp.Warnings[0], "staged at "+ends)
		sleep(defaultPropagationDelay)
		assert.Equal(t, "staged", env.read("rotate/app")[fieldPhase])
		assert.NotContains(t, env.read("rotate/app"), fieldFallbackUntil)
	})
}

func TestRotateByAuth0(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldSecretSource: "auth0"})
		resp := env.write("rotate/app", nil)
		assert.Contains(t, resp.Warnings[0], "cannot be handed out before it is set")
		assert.Equal(t, "propagating", resp.Data[fieldPhase])
		assert.Equal(t, []string{"made-by-auth0-1", testAppSecret}, env.read("creds/app")[fieldClientSecrets])
		assert.Zero(t, env.auth0.count("set"))
	})
}

func TestRotateByAuth0ThatDoesNotShowTheSecretSetsOneOfOurOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldSecretSource: "auth0"})
		env.auth0.grantScopes(scopeUpdateClientKeys)
		env.write("rotate/app", nil)
		served := env.read("creds/app")[fieldClientSecret]
		assert.Len(t, served, 64)
		assert.Equal(t, served, env.auth0.secret(testAppID))
		assert.Contains(t, env.log.String(), "does not show the secret it made")
	})
}

// TestUnclearAnswerIsNeverANo: whether the request took effect or not, the
// secret that Auth0 accepts stays in the served set, and the same secret is
// sent again.
func TestUnclearAnswerIsNeverANo(t *testing.T) {
	for name, committed := range map[string]bool{"took effect": true, "did not": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := minuteRole(t, nil)
				env.auth0.interfereWith(func(op, _ string, commit func()) error {
					if committed {
						commit()
					}
					return noAnswer(op)
				})
				env.refused(502, "no clear answer from Auth0: connection lost", logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
				served := env.read("creds/app")[fieldClientSecrets].([]string)
				require.Len(t, served, 2)
				require.Contains(t, served, env.auth0.secret(testAppID))
				data := env.read("roles/app")
				assert.Equal(t, "staged", data[fieldPhase])
				assert.Equal(t, 1, data[fieldFailures])
				assert.Contains(t, data[fieldLastError], "connection lost")
				assert.Contains(t, data, fieldRetryAt)

				env.restart()
				sleep(5 * time.Minute)
				require.Equal(t, served, env.read("creds/app")[fieldClientSecrets], "through retries and a restart")
				env.auth0.interfereWith(nil)
				sleep(time.Hour)
				assert.Equal(t, served[1], env.auth0.secret(testAppID))
				assert.Equal(t, []string{served[1]}, env.read("creds/app")[fieldClientSecrets])
				assert.NotContains(t, env.read("roles/app"), fieldLastError)
			})
		})
	}
}

func TestRefusalIsShownAndHeals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.auth0.interfereWith(func(_, _ string, _ func()) error {
			return refusal("set secret", 403, auth0.CodeInsufficientScope, "Insufficient scope, expected any of: update:client_keys")
		})
		env.refused(400, "expected any of: update:client_keys", logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
		assert.Contains(t, env.read("roles/app")[fieldLastError], "update:client_keys")
		assert.Equal(t, testAppSecret, env.read("creds/app")[fieldClientSecret])
		env.auth0.interfereWith(nil)
		sleep(2 * time.Minute)
		assert.Equal(t, 2, env.read("roles/app")[fieldVersion])
	})
}

// TestAskingAgainEndsTheWaitAfterAFailure: whoever has mended what was wrong does not
// wait for the next attempt.
func TestAskingAgainEndsTheWaitAfterAFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.write("rotate/app", nil)
		env.auth0.interfereWith(func(_, _ string, _ func()) error {
			return refusal("set secret", 403, auth0.CodeInsufficientScope, "Insufficient scope")
		})
		sleep(24 * time.Hour)
		require.Contains(t, env.read("rotate/app"), fieldRetryAt)
		env.auth0.interfereWith(nil)
		env.write("rotate/app", nil)
		assert.Equal(t, 2, env.read("rotate/app")[fieldVersion])
	})
}

// TestForcedTwiceAReaderHoldsWhatAnyServerOfAuth0Accepts, until all of them accept the
// last one; also after a restart.
func TestForcedTwiceAReaderHoldsWhatAnyServerOfAuth0Accepts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.write("rotate/app", map[string]any{fieldForce: true})
		second := env.auth0.secret(testAppID)
		sleep(defaultPropagationDelay - 10*time.Second)
		env.write("rotate/app", map[string]any{fieldForce: true})
		third := env.auth0.secret(testAppID)
		all := []string{third, second, testAppSecret}
		assert.Equal(t, all, env.read("creds/app")[fieldClientSecrets])
		env.restart()
		assert.Equal(t, all, env.read("creds/app")[fieldClientSecrets])
		sleep(defaultPropagationDelay - time.Second)
		assert.Equal(t, all, env.read("creds/app")[fieldClientSecrets])
		sleep(2 * time.Second)
		assert.Equal(t, []string{third}, env.read("creds/app")[fieldClientSecrets])
	})
}

func TestRateLimitIsWaitedOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			return &auth0.Error{Class: auth0.Limited, Op: op, Status: 429, RetryAfter: 42 * time.Second}
		})
		env.refused(429, "limits the rate", logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
		data := env.read("roles/app")
		assert.Equal(t, inRFC3339(time.Now().Add(42*time.Second)), data[fieldRetryAt])
		assert.Equal(t, 0, data[fieldFailures], "being turned away is no failure of the application")
		env.auth0.interfereWith(nil)
		sleep(41 * time.Second)
		assert.Equal(t, testAppSecret, env.auth0.secret(testAppID))
		sleep(time.Second)
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID))
	})
}

// TestRecoveryOfASecretMadeByAuth0: a lost answer is read back, or, where that
// is not allowed, superseded.
func TestRecoveryOfASecretMadeByAuth0(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldSecretSource: "auth0"})
		env.losesAnswers("rotate", always)
		env.refused(502, "no clear answer", logical.UpdateOperation, "rotate/app", nil)
		env.auth0.interfereWith(nil)
		env.restart()
		sleep(backoffMin)
		assert.Equal(t, "made-by-auth0-1", env.read("creds/app")[fieldClientSecret])
		assert.Equal(t, 1, env.auth0.count("rotate"), "read back, not made again")
	})
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldSecretSource: "auth0"})
		env.losesAnswers("rotate", always)
		env.refused(502, "no clear answer", logical.UpdateOperation, "rotate/app", nil)
		env.auth0.interfereWith(nil)
		env.auth0.grantScopes(scopeUpdateClientKeys)
		sleep(backoffMin)
		served := env.read("creds/app")[fieldClientSecret]
		assert.Equal(t, env.auth0.secret(testAppID), served)
		assert.NotEqual(t, "made-by-auth0-1", served)
	})
}

func TestStoreBeforeSend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.auth0.whenSet(func(_, secret string) {
			require.True(t, env.stored("app").Rotation.Holds(rotation.Secret(secret)), "Auth0 was sent a secret that is not stored")
		})
		env.write("rotate/app", map[string]any{fieldForce: true})
		env.auth0.whenSet(nil)
		// where it cannot be stored, it is not sent
		env.storage.FailPut(true)
		_, err := env.request(logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
		require.Error(t, err)
		env.storage.FailPut(false)
		assert.Equal(t, 1, env.auth0.count("set"))
	})
}

// TestIntentBeforeAsking: rotate-secret is never sent without its intent stored.
func TestIntentBeforeAsking(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldSecretSource: "auth0"})
		env.auth0.whenSet(func(_, _ string) {
			require.True(t, env.stored("app").Rotation.Unsettled(), "an attempt is on record")
		})
		env.write("rotate/app", nil)
		env.auth0.whenSet(nil)
		require.Equal(t, 1, env.auth0.count("rotate"))
	})
}

// TestOutcomeThatCannotBeStoredIsFoundAgain: Auth0 has the secret, storage
// fails; the set that is served has it all the same, and the rotation ends.
func TestOutcomeThatCannotBeStoredIsFoundAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.write("rotate/app", nil)
		env.auth0.whenSet(func(_, _ string) { env.storage.FailPut(true) })
		sleep(time.Minute + rotation.HandOutMargin)
		require.Equal(t, 1, env.auth0.count("set"))
		served := env.read("creds/app")[fieldClientSecrets].([]string)
		require.Contains(t, served, env.auth0.secret(testAppID))
		env.auth0.whenSet(nil)
		env.storage.FailPut(false)
		sleep(storageRetry)
		assert.Equal(t, env.auth0.secret(testAppID), env.read("creds/app")[fieldClientSecret])
		assert.Equal(t, 2, env.read("roles/app")[fieldVersion])
	})
}

// TestReadersDoNotWaitForAuth0: while a rotation hangs, everything that reads
// answers at once, and other roles rotate.
func TestReadersDoNotWaitForAuth0(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.auth0.add("other", "other-secret")
		env.write("roles/other", map[string]any{fieldClientID: "other", fieldTTL: 60})
		release := make(chan struct{})
		env.auth0.interfereWith(func(_, clientID string, _ func()) error {
			if clientID == testAppID {
				<-release
			}
			return nil
		})
		env.write("rotate/app", nil)
		env.write("rotate/other", nil)
		sleep(time.Minute + rotation.HandOutMargin)
		began := time.Now()
		assert.Len(t, env.read("creds/app")[fieldClientSecrets], 2)
		assert.Equal(t, "staged", env.read("roles/app")[fieldPhase])
		assert.Equal(t, "propagating", env.read("roles/other")[fieldPhase])
		assert.Equal(t, began, time.Now(), "nobody waited")
		close(release)
		synctest.Wait()
		assert.Equal(t, "propagating", env.read("roles/app")[fieldPhase])
	})
}

// TestSetThatCannotBeStoredIsNotServed: it would be gone with the process.
func TestSetThatCannotBeStoredIsNotServed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.storage.FailPut(true)
		for _, data := range []map[string]any{nil, {fieldForce: true}} {
			_, err := env.request(logical.UpdateOperation, "rotate/app", data)
			require.Error(t, err)
			assert.Equal(t, []string{testAppSecret}, env.read("creds/app")[fieldClientSecrets])
			assert.Equal(t, "steady", env.read("roles/app")[fieldPhase])
		}
		env.storage.FailPut(false)
		sleep(time.Hour)
		assert.Equal(t, testAppSecret, env.auth0.secret(testAppID), "a request that failed leaves nothing behind")
	})
}

// TestCallerWhoLeavesDoesNotMakeTheOutcomeUnclear: what was sent is seen through.
func TestCallerWhoLeavesDoesNotMakeTheOutcomeUnclear(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		ctx, leave := context.WithCancel(context.Background())
		env.auth0.interfereWith(func(string, string, func()) error {
			leave()
			return nil
		})
		_, err := env.b.HandleRequest(ctx, &logical.Request{
			Operation: logical.UpdateOperation, Path: "rotate/app", Storage: env.storage, Data: map[string]any{fieldForce: true},
		})
		require.NoError(t, err)
		assert.Equal(t, 2, env.read("roles/app")[fieldVersion])
	})
}
