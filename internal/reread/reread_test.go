package reread

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// script is a Vault that answers in turn, and the last answer ever after.
type script struct {
	answers []Answer
	began   time.Time
	stop    func()
	after   int // reads until it ends

	at      []time.Duration // of the reads
	changes []bool          // as delivered
	errors  []error
}

func (s *script) Read(context.Context) (Answer, error) {
	s.at = append(s.at, time.Since(s.began))
	if len(s.at) == s.after {
		s.stop()
	}
	answer := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	if answer.Data == nil {
		return answer, errors.New("no answer")
	}
	return answer, nil
}

func (s *script) Deliver(_ Answer, changed bool) { s.changes = append(s.changes, changed) }
func (s *script) Failed(err error)               { s.errors = append(s.errors, err) }

// waits are the times between the reads.
func (s *script) waits() []time.Duration {
	var waits []time.Duration
	for i := range s.at[1:] {
		waits = append(waits, s.at[i+1]-s.at[i])
	}
	return waits
}

// syncs are the waits that are not within a sync.
func (s *script) syncs() []time.Duration {
	return slices.DeleteFunc(s.waits(), func(wait time.Duration) bool { return wait <= awaitBackoffMax })
}

func static(secret, ttl string, more ...string) Answer {
	a := Answer{Data: map[string]any{
		"client_secrets": []any{secret}, "ttl": json.Number(ttl), "rotation_period": json.Number("3600"), "last_vault_rotation": "2026-01-01T00:00:00Z",
	}}
	for i := 0; i < len(more); i += 2 {
		a.Data[more[i]] = more[i+1]
	}
	return a
}

func leased(secret string, lease time.Duration) Answer {
	a := static(secret, "60")
	a.LeaseID, a.LeaseDuration = "id", lease
	return a
}

func played(t *testing.T, reader Reader, reads int, answers ...Answer) *script {
	t.Helper()
	s := &script{answers: answers, after: reads}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s.began, s.stop = time.Now(), stop
		reader.Run(ctx, s)
	})
	require.GreaterOrEqual(t, len(s.at), reads)
	return s
}

func within(t *testing.T, wait, least, most time.Duration) {
	t.Helper()
	assert.GreaterOrEqual(t, wait, least)
	assert.LessOrEqual(t, wait, most)
}

func TestTemplateGoesByTTLOrLease(t *testing.T) {
	s := played(t, Template{}, 3, static("a", "30"), static("a", "5"), static("b", "5"))
	assert.Equal(t, []time.Duration{31 * time.Second, 6 * time.Second}, s.waits())
	s = played(t, Template{}, 2, leased("a", 100*time.Second))
	within(t, s.waits()[0], 85*time.Second, 95*time.Second)
	s = played(t, Template{}, 4, Answer{}, Answer{}, static("a", "30"))
	assert.Equal(t, []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, 31 * time.Second}, s.waits())
}

// TestVSOGoesByTheFirstTTLOfASet before 1.4.0: the times of later answers with the
// same secrets are not taken in.
func TestVSOGoesByTheFirstTTLOfASet(t *testing.T) {
	for release, answers := range map[VSORelease][]Answer{
		VSO12: {static("a", "30"), static("a", "5"), static("a", "2"), static("b", "7")},
		VSO13: {static("a", "30"), static("a", "5"), static("a", "5"), static("a", "9"), static("a", "9"), static("b", "7"), static("b", "7")},
	} {
		s := played(t, VSO{AllowStaticCreds: true, Release: release}, len(answers)+2, answers...)
		syncs := s.syncs()
		for i, ttl := range []time.Duration{30 * time.Second, 30 * time.Second, 30 * time.Second, 7 * time.Second} {
			within(t, syncs[i], ttl+staticCushion, ttl+staticCushion+staticJitter)
		}
		assert.Equal(t, []bool{false, true}, s.changes)
		assert.Empty(t, s.errors)
	}
}

// TestVSOGoesByTheLastTTL since 1.4.0. It reads twice where nothing has changed.
func TestVSOGoesByTheLastTTL(t *testing.T) {
	s := played(t, VSO{AllowStaticCreds: true}, 7,
		static("a", "30"), static("a", "20"), static("a", "20"), static("a", "9"), static("a", "9"), static("b", "7"), static("b", "7"))
	for i, ttl := range []time.Duration{30 * time.Second, 20 * time.Second, 9 * time.Second} {
		within(t, s.syncs()[i], ttl+staticCushion, ttl+staticCushion+staticJitter)
	}
	assert.Equal(t, []bool{false, true}, s.changes)
	assert.Empty(t, s.errors)
}

// TestVSOWaitsForARotationThatIsNear since 1.3.0, and reports an error where none
// comes.
func TestVSOWaitsForARotationThatIsNear(t *testing.T) {
	for release, fails := range map[VSORelease]bool{VSO12: false, VSO13: true, VSO14: true} {
		s := played(t, VSO{AllowStaticCreds: true, Release: release}, 40, static("a", "30"), static("a", "2"))
		assert.Equal(t, fails, len(s.errors) > 0)
		s = played(t, VSO{AllowStaticCreds: true, Release: release}, 40, static("a", "30"), static("a", "3"))
		assert.Empty(t, s.errors)
		s = played(t, VSO{AllowStaticCreds: true, Release: release}, 9, static("a", "30"), static("a", "1"), static("a", "1"), static("a", "1"), static("b", "30"))
		assert.Empty(t, s.errors)
		assert.Equal(t, []bool{false, true}, s.changes)
	}
}

func TestVSOTakesEachLeaseForAChange(t *testing.T) {
	s := played(t, VSO{}, 3, leased("a", 100*time.Second))
	within(t, s.waits()[0], 67*time.Second, 77*time.Second)
	assert.Equal(t, []bool{false, true, true}, s.changes)
}

// TestVSOExpectsASchedulesTTLToCountDown, to the next rotation.
func TestVSOExpectsASchedulesTTLToCountDown(t *testing.T) {
	s := played(t, VSO{AllowStaticCreds: true}, 20, static("a", "30", "rotation_schedule", "0 * * * *"))
	assert.Contains(t, s.errors, errNoRotation)
	// A schedule whose times are not equally far apart.
	for release, fails := range map[VSORelease]bool{VSO12: false, VSO13: false, VSO14: true} {
		s = played(t, VSO{AllowStaticCreds: true, Release: release}, 10, static("a", "30", "rotation_schedule", "0 * * * *"),
			static("a", "20", "rotation_schedule", "0 * * * *"))
		assert.Equal(t, fails, len(s.errors) > 0)
	}
}

func TestVSOStopsWhereNothingSaysWhen(t *testing.T) {
	s := played(t, VSO{AllowStaticCreds: true}, 1, Answer{Data: map[string]any{"client_secrets": []any{"a"}}})
	assert.Empty(t, s.errors)
}

func TestInterval(t *testing.T) {
	s := played(t, Interval{Every: time.Minute}, 3, static("a", "5"), Answer{}, static("b", "5"))
	assert.Equal(t, []time.Duration{time.Minute, time.Minute}, s.waits())
	assert.Equal(t, []bool{false, true}, s.changes)
	assert.Len(t, s.errors, 1)
}
