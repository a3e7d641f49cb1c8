package auth0secrets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The rules by which other programs read credentials again, for tests on a clock of their
// own: what they do with ttl, rotation_period, last_vault_rotation and leases. The real
// ones read in the tests of integration/: Vault Agent, consul-template, the External
// Secrets Operator, and, where one can be had, the Vault Secrets Operator.

// readAnswer is an answer of creds/ or static-creds/ as a reader gets it: numbers are
// json.Number.
type readAnswer struct {
	Data  map[string]any
	Lease time.Duration // 0: it has none
}

// asRead is the data of an answer in the form that it has when it comes from Vault.
func asRead(data map[string]any) (readAnswer, error) {
	var a readAnswer
	text, err := json.Marshal(data)
	if err != nil {
		return a, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return a, decoder.Decode(&a.Data)
}

// secrets are the client secrets of an answer, in order.
func (a readAnswer) secrets() []string {
	var secrets []string
	list, _ := a.Data[fieldClientSecrets].([]any)
	for _, each := range list {
		secrets = append(secrets, each.(string))
	}
	return secrets
}

func (a readAnswer) number(field string) int64 {
	text, _ := a.Data[field].(json.Number)
	n, _ := text.Int64()
	return n
}

// surroundings are a reader's Vault, and the application that it reads for.
type surroundings interface {
	Read(ctx context.Context) (readAnswer, error)
	// Deliver hands what was read to the application. Changed: the reader takes it to
	// differ from what it delivered before, and would restart workloads.
	Deliver(a readAnswer, changed bool)
	// Failed is told of an error that the reader would report to its user.
	Failed(err error)
}

// rereader is a program that reads again and again, until the context ends.
type rereader interface {
	Run(ctx context.Context, v surroundings)
}

// pauseFor waits. False: the context has ended.
func pauseFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// paced is a reader that delivers each answer, and says how long it waits after it.
type paced func(readAnswer) time.Duration

var (
	// byLease is Vault Agent: of a lease that cannot be renewed it waits for nine tenths,
	// give or take a twentieth.
	byLease = paced(func(a readAnswer) time.Duration {
		return time.Duration(float64(a.Lease) * (0.85 + rand.Float64()/10))
	})
	// byTTL is consul-template, and so an Agent, too, where there is no lease, but a
	// rotation_period.
	byTTL = paced(func(a readAnswer) time.Duration {
		return time.Duration(a.number(fieldTTL)+1) * time.Second
	})
	// atInterval reads as the External Secrets Operator (refreshInterval) and the Secrets
	// Store CSI driver (rotation-poll-interval) do, whatever an answer says.
	atInterval = paced(func(readAnswer) time.Duration { return readersTTL/2 + rand.N(readersTTL/4) })
)

// Run reads and delivers.
func (wait paced) Run(ctx context.Context, v surroundings) {
	var delivered map[string]any
	for {
		answer, err := v.Read(ctx)
		next := 250 * time.Millisecond
		if err != nil {
			v.Failed(err)
		} else {
			v.Deliver(answer, delivered != nil && !reflect.DeepEqual(delivered, answer.Data))
			delivered, next = answer.Data, wait(answer)
		}
		if !pauseFor(ctx, next) {
			return
		}
	}
}

// vso is the Vault Secrets Operator with one VaultDynamicSecret.
type vso struct {
	leases  bool // without allowStaticCreds
	release vsoRelease
}

// vsoRelease is what the operator's rules have changed with.
type vsoRelease int

const (
	// vso14 are 1.4.0, 1.4.1: it goes by the ttl of the last answer. Of credentials
	// with a schedule it takes a ttl for wrong, too, that is longer than what was
	// left of the one before.
	vso14 vsoRelease = iota
	// vso13 is 1.3.0: it waits for a rotation of credentials with a period, too, where
	// ttl is 2 or less.
	vso13
	// vso12 is 1.2.0: it waits for a rotation of credentials with a schedule only.
	vso12
)

const (
	// vsoCushion is added to the ttl of credentials that say their rotation_period, and
	// vsoJitter at most to all.
	vsoCushion = 500 * time.Millisecond
	vsoJitter  = 150 * time.Millisecond

	// After a failed sync the operator tries again after 5 s, then half as much
	// again each time up to a minute, give or take half of it.
	vsoRetry, vsoRetryMax = 5 * time.Second, time.Minute

	// Where credentials are those of the last sync and are about to change, the
	// operator waits for the rotation itself, for up to ten seconds.
	vsoAwaits                   = 10 * time.Second
	vsoAwaitPause, vsoAwaitMost = 500 * time.Millisecond, 2 * time.Second
	vsoNear                     = 2 // seconds of ttl
	vsoTolerance                = 5 // seconds of ttl
)

// errNoRotation is what the operator fails to sync with where a rotation did not
// come that it has waited for, be it that it took a ttl for one of the rotation
// after it.
var errNoRotation = errors.New("not rotated: near rotation, or the ttl did not count down")

// vsoMeta is what the operator keeps of static credentials in the resource's status.
// Before 1.4.0 it is only replaced when the credentials change: until then it waits by
// the ttl of the first answer that had them.
type vsoMeta struct {
	lastRotation, schedule string
	period, ttl            int64
}

func metaOf(a readAnswer) vsoMeta {
	m := vsoMeta{period: a.number(fieldRotationPeriod), ttl: a.number(fieldTTL)}
	m.lastRotation, _ = a.Data[fieldLastVaultRotation].(string)
	m.schedule, _ = a.Data[fieldRotationSchedule].(string)
	return m
}

func (m vsoMeta) static() bool { return m.lastRotation != "" && (m.period >= 1 || m.schedule != "") }

type vsoState struct {
	vso
	vault     surroundings
	meta      vsoMeta
	synced    time.Time      // when it last succeeded
	delivered map[string]any // without what is not compared; nil: nothing yet
}

// Run reads, and delivers what has changed.
func (o vso) Run(ctx context.Context, v surroundings) {
	s := vsoState{vso: o, vault: v}
	retry := vsoRetry
	for {
		lease, err := s.sync(ctx)
		wait := s.horizon(lease)
		switch {
		case err != nil:
			v.Failed(err)
			wait = randomised(retry)
			retry = min(retry*3/2, vsoRetryMax)
		case wait == 0:
			return // it never reads again
		default:
			retry = vsoRetry
		}
		if !pauseFor(ctx, wait) {
			return
		}
	}
}

func randomised(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// sync reads once and delivers, and says for how long the lease is.
func (s *vsoState) sync(ctx context.Context) (time.Duration, error) {
	answer, err := s.vault.Read(ctx)
	if err != nil {
		return 0, err
	}
	if s.leases {
		s.vault.Deliver(answer, s.delivered != nil) // a new lease counts as a change
		s.delivered = answer.Data
		return answer.Lease, nil
	}
	meta, answer, err := s.awaitRotation(ctx, answer)
	if err != nil {
		return 0, err
	}
	data := maps.Clone(answer.Data)
	for _, notCompared := range []string{fieldTTL, fieldRotationSchedule, fieldRotationPeriod, fieldLastVaultRotation} {
		delete(data, notCompared)
	}
	s.synced = time.Now()
	if s.release == vso14 {
		s.meta = meta
	}
	if s.delivered == nil || !reflect.DeepEqual(data, s.delivered) {
		s.vault.Deliver(answer, s.delivered != nil)
		s.delivered, s.meta = data, meta
	}
	return 0, nil
}

// awaitRotation reads again while credentials are those of the last sync and are
// about to change, or have a schedule and do not seem to count down.
func (s *vsoState) awaitRotation(ctx context.Context, answer readAnswer) (vsoMeta, readAnswer, error) {
	meta := metaOf(answer)
	if !meta.static() || s.meta.lastRotation != meta.lastRotation ||
		(meta.schedule == "" && s.release == vso12) || (meta.schedule != "" && s.meta.schedule != meta.schedule) {
		return meta, answer, nil
	}
	began, wait := time.Now(), vsoAwaitPause
	for {
		answer, err := s.vault.Read(ctx)
		if err == nil {
			if now := metaOf(answer); now.lastRotation != meta.lastRotation || !s.doubts(now) {
				return now, answer, nil
			}
			err = errNoRotation
		}
		next := randomised(wait)
		if time.Since(began)+next > vsoAwaits {
			return meta, answer, err
		}
		if !pauseFor(ctx, next) {
			return meta, answer, ctx.Err()
		}
		wait = min(wait*3/2, vsoAwaitMost)
	}
}

// doubts says whether an answer with the rotation of the last sync is one to wait
// after.
func (s *vsoState) doubts(now vsoMeta) bool {
	switch {
	case now.ttl <= vsoNear:
		return true
	case now.schedule == "":
		return false
	case now.ttl >= s.meta.ttl:
		return true
	}
	left := s.meta.ttl - int64(time.Since(s.synced)/time.Second)
	return s.release == vso14 && left <= vsoTolerance && now.ttl > vsoTolerance
}

// horizon is when the operator reads again. 0: never.
func (s *vsoState) horizon(lease time.Duration) time.Duration {
	if s.leases {
		return lease*67/100 + rand.N(lease/10+1) // renewalPercent
	}
	if !s.meta.static() {
		return 0
	}
	wait := time.Second
	if s.meta.ttl > 0 {
		wait = time.Duration(s.meta.ttl) * time.Second
		if s.meta.period > 0 {
			wait += vsoCushion
		}
	}
	return wait + rand.N(vsoJitter)
}

// vsoScript is a Vault that answers in turn, and the last answer ever after.
type vsoScript struct {
	answers []readAnswer
	began   time.Time
	stop    func()
	after   int // reads until it ends

	at      []time.Duration // of the reads
	changes []bool          // as delivered
	errors  []error
}

func (s *vsoScript) Read(context.Context) (readAnswer, error) {
	s.at = append(s.at, time.Since(s.began))
	if len(s.at) == s.after {
		s.stop()
	}
	return s.answers[min(len(s.at), len(s.answers))-1], nil
}

func (s *vsoScript) Deliver(_ readAnswer, changed bool) { s.changes = append(s.changes, changed) }
func (s *vsoScript) Failed(err error)                   { s.errors = append(s.errors, err) }

// served are answers with a secret and a ttl, given as "secret ttl schedule".
func served(t *testing.T, answers ...string) []readAnswer {
	t.Helper()
	var all []readAnswer
	for _, each := range answers {
		data := map[string]any{fieldRotationPeriod: 3600, fieldLastVaultRotation: "2026-01-01T00:00:00Z"}
		var secret, schedule string
		var ttl int
		_, _ = fmt.Sscan(each, &secret, &ttl, &schedule)
		data[fieldClientSecrets], data[fieldTTL] = []string{secret}, ttl
		if schedule != "" {
			data[fieldRotationSchedule] = schedule
		}
		a, err := asRead(data)
		require.NoError(t, err)
		all = append(all, a)
	}
	return all
}

func (o vso) played(t *testing.T, reads int, answers ...string) *vsoScript {
	t.Helper()
	s := &vsoScript{answers: served(t, answers...), after: reads}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s.began, s.stop = time.Now(), stop
		o.Run(ctx, s)
	})
	return s
}

// syncs are the waits, in seconds, that are not within a sync.
func (s *vsoScript) syncs() []int {
	var waits []int
	for i := range s.at[1:] {
		if wait := s.at[i+1] - s.at[i]; wait > vsoAwaitMost {
			waits = append(waits, int(wait/time.Second))
		}
	}
	return waits
}

// TestVSOsRules as its releases have them: or the tests with it show nothing. Since 1.3.0
// it reads twice where nothing has changed.
func TestVSOsRules(t *testing.T) {
	// Before 1.4.0 the times of later answers with the same secrets are not taken in.
	assert.Equal(t, []int{30, 30, 30, 7}, vso{release: vso12}.played(t, 6, "a 30", "a 5", "a 2", "b 7").syncs()[:4])
	assert.Equal(t, []int{30, 30, 30, 7}, vso{release: vso13}.played(t, 9, "a 30", "a 5", "a 5", "a 9", "a 9", "b 7", "b 7").syncs()[:4])
	s := vso{}.played(t, 7, "a 30", "a 20", "a 20", "a 9", "a 9", "b 7", "b 7")
	assert.Equal(t, []int{30, 20, 9}, s.syncs()[:3])
	assert.Equal(t, []bool{false, true}, s.changes)
	assert.Empty(t, s.errors)

	// Since 1.3.0 it waits for a rotation that is near, and reports an error where none comes.
	for release, fails := range map[vsoRelease]bool{vso12: false, vso13: true, vso14: true} {
		assert.Equal(t, fails, len(vso{release: release}.played(t, 40, "a 30", "a 2").errors) > 0)
		assert.Empty(t, vso{release: release}.played(t, 40, "a 30", "a 3").errors)
		s := vso{release: release}.played(t, 9, "a 30", "a 1", "a 1", "a 1", "b 30")
		assert.Empty(t, s.errors)
		assert.Equal(t, []bool{false, true}, s.changes)
		// A schedule whose times are not equally far apart.
		s = vso{release: release}.played(t, 10, "a 30 @hourly", "a 20 @hourly")
		assert.Equal(t, release == vso14, len(s.errors) > 0)
	}
	// It expects the ttl of a schedule to count down to the next rotation.
	assert.True(t, slices.Contains(vso{}.played(t, 20, "a 30 @hourly").errors, errNoRotation))
	// Where nothing says when, it stops.
	stopped := &vsoScript{answers: []readAnswer{{Data: map[string]any{}}}, stop: func() {}}
	vso{}.Run(t.Context(), stopped)
	assert.Len(t, stopped.at, 1)
}
