package auth0secrets

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestAPanicInTheBackgroundIsTriedAgainAfterPanicRetry, and not more often: each fills the log with a stack.
func TestAPanicInTheBackgroundIsTriedAgainAfterPanicRetry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		var boom atomic.Bool
		var panics atomic.Int64
		env.system.SetPasswordPolicy("boom", func() (string, error) {
			if boom.Load() {
				panics.Add(1)
				panic("a defect")
			}
			return strings.Repeat("k9", 20), nil
		})
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldPasswordPolicy: "boom", fieldTTL: 60, fieldRotationPeriod: 3600})
		boom.Store(true)
		sleep(time.Hour - time.Minute - 30*time.Second)
		before := panics.Load()
		sleep(10*time.Minute + 30*time.Second)
		assert.LessOrEqual(t, panics.Load()-before, int64(12), "panicRetry is a minute")
	})
}
