package auth0secrets

import (
	"context"
	"maps"
	"sync"
	"time"
)

// servedSet is what is handed out of one role. It never changes: a change of
// the role is a new one.
type servedSet struct {
	role *roleEntry
	data map[string]any // the answer, but for what changes with time
	// since is when this process began to serve these secrets. It carries a
	// monotonic reading, so a step of the wall clock cannot shorten a wait.
	since time.Time
}

// servedSets answers reads of credentials from memory, for all roles of a
// mount. Storage is asked for a role's first read after a start only, and no
// lock is held meanwhile.
type servedSets struct {
	now func() time.Time
	// servingSince is when this process began to serve the mount. Holders from
	// before it may not have read since.
	servingSince time.Time

	mu    sync.RWMutex
	roles map[string]*servedSet
	// forgotten is when a role was last dropped from memory because another
	// node changed it.
	forgotten map[string]time.Time
	// loading marks loads under way. A change that comes in between removes the
	// mark, and what was loaded is not kept.
	loading map[string]*struct{ _ byte }
}

func newServedSets(now func() time.Time) *servedSets {
	return &servedSets{
		now: now, servingSince: now(),
		roles:     map[string]*servedSet{},
		forgotten: map[string]time.Time{},
		loading:   map[string]*struct{ _ byte }{},
	}
}

// get is the role's set, loaded if it is not in memory. Nil: no such role.
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
	set = s.newSet(name, role, nil)
	if unchanged {
		s.roles[name] = set
	}
	return set, nil
}

// publish makes what has just been stored the set that is served, and returns
// it. The caller holds the role's lock and has called get before it changed the
// role.
func (s *servedSets) publish(name string, role *roleEntry) *servedSet {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.loading, name)
	set := s.newSet(name, role, s.roles[name])
	s.roles[name] = set
	return set
}

// newSet decides since when the role's secrets are served here. Only a newly
// staged secret starts the wait again; a change of settings does not.
func (s *servedSets) newSet(name string, role *roleEntry, before *servedSet) *servedSet {
	since := s.servingSince
	if at, ok := s.forgotten[name]; ok {
		since = at
	}
	if before != nil {
		since = before.since
		if staged := role.Rotation.Next; staged != nil && !before.stages(staged.Value) {
			since = s.now()
		}
	}
	return &servedSet{role: role, data: credentials(role), since: since}
}

// forget drops a role that was deleted here.
func (s *servedSets) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.loading, name)
	delete(s.roles, name)
	delete(s.forgotten, name)
}

// invalidate drops a role that another node has changed: it is read again from
// storage, and holders of what was served until now are waited for.
func (s *servedSets) invalidate(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.loading, name)
	delete(s.roles, name)
	s.forgotten[name] = s.now()
}

// stages says whether the secret is handed out as the next one.
func (set *servedSet) stages(secret sensitive) bool {
	next := set.role.Rotation.Next
	return next != nil && next.Value == secret
}

// untilChange is how long the set stays as it is. False: no change is planned.
func (set *servedSet) untilChange(now time.Time, mount mountSettings) (time.Duration, bool) {
	return set.role.Rotation.untilSetChanges(set.role.settings(mount), set.clock(now))
}

// clock is the state machine's view of time for this set.
func (set *servedSet) clock(now time.Time) rotationClock {
	return rotationClock{Now: now, ServingSince: set.since}
}

// readAgain is how long a reader without a lease may keep the set: until it
// changes, at most half of the role's ttl, at least a second. A staged rotation
// waits for all of the ttl: the rest is for what readers add (consul-template a
// second, the Vault Secrets Operator up to 0.65 s), and for the way to the
// application, be it a volume that the kubelet updates or a rolling restart.
func (set *servedSet) readAgain(now time.Time, mount mountSettings, maxTTL time.Duration) time.Duration {
	ttl := min(set.role.TTL, maxTTL) / 2
	if change, planned := set.untilChange(now, mount); planned {
		ttl = min(ttl, change)
	}
	return max(ttl, time.Second)
}

// lease is how long a reader with a lease may keep the set: the role's ttl,
// which a staged rotation waits for. Where nothing can be staged, leases count
// down to the rotation, so that their holders read again just after it.
func (set *servedSet) lease(now time.Time, mount mountSettings, maxTTL time.Duration) time.Duration {
	ttl := min(set.role.TTL, maxTTL)
	if set.role.SecretSource == sourceAuth0 {
		if change, planned := set.untilChange(now, mount); planned {
			ttl = max(min(ttl, change), min(ttl, minLease))
		}
	}
	return max(ttl, time.Second)
}

// answer is a copy of the set's data with the time for which it may be kept.
func (set *servedSet) answer(ttl time.Duration) map[string]any {
	data := maps.Clone(set.data)
	data[fieldTTL] = inSeconds(ttl)
	return data
}

// credentials is the part of an answer that is the same in every read of the
// same set.
func credentials(role *roleEntry) map[string]any {
	values := role.Rotation.servedValues()
	first, second := "", ""
	if len(values) > 0 {
		first = values[0]
	}
	if len(values) > 1 {
		second = values[1]
	}
	data := map[string]any{
		fieldDomain:               role.Domain,
		fieldClientID:             role.ClientID,
		fieldClientSecret:         first,
		fieldFallbackClientSecret: second,
		fieldClientSecrets:        values,
		fieldRotationPeriod:       inSeconds(presentPeriod(role)),
		fieldLastVaultRotation:    inRFC3339(role.Rotation.LastRotation),
	}
	if role.RotationSchedule != "" {
		data[fieldRotationSchedule] = role.RotationSchedule
	}
	return data
}

// presentPeriod is the time between rotations as readers are told. Of a role
// that has a schedule it is the present interval; of one that is rotated by
// hand its ttl, since its credentials may change at any time.
func presentPeriod(role *roleEntry) time.Duration {
	if role.schedule != nil {
		last := later(role.Rotation.LastRotation, role.ScheduledFrom)
		return max(role.schedule.Next(last).Sub(last), time.Second)
	}
	if role.RotationPeriod > 0 {
		return role.RotationPeriod
	}
	return role.TTL
}
