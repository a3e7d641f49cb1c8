package auth0secrets

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine of the engine outlives it. One of a library's runs from the start.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// thorough says whether a test tries every case, and not some of each kind: neither
// with -short nor with the race detector, which takes several times as long. (make unit
// runs the tests that ask once more, without it.)
func thorough() bool { return !raceDetector && !testing.Short() }
