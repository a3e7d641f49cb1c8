package auth0secrets

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What other programs make of the engine's answers: readers by their rules
// (readers_test.go), on a clock of the test's own.

const (
	readersTTL = time.Minute
	// answersTake is the way of an answer from the engine to an application.
	answersTake = 300 * time.Millisecond
)

// watchedReader is one reader with the application it reads for.
type watchedReader struct {
	env    *testEnv
	name   string
	path   string
	onRead func(*testEnv) // called when an answer has been made and is on its way; nil: nothing
	// late is how long what is delivered takes to reach the application: a kubelet
	// updates a volume when it comes by.
	late time.Duration

	engine   sync.RWMutex // held to start the engine anew
	mu       sync.Mutex
	reads    []time.Time
	held     []string
	sets     [][]string // as delivered
	restarts int
	errors   []error
}

var _ surroundings = (*watchedReader)(nil)

func (r *watchedReader) Read(ctx context.Context) (readAnswer, error) {
	r.mu.Lock()
	r.reads = append(r.reads, time.Now())
	r.mu.Unlock()
	r.engine.RLock()
	resp, err := r.env.request(logical.ReadOperation, r.path, nil)
	r.engine.RUnlock()
	if err != nil {
		return readAnswer{}, err
	}
	answer, err := asRead(resp.Data)
	if err != nil {
		return answer, err
	}
	if resp.Secret != nil {
		assert.False(r.env.t, resp.Secret.Renewable)
		answer.Lease = resp.Secret.TTL
	}
	if r.onRead != nil {
		r.onRead(r.env)
	}
	select {
	case <-time.After(answersTake):
	case <-ctx.Done():
	}
	return answer, ctx.Err()
}

func (r *watchedReader) Deliver(a readAnswer, changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sets = append(r.sets, a.secrets())
	if changed {
		r.restarts++
	}
	time.AfterFunc(r.late, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.held = a.secrets()
	})
}

func (r *watchedReader) Failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.env.t.Context().Err() == nil && err != context.Canceled { //nolint:errorlint // the bare one, from pause
		r.errors = append(r.errors, err)
	}
}

// holds says whether the application has the secret, or has none yet.
func (r *watchedReader) holds(secret string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held == nil || slices.Contains(r.held, secret)
}

// first is the secret that the application tries first.
func (r *watchedReader) first() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[0]
}

// readerKind is a reader, and what it reads.
type readerKind struct {
	reader rereader
	path   string
	late   time.Duration
}

// readersOfAll are the readers that are to be right at every instant.
func readersOfAll() map[string]readerKind {
	return map[string]readerKind{
		"Vault Secrets Operator 1.2.0":          {reader: vso{release: vso12}, path: "static-creds/app"},
		"Vault Secrets Operator 1.3.0":          {reader: vso{release: vso13}, path: "static-creds/app"},
		"Vault Secrets Operator":                {reader: vso{}, path: "static-creds/app"},
		"Vault Secrets Operator, into a volume": {reader: vso{}, path: "static-creds/app", late: readersTTL * 2 / 5},
		"Vault Secrets Operator, by leases":     {reader: vso{leases: true}, path: "creds/app"},
		"consul-template":                       {reader: byTTL, path: "static-creds/app"},
		"Vault Agent":                           {reader: byLease, path: "creds/app"},
		"at an interval":                        {reader: atInterval, path: "static-creds/app"},
		"at an interval, by leases":             {reader: atInterval, path: "creds/app"},
	}
}

// readHistory is what happens to a role while it is read.
type readHistory struct {
	role map[string]any
	// during lets the time pass.
	during func(*testEnv, *watchedReader)
	onRead func(*testEnv)
	// rotations is how many there have to be at least.
	rotations int
	// resting: the set does not change, for as long as during goes on.
	resting bool
}

func readHistories() map[string]readHistory {
	return map[string]readHistory{
		"nothing happens": {resting: true, during: func(*testEnv, *watchedReader) { sleep(2 * time.Hour) }},
		"nothing happens, with a schedule": {resting: true, role: map[string]any{fieldRotationSchedule: "0 0 1 1 *"},
			during: func(*testEnv, *watchedReader) { sleep(2 * time.Hour) }},
		"rotated by hand": {rotations: 20, during: func(env *testEnv, _ *watchedReader) {
			for range 20 {
				sleep(rand.N(5*time.Minute) + 3*time.Minute)
				env.write("rotate/app", nil)
			}
			sleep(5 * time.Minute)
		}},
		"rotated while an answer is on its way": {rotations: 10,
			onRead: func(env *testEnv) {
				if env.read("roles/app")[fieldPhase] == "steady" {
					env.write("rotate/app", nil)
				}
			},
			during: func(*testEnv, *watchedReader) { sleep(40 * time.Minute) }},
		"a period": {rotations: 10, role: map[string]any{fieldRotationPeriod: "10m"},
			during: func(*testEnv, *watchedReader) { sleep(2 * time.Hour) }},
		"a schedule": {rotations: 10, role: map[string]any{fieldRotationSchedule: "*/10 * * * *"},
			during: func(*testEnv, *watchedReader) { sleep(2 * time.Hour) }},
		"a schedule with a window": {rotations: 3, role: map[string]any{fieldRotationSchedule: "0 */2 * * *", fieldRotationWindow: "1h"},
			during: func(*testEnv, *watchedReader) { sleep(8 * time.Hour) }},
		"a schedule that changes by hand, too": {rotations: 10, role: map[string]any{fieldRotationSchedule: "*/30 * * * *"},
			during: func(env *testEnv, _ *watchedReader) {
				for range 10 {
					sleep(rand.N(20*time.Minute) + 5*time.Minute)
					env.write("rotate/app", nil)
				}
			}},
		"Auth0 is down when it is due":                  {rotations: 2, role: map[string]any{fieldRotationPeriod: "30m"}, during: auth0IsDown},
		"Auth0 is down when it is due, with a schedule": {rotations: 2, role: map[string]any{fieldRotationSchedule: "*/30 * * * *"}, during: auth0IsDown},
		"Auth0 hangs when it is due":                    {rotations: 2, role: map[string]any{fieldRotationPeriod: "30m"}, during: auth0Hangs},
		"Auth0 hangs when it is due, with a schedule":   {rotations: 2, role: map[string]any{fieldRotationSchedule: "*/30 * * * *"}, during: auth0Hangs},
		"Auth0 sets it and does not say so": {rotations: 5, role: map[string]any{fieldRotationPeriod: "20m"},
			during: func(env *testEnv, _ *watchedReader) {
				env.auth0.interfereWith(func(op, _ string, commit func()) error {
					if op == "set" && rand.IntN(2) == 0 {
						commit()
						return noAnswer(op)
					}
					return nil
				})
				sleep(6 * time.Hour)
			}},
		"the engine starts anew while it is staged": {rotations: 3, role: map[string]any{fieldRotationPeriod: "10m"},
			during: func(env *testEnv, r *watchedReader) {
				for range 4 {
					sleep(9*time.Minute + 20*time.Second)
					r.engine.Lock()
					env.restart()
					r.engine.Unlock()
				}
				sleep(10 * time.Minute)
			}},
		// Before 1.4.0 the operator goes by the ttl of the first answer that had the
		// present set.
		"its ttl is lowered, and long after that it is rotated": {rotations: 2,
			during: func(env *testEnv, _ *watchedReader) {
				env.write("roles/app", map[string]any{fieldTTL: 3600})
				env.write("rotate/app", nil)
				sleep(3 * time.Hour)
				env.write("roles/app", map[string]any{fieldTTL: 60})
				sleep(2*time.Hour + rand.N(time.Hour))
				env.write("rotate/app", nil)
				sleep(2 * time.Hour)
			}},
		"its ttl is raised, and lowered with a rotation": {rotations: 9, role: map[string]any{fieldRotationPeriod: "20m"},
			during: func(env *testEnv, _ *watchedReader) {
				for i := range 6 {
					env.write("roles/app", map[string]any{fieldTTL: []int{300, 120, 60}[i%3]})
					env.write("rotate/app", nil)
					sleep(rand.N(time.Minute) + 25*time.Minute)
				}
				sleep(20 * time.Minute)
			}},
	}
}

// auth0Hangs when the next rotation is due, for hours: each request takes all of
// the time that the engine has for it.
func auth0Hangs(env *testEnv, _ *watchedReader) {
	sleep(20 * time.Minute)
	env.auth0.interfereWith(func(op, _ string, _ func()) error {
		time.Sleep(30 * time.Second)
		return noAnswer(op)
	})
	sleep(3 * time.Hour)
	env.auth0.interfereWith(nil)
	sleep(3 * time.Hour)
}

// auth0IsDown when the next rotation is due, for hours.
func auth0IsDown(env *testEnv, _ *watchedReader) {
	sleep(20 * time.Minute)
	env.auth0.interfereWith(func(op, _ string, _ func()) error { return noAnswer(op) })
	sleep(3 * time.Hour)
	env.auth0.interfereWith(nil)
	sleep(3 * time.Hour)
}

// TestReadersAreRightAtEveryInstant: whoever reads by these rules has the secret
// that Auth0 accepts when it is set, and ever after; is told of no error; sees
// no change where there is none; and does not read more often than it has to.
func TestReadersAreRightAtEveryInstant(t *testing.T) {
	for history, h := range readHistories() {
		for name, kind := range readersOfAll() {
			if !thorough() && name != "Vault Secrets Operator" {
				continue
			}
			t.Run(history+"/"+name, func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T) {
					r := h.lived(t, name, kind)
					assert.GreaterOrEqual(t, r.env.auth0.count("set"), h.rotations)
					assert.Empty(t, r.errors, "the reader reports errors")
					r.checkReads(h.resting)
					if _, operator := kind.reader.(vso); !operator || kind.path != "static-creds/app" {
						return
					}
					require.NotEmpty(t, r.sets)
					for i := range r.sets[1:] {
						assert.NotEqual(t, r.sets[i], r.sets[i+1], "workloads are restarted for nothing")
					}
					assert.Equal(t, len(r.sets)-1, r.restarts)
				})
			})
		}
	}
}

// lived has a reader live through the history.
func (h readHistory) lived(t *testing.T, name string, kind readerKind) *watchedReader {
	t.Helper()
	env := configuredEnv(t)
	role := map[string]any{fieldClientID: testAppID, fieldTTL: int(readersTTL.Seconds())}
	for field, value := range h.role {
		role[field] = value
	}
	env.write("roles/app", role)
	r := &watchedReader{env: env, name: name, path: kind.path, late: kind.late, onRead: h.onRead}
	accepted := testAppSecret
	env.auth0.whenSet(func(clientID, secret string) {
		if clientID != testAppID {
			return
		}
		assert.True(t, r.holds(secret), "%s lacks the secret that is set in Auth0 at %s", name, time.Now())
		accepted = secret
	})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	sleep(rand.N(readersTTL))
	var running sync.WaitGroup
	running.Go(func() { kind.reader.Run(ctx, r) })
	watch := time.NewTicker(time.Second)
	defer watch.Stop()
	running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-watch.C:
				env.auth0.mu.Lock()
				now := accepted
				env.auth0.mu.Unlock()
				assert.True(t, r.holds(now), "%s lacks the accepted secret at %s", name, time.Now())
			}
		}
	})
	h.during(env, r)
	stop()
	running.Wait()
	synctest.Wait()
	return r
}

// checkReads bounds how often it was read: never more than once a second, and,
// where nothing changes, as a ttl needs.
func (r *watchedReader) checkReads(resting bool) {
	require.Greater(r.env.t, len(r.reads), 2)
	took := r.reads[len(r.reads)-1].Sub(r.reads[0])
	assert.LessOrEqual(r.env.t, len(r.reads)-1, int(took/time.Second), "it spins")
	if resting {
		syncs := 0 // since 1.3.0 the Vault Secrets Operator reads twice in each
		for i := range r.reads[1:] {
			if r.reads[i+1].Sub(r.reads[i]) > time.Second {
				syncs++
			}
		}
		assert.LessOrEqual(r.env.t, syncs, int(took/(readersTTL*2/5)), "it reads without need")
		assert.Len(r.env.t, slices.CompactFunc(r.sets, slices.Equal[[]string]), 1)
	}
}

// TestReadersFollowAChange: a reader that goes by ttl has the accepted secret
// first a few seconds after it was set, whatever the role's ttl, though nothing
// would fail if it came later.
func TestReadersFollowAChange(t *testing.T) {
	for name, role := range map[string]map[string]any{
		"a period":            {fieldRotationPeriod: "10m"},
		"a schedule":          {fieldRotationSchedule: "*/10 * * * *"},
		"made by Auth0":       {fieldRotationPeriod: "10m", fieldSecretSource: "auth0"},
		"made by Auth0, cron": {fieldRotationSchedule: "*/10 * * * *", fieldSecretSource: "auth0"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				role[fieldClientID], role[fieldTTL] = testAppID, 240
				env := configuredEnv(t)
				env.write("roles/app", role)
				r := &watchedReader{env: env, name: name, path: "static-creds/app"}
				set := make(chan string, 10)
				env.auth0.whenSet(func(_, secret string) { set <- secret })
				ctx, stop := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { byTTL.Run(ctx, r) })
				for range 5 {
					secret := <-set
					sleep(3 * time.Second)
					assert.Equal(t, secret, r.first(), "at %s", time.Now())
				}
				stop()
				running.Wait()
			})
		})
	}
}

// TestOverdueRotationTellsReadersToComeBackSoon: while Auth0 is down, nobody is
// told to sleep until the time after next.
func TestOverdueRotationTellsReadersToComeBackSoon(t *testing.T) {
	for _, schedule := range []map[string]any{{fieldRotationPeriod: "2h"}, {fieldRotationSchedule: "0 */2 * * *"}} {
		t.Run(fmt.Sprint(schedule), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := configuredEnv(t)
				role := map[string]any{fieldClientID: testAppID, fieldTTL: 1800}
				for field, value := range schedule {
					role[field] = value
				}
				env.write("roles/app", role)
				env.auth0.interfereWith(func(op, _ string, _ func()) error { return noAnswer(op) })
				sleep(time.Until(time.Now().Truncate(2*time.Hour).Add(2*time.Hour)) + 2*time.Hour)
				for range 600 {
					sleep(time.Second)
					require.LessOrEqual(t, env.read("static-creds/app")[fieldTTL], int64(minLease/time.Second))
				}
			})
		})
	}
}

// TestRestartsInARotation: what is handed out changes three times in a rotation. Who
// does not care for the order sees two changes.
func TestRestartsInARotation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60})
		inOrder, sorted := &watchedReader{env: env, path: "static-creds/app"}, &watchedReader{env: env, path: "static-creds/app"}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { vso{}.Run(ctx, inOrder) })
		running.Go(func() { vso{}.Run(ctx, sortedReader{sorted}) })
		sleep(time.Minute)
		env.write("rotate/app", nil)
		sleep(5 * time.Minute)
		stop()
		running.Wait()
		assert.Equal(t, 3, inOrder.restarts)
		assert.Equal(t, 2, sorted.restarts)
	})
}

// sortedReader reads by a template that has the secrets in the order of the alphabet.
type sortedReader struct{ *watchedReader }

func (r sortedReader) Read(ctx context.Context) (readAnswer, error) {
	answer, err := r.watchedReader.Read(ctx)
	if err == nil {
		secrets := answer.secrets()
		slices.Sort(secrets)
		for field := range answer.Data { // what is in the template, and what the operator goes by
			if !slices.Contains([]string{fieldTTL, fieldRotationPeriod, fieldLastVaultRotation}, field) {
				delete(answer.Data, field)
			}
		}
		answer.Data[fieldClientSecrets] = secrets
	}
	return answer, err
}
