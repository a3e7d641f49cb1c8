package auth0secrets

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine of the engine outlives it. One of a library's runs from the start.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}
