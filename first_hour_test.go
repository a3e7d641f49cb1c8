package auth0secrets

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// What somebody meets in the first hour with the engine: each answer says what is so
// and what to do.

func TestACertificateThatIsNotTrustedIsAnsweredWithWhatToDo(t *testing.T) {
	for _, reason := range []string{auth0.ReasonUnknownCA, auth0.ReasonCertificate, auth0.ReasonExpired} {
		env := newEnv(t)
		env.auth0.grant = &auth0.Error{Op: auth0.OpToken, Class: auth0.Refused, Message: reason}
		env.refused(400, "ca_cert=@ca.pem", logical.UpdateOperation, "config", engineConfig(nil))
		env.auth0.grant = &auth0.Error{Op: auth0.OpToken, Class: auth0.Refused, Message: auth0.ReasonNoHost}
		_, err := env.request(logical.UpdateOperation, "config", engineConfig(nil))
		requireCoded(t, err, 400, auth0.ReasonNoHost)
		assert.NotContains(t, err.Error(), fieldCACert)
	}
}

func TestAPathInPlaceOfACertificateIsToldSo(t *testing.T) {
	env := newEnv(t)
	for _, path := range []string{"/etc/ssl/ca.pem", "ca.pem", "./ca", "ca.crt", `C:\ca.cer`} {
		env.refused(400, "that is a path: write ca_cert=@"+path, logical.UpdateOperation, "config", engineConfig(map[string]any{fieldCACert: path}))
	}
	for _, no := range []string{"certificate", strings.Repeat("MIIB/", 100), "-----BEGIN CERTIFICATE-----\n/\n-----END CERTIFICATE-----"} {
		env.refused(400, "ca_cert holds no PEM certificate", logical.UpdateOperation, "config", engineConfig(map[string]any{fieldCACert: no}))
	}
}

func TestASecondOrderWhileStagedSaysThatOneIsUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		first := env.write("rotate/app", nil)
		assert.Empty(t, first.Warnings)
		sleep(10 * time.Second)
		second := env.write("rotate/app", nil)
		require.Len(t, second.Warnings, 1)
		assert.Contains(t, second.Warnings[0], "a rotation is under way since "+first.Data[fieldStagedAt].(string)+", and no other was begun")
		forced := env.write("rotate/app", map[string]any{fieldForce: true})
		require.Len(t, forced.Warnings, 1)
		assert.Contains(t, forced.Warnings[0], "without waiting for leases")
	})
}

// TestOneTimeIsToldOfWhenARotationTakesEffect, before it is staged and after, and it
// is right.
func TestOneTimeIsToldOfWhenARotationTakesEffect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldRotationPeriod: "10m"})
		planned := env.read("roles/app")[fieldNextVaultRotation]
		sleep(9 * time.Minute)
		staged := env.read("rotate/app")
		assert.Equal(t, "staged", staged[fieldPhase])
		assert.Equal(t, planned, staged[fieldNextVaultRotation])
		assert.Equal(t, planned, staged[fieldReadyAt])
		sleep(time.Minute)
		assert.Equal(t, planned, env.read("rotate/app")[fieldLastVaultRotation])
	})
}

// TestWhatIsSaidOfTheNextStagingHappens: of a rotation that is asked for while the last
// one propagates, and whichever way the next secret is made.
func TestWhatIsSaidOfTheNextStagingHappens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldRotationPeriod: "10m"})
		env.write("rotate/app", map[string]any{fieldForce: true})
		sleep(10 * time.Second)
		resp := env.write("rotate/app", nil)
		staging := inRFC3339(time.Now().Add(defaultPropagationDelay - 10*time.Second))
		require.Len(t, resp.Warnings, 1)
		assert.Contains(t, resp.Warnings[0], "the next secret is staged at "+staging)
		sleep(defaultPropagationDelay - 10*time.Second)
		data := env.read("rotate/app")
		assert.Equal(t, staging, data[fieldStagedAt])
		assert.Equal(t, resp.Data[fieldNextVaultRotation], data[fieldReadyAt])
	})
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldSecretSource: "auth0"})
		env.write("rotate/app", nil)
		sleep(10 * time.Second)
		resp := env.write("rotate/app", nil)
		set := inRFC3339(time.Now().Add(defaultPropagationDelay - 10*time.Second))
		assert.Contains(t, strings.Join(resp.Warnings, "\n"), "the next secret is set at "+set)
		sleep(defaultPropagationDelay - 10*time.Second)
		assert.Equal(t, set, env.read("rotate/app")[fieldLastVaultRotation])
	})
}

// TestARoleWithoutAScheduleHasTheSamePeriodEverywhere, but in static-creds/: the Vault
// Secrets Operator takes credentials with the period 0 for such as never change.
func TestARoleWithoutAScheduleHasTheSamePeriodEverywhere(t *testing.T) {
	env := minuteRole(t, nil)
	assert.Equal(t, int64(0), env.read("roles/app")[fieldRotationPeriod])
	assert.Equal(t, int64(0), env.read("creds/app")[fieldRotationPeriod])
	assert.Equal(t, int64(60), env.read("static-creds/app")[fieldRotationPeriod])
	env.write("roles/app", map[string]any{fieldRotationPeriod: "1h"})
	for _, path := range []string{"roles/app", "creds/app", "static-creds/app"} {
		assert.Equal(t, int64(3600), env.read(path)[fieldRotationPeriod], path)
	}
}

func TestARaisedMaximumOfTheMountCountsAtOnce(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "2h"})
	env.system.MaxLeaseTTLVal = time.Hour
	require.NoError(t, env.b.PeriodicFunc(t.Context(), &logical.Request{Storage: env.storage}))
	lease := func() time.Duration { return env.must(logical.ReadOperation, "creds/app", nil).Secret.TTL }
	require.Equal(t, time.Hour, lease())
	env.system.MaxLeaseTTLVal = 24 * time.Hour
	assert.Equal(t, 2*time.Hour, lease())
}

// TestAMaximumThatVaultDoesNotTellIsNone: the SDK's client of the system view answers 0 for an
// error. A lease that the mount caps must not become one of a second by that.
func TestAMaximumThatVaultDoesNotTellIsNone(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "2h"})
	env.system.MaxLeaseTTLVal = time.Hour
	require.NoError(t, env.b.PeriodicFunc(t.Context(), &logical.Request{Storage: env.storage}))
	env.system.MaxLeaseTTLVal = 0
	assert.Equal(t, time.Hour, env.must(logical.ReadOperation, "creds/app", nil).Secret.TTL)
}

func TestABadNameIsCalledThat(t *testing.T) {
	env := configuredEnv(t)
	for _, path := range []string{"roles/my shop", "roles/-shop", "roles/shop.", "roles/a/b", "token-roles/a:b", "rotate/a b", "creds/sh op", "static-creds/é", "tokens/+"} {
		_, name, _ := strings.Cut(path, "/")
		for _, operation := range []logical.Operation{logical.ReadOperation, logical.UpdateOperation, logical.DeleteOperation} {
			env.refused(400, `"`+name+`" is not a name`, operation, path, nil)
		}
	}
	for _, path := range []string{"role/shop", "nothing", "config/shop", "status/shop"} {
		_, err := env.request(logical.ReadOperation, path, nil)
		assert.ErrorIs(t, err, logical.ErrUnsupportedPath, path)
	}
}

// TestAListBelowAValidNameIsNoBadName: Vault adds the slash that a list ends in, and tools
// that walk a mount take 404 for nothing there.
func TestAListBelowAValidNameIsNoBadName(t *testing.T) {
	env := configuredEnv(t)
	for _, path := range []string{"roles/shop/", "creds/shop/", "rotate/shop/", "token-roles/shop/"} {
		_, err := env.request(logical.ListOperation, path, nil)
		assert.ErrorIs(t, err, logical.ErrUnsupportedPath, path)
	}
	for _, path := range []string{"roles/a/b", "roles/my shop/"} {
		env.refused(400, "is not a name", logical.ListOperation, path, nil)
	}
}

func TestStatusSaysWhetherTheMountIsConfigured(t *testing.T) {
	env := newEnv(t)
	assert.Equal(t, false, env.read("status")[fieldConfigured])
	env.write("config", engineConfig(nil))
	assert.Equal(t, true, env.read("status")[fieldConfigured])
	env.restart()
	assert.Equal(t, true, env.read("status")[fieldConfigured])
	env.must(logical.DeleteOperation, "config", nil)
	assert.Equal(t, false, env.read("status")[fieldConfigured])
}

func TestStatusCountsPausedRoles(t *testing.T) {
	env := minuteRole(t, map[string]any{fieldDisableRotation: true})
	env.auth0.add("other", "other-secret")
	env.write("roles/other", map[string]any{fieldClientID: "other"})
	assert.Equal(t, 1, env.read("status")[fieldPaused])
	env.write("config", map[string]any{fieldDisableRotation: true})
	assert.Equal(t, 2, env.read("status")[fieldPaused])
	env.write("config", map[string]any{fieldDisableRotation: false})
	env.write("roles/app", map[string]any{fieldDisableRotation: false})
	assert.Equal(t, 0, env.read("status")[fieldPaused])
}

// TestAScheduleThatIsCloserThanARotationTakesIsWarnedOf: each rotation waits for the
// propagation of the last one, and then for leases.
func TestAScheduleThatIsCloserThanARotationTakesIsWarnedOf(t *testing.T) {
	env := configuredEnv(t)
	env.write("config", map[string]any{fieldPropagationDelay: "10m"})
	tooClose := "rotations take effect later than the schedule says"
	role := map[string]any{fieldClientID: testAppID, fieldTTL: "5m", fieldRotationPeriod: "15m"}
	assert.Contains(t, strings.Join(env.write("roles/app", role).Warnings, "\n"), tooClose)
	assert.Nil(t, env.write("roles/app", map[string]any{fieldRotationPeriod: "15m1s"}), "ttl, propagation_delay and a second for the way of an answer")
	scheduled := env.write("roles/app", map[string]any{fieldRotationPeriod: 0, fieldRotationSchedule: "*/15 * * * *"})
	assert.Contains(t, strings.Join(scheduled.Warnings, "\n"), tooClose)
	assert.Nil(t, env.write("roles/app", map[string]any{fieldDisableRotation: true}), "it was said when the schedule was sent")
	assert.Nil(t, env.write("roles/app", map[string]any{fieldSecretSource: "auth0"}), "no lease is waited for")
	assert.Nil(t, env.write("roles/app", map[string]any{fieldSecretSource: "vault", fieldRotationSchedule: ""}))
}

func TestNoTimeForPropagationIsWarnedOf(t *testing.T) {
	env := configuredEnv(t)
	resp := env.write("config", map[string]any{fieldPropagationDelay: 0})
	require.NotNil(t, resp)
	require.Len(t, resp.Warnings, 1)
	assert.Contains(t, resp.Warnings[0], "the previous secret is not served at all")
	assert.Nil(t, env.write("config", map[string]any{fieldDisableRotation: true}), "it was said when it was sent")
	assert.Nil(t, env.write("config", map[string]any{fieldPropagationDelay: 1}))
}

// TestARaisedPropagationDelaySaysHowManyRolesItIsTooLongFor.
func TestARaisedPropagationDelaySaysHowManyRolesItIsTooLongFor(t *testing.T) {
	env := configuredEnv(t)
	plans := []map[string]any{
		{fieldRotationPeriod: "15m"}, {fieldRotationPeriod: "15m2s"}, {}, {fieldRotationSchedule: "*/15 * * * *"},
		{fieldRotationSchedule: "*/15 * * * *", fieldSecretSource: "auth0"},
	}
	for i, plan := range plans {
		id := fmt.Sprint("r", i)
		env.auth0.add(id, "initial-secret-of-"+id)
		env.write("roles/"+id, merged(map[string]any{fieldClientID: id, fieldTTL: "5m"}, plan))
	}
	resp := env.write("config", map[string]any{fieldPropagationDelay: "10m"})
	require.NotNil(t, resp)
	require.Len(t, resp.Warnings, 1)
	assert.Contains(t, resp.Warnings[0], "rotations of roles (2) take effect later than their schedules say")
	assert.Nil(t, env.write("config", map[string]any{fieldPropagationDelay: "10m"}), "it is no longer than before")
	assert.Nil(t, env.write("config", map[string]any{fieldPropagationDelay: "9m"}))
}

// TestARotationThatFailedSaysWhatHappensNext, whichever way it failed.
func TestARotationThatFailedSaysWhatHappensNext(t *testing.T) {
	for name, c := range map[string]struct {
		source, op, readers string
		status              int
		err                 error
	}{
		"no clear answer":            {"vault", "set", "Readers get both secrets until then. ", 502, noAnswer("set")},
		"the rate limit":             {"vault", "set", "Readers get both secrets until then. ", 429, limited("set")},
		"no clear answer of Auth0's": {"auth0", "rotate", "", 502, noAnswer("rotate")},
		"refused to Auth0's":         {"auth0", "rotate", "", 400, refusal("rotate", 403, auth0.CodeInsufficientScope, "no")},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := minuteRole(t, map[string]any{fieldSecretSource: c.source})
				env.failing(c.op, c.err)
				_, err := env.request(logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
				retried := env.read("roles/app")[fieldRetryAt].(string)
				requireCoded(t, err, c.status, "It is tried again by itself at "+retried+" (retry_at). "+c.readers+"See roles/app")
				secrets := env.read("static-creds/app")[fieldClientSecrets]
				assert.Equal(t, c.readers != "", len(secrets.([]string)) == 2)
				env.auth0.interfereWith(nil)
				sleep(time.Hour)
				assert.Equal(t, env.auth0.secret(testAppID), env.read("creds/app")[fieldClientSecret])
				assert.Equal(t, 2, env.read("roles/app")[fieldVersion])
			})
		})
	}
}
