package auth0secrets

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

func TestScheduledRoleEndToEnd(t *testing.T) {
	bubble(t, func(t *testing.T) { // the bubble's clock starts at midnight UTC, 2000-01-01
		env := minuteRole(t, map[string]any{fieldRotationSchedule: "0 3 * * *", fieldRotationWindow: "1h"})
		role := env.read("roles/app")
		assert.Equal(t, "2000-01-01T03:00:00Z", role[fieldNextVaultRotation])
		assert.Equal(t, "0 3 * * *", role[fieldRotationSchedule])
		assert.Equal(t, int64(3600), role[fieldRotationWindow])
		assert.Equal(t, int64(0), role[fieldRotationPeriod])
		creds := env.read("static-creds/app")
		assert.NotContains(t, creds, fieldRotationSchedule)
		assert.Equal(t, "0 3 * * *", env.read("creds/app")[fieldRotationSchedule])
		assert.Equal(t, int64(3*3600), creds[fieldRotationPeriod], "the present interval")
		sleep(3*time.Hour - time.Second)
		assert.Equal(t, "staged", env.read("roles/app")[fieldPhase])
		sleep(time.Second)
		assert.Equal(t, "propagating", env.read("roles/app")[fieldPhase])
		assert.Equal(t, "2000-01-01T03:00:00Z", env.read("static-creds/app")[fieldLastVaultRotation])
		sleep(24 * time.Hour)
		assert.Equal(t, 2, env.auth0.count("set"))
		assert.Equal(t, int64(24*3600), env.read("static-creds/app")[fieldRotationPeriod])
	})
}

// TestNewScheduleNeverMakesARotationDue, however long ago the last one was.
func TestNewScheduleNeverMakesARotationDue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		sleep(100 * time.Hour) // it is four in the morning
		env.write("roles/app", map[string]any{fieldRotationSchedule: "0 3 * * *"})
		assert.Equal(t, "2000-01-06T03:00:00Z", env.read("roles/app")[fieldNextVaultRotation])
		sleep(22 * time.Hour)
		env.write("roles/app", map[string]any{fieldRotationSchedule: "0 2 * * *", fieldTTL: 30})
		env.restart()
		sleep(23 * time.Hour)
		assert.Zero(t, env.auth0.count("set"))
		sleep(time.Hour)
		assert.Equal(t, 1, env.auth0.count("set"))
	})
}

func TestScheduleIsJudgedOnWhatIsStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		write := func(text string, data map[string]any) {
			t.Helper()
			env.refused(400, text, logical.UpdateOperation, "roles/app", data)
		}
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldRotationPeriod: "1h"})
		write("exclude each other", map[string]any{fieldRotationSchedule: "0 3 * * *"})
		write("is only for use with rotation_schedule", map[string]any{fieldRotationWindow: "1h"})
		write("is no cron expression", map[string]any{fieldRotationPeriod: 0, fieldRotationSchedule: "daily"})
		write("is no cron expression", map[string]any{fieldRotationPeriod: 0, fieldRotationSchedule: "0 0 3 * * *"})
		env.write("roles/app", map[string]any{fieldRotationPeriod: 0, fieldRotationSchedule: "0 3 * * *", fieldRotationWindow: "2h"})
		write("exclude each other", map[string]any{fieldRotationPeriod: "1h"})
		write("rotation_window 5m0s is too short: send at least 1h, or 0 for no limit", map[string]any{fieldRotationWindow: "5m"})
		write("has rotations 1m0s apart", map[string]any{fieldRotationSchedule: "* * * * *", fieldTTL: 60})
		write("is never due", map[string]any{fieldRotationSchedule: "0 0 30 2 *"})
		write("has rotations 24h0m0s apart", map[string]any{fieldTTL: "13h"})
		env.write("roles/app", map[string]any{fieldRotationSchedule: ""})
		role := env.read("roles/app")
		assert.Equal(t, int64(0), role[fieldRotationWindow])
		assert.NotContains(t, role, fieldNextVaultRotation)
	})
}

func TestDisabledRotationRestsAndGoesOn(t *testing.T) {
	for name, c := range map[string]struct{ path string }{"of the role": {"roles/app"}, "of the mount": {"config"}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := minuteRole(t, map[string]any{fieldRotationPeriod: "1h"})
				env.write(c.path, map[string]any{fieldDisableRotation: true})
				assert.Equal(t, true, env.read(c.path)[fieldDisableRotation])
				assert.NotContains(t, env.read("roles/app"), fieldNextVaultRotation)
				sleep(5 * time.Hour)
				assert.Equal(t, "steady", env.read("roles/app")[fieldPhase])
				env.restart()
				sleep(time.Hour)
				assert.Zero(t, env.auth0.count("set"))
				env.write("rotate/app", nil)
				sleep(2 * time.Minute)
				assert.Equal(t, 1, env.auth0.count("set"), "by hand it works")
				env.write(c.path, map[string]any{fieldDisableRotation: false})
				sleep(time.Hour)
				assert.Equal(t, 2, env.auth0.count("set"))
			})
		})
	}
}
