package reread

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// VSO is the Vault Secrets Operator with one VaultDynamicSecret.
type VSO struct {
	AllowStaticCreds bool
	RenewalPercent   int // 0: 67, the operator's default
	Release          VSORelease
}

// VSORelease is what the operator's rules have changed with.
type VSORelease int

const (
	// VSO14 are 1.4.0, 1.4.1: it goes by the ttl of the last answer. Of credentials
	// with a schedule it takes a ttl for wrong, too, that is longer than what was
	// left of the one before.
	VSO14 VSORelease = iota
	// VSO13 is 1.3.0: it waits for a rotation of credentials with a period, too, where
	// ttl is 2 or less.
	VSO13
	// VSO12 is 1.2.0: it waits for a rotation of credentials with a schedule only.
	VSO12
)

var _ Reader = VSO{}

const (
	// staticCushion is added to the ttl of credentials that say their
	// rotation_period, and staticJitter at most to all.
	staticCushion = 500 * time.Millisecond
	staticJitter  = 150 * time.Millisecond
	// noTTL is the wait where ttl is 0.
	noTTL = time.Second

	renewalPercent = 67
	// After a failed sync the operator tries again after 5 s, then half as much
	// again each time up to a minute, give or take half of it.
	syncBackoff    = 5 * time.Second
	syncBackoffMax = time.Minute

	// Where credentials are those of the last sync and are about to change, the
	// operator waits for the rotation itself, for up to ten seconds.
	awaitFor         = 10 * time.Second
	awaitBackoff     = 500 * time.Millisecond
	awaitBackoffMax  = 2 * time.Second
	nearRotation     = 2 // seconds of ttl
	ttlTolerance     = 5 // seconds of ttl
	backoffGrowth    = 1.5
	backoffRandomise = 0.5
)

// errNoRotation is what the operator fails to sync with where a rotation did not
// come that it has waited for, be it that it took a ttl for one of the rotation
// after it.
var errNoRotation = errors.New("not rotated: near rotation, or the ttl did not count down")

// notCompared are the fields that the operator leaves out when it compares
// credentials with those it delivered before.
var notCompared = []string{"ttl", "rotation_schedule", "rotation_period", "last_vault_rotation"}

// staticMeta is what the operator keeps of static credentials in the resource's
// status. Before 1.4.0 it is only replaced when the credentials change: until then it
// waits by the ttl of the first answer that had them.
type staticMeta struct {
	lastRotation int64
	period       int64
	schedule     string
	ttl          int64
}

func metaOf(a Answer) (staticMeta, error) {
	var m staticMeta
	if text, ok := a.Data["last_vault_rotation"].(string); ok {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return m, fmt.Errorf("invalid last_vault_rotation: %w", err)
		}
		m.lastRotation = at.Unix()
	}
	m.period, _ = a.number("rotation_period")
	m.ttl, _ = a.number("ttl")
	m.schedule, _ = a.Data["rotation_schedule"].(string)
	return m, nil
}

func (m staticMeta) static() bool {
	return m.lastRotation > 0 && (m.period >= 1 || m.schedule != "")
}

// Run reads, and delivers what has changed.
func (o VSO) Run(ctx context.Context, v Vault) {
	s := vsoState{VSO: o, vault: v}
	retry := syncBackoff
	for {
		lease, err := s.sync(ctx)
		wait := s.horizon(lease)
		switch {
		case err != nil:
			v.Failed(err)
			wait = randomised(retry)
			retry = min(time.Duration(float64(retry)*backoffGrowth), syncBackoffMax)
		case wait == 0:
			return // it never reads again
		default:
			retry = syncBackoff
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

func randomised(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 + backoffRandomise*(2*jitter()-1)))
}

type vsoState struct {
	VSO
	vault     Vault
	meta      staticMeta
	synced    time.Time      // when it last succeeded
	delivered map[string]any // without what is not compared; nil: nothing yet
}

// sync reads once and delivers, and says for how long the lease is.
func (s *vsoState) sync(ctx context.Context) (time.Duration, error) {
	answer, err := s.vault.Read(ctx)
	if err != nil {
		return 0, err
	}
	if answer.Renewable || !s.AllowStaticCreds {
		s.vault.Deliver(answer, s.delivered != nil) // a new lease counts as a change
		s.delivered = answer.Data
		return answer.LeaseDuration, nil
	}
	meta, answer, err := s.awaitRotation(ctx, answer)
	if err != nil {
		return 0, err
	}
	data := compared(answer)
	s.synced = time.Now()
	if s.Release == VSO14 {
		s.meta = meta
	}
	if s.delivered != nil && reflect.DeepEqual(data, s.delivered) {
		return 0, nil
	}
	s.vault.Deliver(answer, s.delivered != nil)
	s.delivered, s.meta = data, meta
	return 0, nil
}

// compared is the part of an answer in which the operator looks for a change.
func compared(a Answer) map[string]any {
	data := map[string]any{}
	for field, value := range a.Data {
		data[field] = value
	}
	for _, field := range notCompared {
		delete(data, field)
	}
	return data
}

// awaitRotation reads again while credentials are those of the last sync and are
// about to change, or have a schedule and do not seem to count down.
func (s *vsoState) awaitRotation(ctx context.Context, answer Answer) (staticMeta, Answer, error) {
	meta, err := metaOf(answer)
	if err != nil || !meta.static() || s.meta.lastRotation != meta.lastRotation ||
		(meta.schedule == "" && s.Release == VSO12) || (meta.schedule != "" && s.meta.schedule != meta.schedule) {
		return meta, answer, err
	}
	began, wait := time.Now(), awaitBackoff
	for {
		failed := errNoRotation
		if answer, err = s.vault.Read(ctx); err != nil {
			failed = err
		} else if now, err := metaOf(answer); err != nil || now.lastRotation != meta.lastRotation || !s.doubts(now) {
			return now, answer, err
		}
		next := randomised(wait)
		if time.Since(began)+next > awaitFor {
			return meta, answer, failed
		}
		if !pause(ctx, next) {
			return meta, answer, ctx.Err()
		}
		wait = min(time.Duration(float64(wait)*backoffGrowth), awaitBackoffMax)
	}
}

// doubts says whether an answer with the rotation of the last sync is one to wait
// after.
func (s *vsoState) doubts(now staticMeta) bool {
	switch {
	case now.ttl <= nearRotation:
		return true
	case now.schedule == "":
		return false
	case now.ttl >= s.meta.ttl:
		return true
	}
	left := s.meta.ttl - int64(time.Since(s.synced)/time.Second)
	return s.Release == VSO14 && left <= ttlTolerance && now.ttl > ttlTolerance
}

// horizon is when the operator reads again. 0: never.
func (s *vsoState) horizon(lease time.Duration) time.Duration {
	if !s.AllowStaticCreds {
		percent := s.RenewalPercent
		if percent == 0 {
			percent = renewalPercent
		}
		tenth := float64(lease) / 10
		return time.Duration(float64(lease)*float64(percent)/100 + tenth - tenth*jitter())
	}
	if !s.meta.static() {
		return 0
	}
	wait := noTTL
	if s.meta.ttl > 0 {
		wait = time.Duration(s.meta.ttl) * time.Second
		if s.meta.period > 0 {
			wait += staticCushion
		}
	}
	return wait + time.Duration(float64(staticJitter)*jitter())
}
