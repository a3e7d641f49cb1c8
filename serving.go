package auth0secrets

import (
	"context"
	"maps"
	"reflect"
	"sync"
	"time"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// minLease is the shortest lease and the shortest ttl of a role.
const minLease = 10 * time.Second

// untoldFor is how long after a change another process sends its event once more. By
// then readers have read again.
const untoldFor = 24 * time.Hour

// servedSet is what a role hands out. It never changes: a changed role gets a new
// one.
type servedSet struct {
	role *roleEntry
	data map[string]any // the answer, but for what changes with time
	// signer is what makes assertions, of a role of keys. Nil: it is one of secrets.
	signer func() (*assertion.Signer, error)
	// afterwards is data when the previous secret is no longer served, which is so
	// from fallbackUntil on. Nil: nothing ends by itself.
	afterwards    map[string]any
	fallbackUntil time.Time
	// told is the data at the last event. Nil: this process has sent none.
	told map[string]any
	// since is when this process began to serve these secrets. It carries a monotonic
	// reading, so a step of the wall clock cannot shorten a wait.
	since time.Time
}

// servedSets answers reads of credentials from memory. It reads storage once for each
// role after a start, and holds no lock meanwhile.
type servedSets struct {
	now func() time.Time
	// servingSince is when this process began to serve the mount. Earlier holders may
	// not have read since.
	servingSince time.Time

	mu    sync.RWMutex
	roles map[string]*servedSet
	// invalidated is when another node last changed a role.
	invalidated time.Time
	// loading marks loads under way. A change meanwhile removes the mark, and the
	// loaded role is not kept.
	loading map[string]*struct{ _ byte }
}

func newServedSets(now func() time.Time) *servedSets {
	return &servedSets{
		now: now, servingSince: now(),
		roles:   map[string]*servedSet{},
		loading: map[string]*struct{ _ byte }{},
	}
}

// get returns the role's set, and loads it if need be. Nil: no such role.
func (s *servedSets) get(ctx context.Context, name string, load func(context.Context) (*roleEntry, error)) (*servedSet, error) {
	s.mu.RLock()
	set := s.roles[name]
	s.mu.RUnlock()
	if set != nil {
		return set, nil
	}
	mark := new(struct{ _ byte })
	s.mu.Lock()
	s.loading[name] = mark
	s.mu.Unlock()

	role, err := load(ctx)

	s.mu.Lock()
	defer s.mu.Unlock()
	unchanged := s.loading[name] == mark
	if unchanged {
		delete(s.loading, name)
	}
	if set := s.roles[name]; set != nil { // published meanwhile: newer than what was loaded
		return set, nil
	}
	if err != nil || role == nil {
		return nil, err
	}
	set = newServedSet(role, latest(s.servingSince, s.invalidated), s.now())
	if unchanged {
		s.roles[name] = set
	}
	return set, nil
}

// publish serves what has just been stored, and returns it. The caller holds the
// role's lock and has called get before it changed the role.
func (s *servedSets) publish(name string, role *roleEntry) *servedSet {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.loading, name)
	before, awaited := s.roles[name], role.Rotation.Awaited()
	// Only a newly staged secret, or a new key, starts the wait for holders again; changed
	// settings do not. It begins at the earliest when another node last changed a role, perhaps
	// this one.
	since := latest(s.servingSince, s.invalidated)
	if awaited != "" && (before == nil || awaited != before.role.Rotation.Awaited()) {
		since = s.now()
	} else if before != nil {
		since = before.since
	}
	set := newServedSet(role, since, s.now())
	if before != nil {
		set.told = before.toldBy(s.now())
	}
	s.roles[name] = set
	return set
}

// tell notes that an event of the role is sent. It reports whether the data has
// changed since the last one. The caller holds the role's lock.
func (s *servedSets) tell(role *ownedRole) (changed bool) {
	now := s.now()
	changed = role.set.untold(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	told := *role.set
	told.told = told.present(now)
	if s.roles[role.name] == role.set {
		s.roles[role.name] = &told
	}
	role.set = &told
	return changed
}

func newServedSet(role *roleEntry, since, now time.Time) *servedSet {
	set := &servedSet{role: role, since: since}
	if role.keys() {
		set.signer = lazySigner(role)
	}
	clock := set.clock(now)
	served, until := role.Rotation.Served(clock)
	set.data = credentials(role, served)
	if !until.IsZero() {
		clock.Now = until
		served, _ = role.Rotation.Served(clock)
		set.afterwards, set.fallbackUntil = credentials(role, served), until
	}
	return set
}

// forget drops a role that was deleted here.
func (s *servedSets) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.loading, name)
	delete(s.roles, name)
}

// invalidate drops a role that another node has changed: it is read again from
// storage.
func (s *servedSets) invalidate(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.loading, name)
	delete(s.roles, name)
	s.invalidated = s.now()
}

// untilChange returns how long the set stays as it is. False: no change is planned.
func (set *servedSet) untilChange(now time.Time, mount mountSettings) (time.Duration, bool) {
	return set.role.Rotation.UntilChange(set.role.settings(mount), set.clock(now))
}

// clock is the rotation's clock for this set.
func (set *servedSet) clock(now time.Time) rotation.Clock {
	return rotation.Clock{Now: now, Since: set.since}
}

// view is the role's rotation as seen now.
func (set *servedSet) view(mount mountSettings, now time.Time) rotation.View {
	return set.role.Rotation.View(set.role.settings(mount), set.clock(now))
}

// readAgain returns how long a reader without a lease may keep the set: until it
// changes, at most half of the role's ttl, at least a second. A staged rotation waits
// for the whole ttl. The other half is for what readers add (consul-template a
// second, the Vault Secrets Operator up to 0.65 s), and for the way to the
// application: a volume that the kubelet updates, or a rolling restart.
func (set *servedSet) readAgain(now time.Time, mount mountSettings, maxTTL time.Duration) time.Duration {
	ttl := min(set.role.TTL, maxTTL) / 2
	if change, planned := set.untilChange(now, mount); planned {
		ttl = min(ttl, change)
	}
	return max(ttl, time.Second)
}

// lease returns how long a reader with a lease may keep the set: the role's ttl, for
// which a staged rotation waits. Where nothing can be staged, leases count down to
// the rotation, so that holders read again just after it.
func (set *servedSet) lease(now time.Time, mount mountSettings, maxTTL time.Duration) time.Duration {
	ttl := min(set.role.TTL, maxTTL)
	if set.role.SecretSource == rotation.Auth0 {
		if change, planned := set.untilChange(now, mount); planned {
			ttl = max(min(ttl, change), min(ttl, minLease))
		}
	}
	return max(ttl, time.Second)
}

// answer is a copy of the set's data, with the time for which it may be kept.
func (set *servedSet) answer(now time.Time, ttl time.Duration) map[string]any {
	data := maps.Clone(set.present(now))
	data[fieldTTL] = inSeconds(ttl)
	if set.role.keys() {
		data[fieldKID] = set.kid()
	}
	return data
}

// present returns the set's data at a moment.
func (set *servedSet) present(now time.Time) map[string]any {
	if set.afterwards != nil && !now.Before(set.fallbackUntil) {
		return set.afterwards
	}
	return set.data
}

// changesAt returns when the set's data changes by itself. Zero: it does not any
// more.
func (set *servedSet) changesAt(now time.Time) time.Time {
	if now.Before(set.fallbackUntil) {
		return set.fallbackUntil
	}
	return time.Time{}
}

// untold reports whether the data has changed since the last event. If this process
// has sent none, it may have when the last change is recent: the process before may
// have ended ahead of its event.
func (set *servedSet) untold(now time.Time) bool {
	if set.told == nil {
		return now.Sub(set.role.Rotation.LastChange()) < untoldFor
	}
	return !reflect.DeepEqual(set.told, set.present(now))
}

// toldBy returns what the set after this one takes over as told. If this process has
// sent no event yet, that is the present data, unless an event is still due.
func (set *servedSet) toldBy(now time.Time) map[string]any {
	switch {
	case set.told != nil:
		return set.told
	case set.untold(now):
		return map[string]any{} // like nothing that is handed out
	default:
		return set.present(now)
	}
}

// credentials is the part of an answer that every read of the same set has.
func credentials(role *roleEntry, served []rotation.Secret) map[string]any {
	values := inClear(served)
	first, second := "", ""
	if len(values) > 0 {
		first = values[0]
	}
	if len(values) > 1 {
		second = values[1]
	}
	data := map[string]any{fieldClientSecret: first, fieldFallbackClientSecret: second, fieldClientSecrets: values}
	if role.keys() {
		data = keyCredentials(role)
	}
	data[fieldDomain], data[fieldClientID] = role.Domain, role.ClientID
	data[fieldRotationPeriod], data[fieldLastVaultRotation] = inSeconds(presentPeriod(role)), inRFC3339(role.Rotation.LastRotation())
	if role.RotationSchedule != "" {
		data[fieldRotationSchedule] = role.RotationSchedule
	}
	return data
}

// presentPeriod returns the time between rotations: with a cron schedule the present
// interval; 0 if the role is rotated by hand only.
func presentPeriod(role *roleEntry) time.Duration {
	if role.schedule == nil {
		return role.RotationPeriod
	}
	last := latest(role.Rotation.LastRotation(), role.Rotation.ScheduledFrom())
	return max(role.schedule.Next(last).Sub(last), time.Second)
}

// inClear returns the values of secrets, to hand them out or to log in.
func inClear(secrets []rotation.Secret) []string {
	values := make([]string, len(secrets))
	for i, secret := range secrets {
		values[i] = string(secret)
	}
	return values
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
