package auth0secrets

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// The exploration tries every sequence of moves, shortest first, in worlds that are
// small enough for that: one role or two, and the moves of some features that may
// meet. Time is advanced to each next instant that matters. A world that was seen
// before, but for the moment, is not gone into again.

// exploreStates is how many worlds are gone into, of each kind; of those with keys, which
// take long, one in keyedShare of it. EXPLORE=n is another number (make soak).
const exploreStates, keyedShare = 500, 5

// healEvery is how many new worlds there are for each one that is healed.
const healEvery = 4

// steps is a driver that does what is due itself, one thing after the other, so that
// all of an engine is in its hands: it can be put back to where it was.
type steps struct {
	m        *model
	at       time.Time
	times    map[string]time.Time // by the engine's clock
	attended string               // at this moment; "": nothing
	again    time.Time            // what was set for it meanwhile
	mu       sync.Mutex           // for times and again: a rotation of all roles works on several
}

func (s *steps) clock() time.Time { return s.at }

// Set, Forget and Again are the engine's dueTimes.
func (s *steps) Set(key string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key == s.attended {
		if s.again.IsZero() || (!at.IsZero() && at.Before(s.again)) {
			s.again = at
		}
		return
	}
	s.times[key] = at
}

func (s *steps) Forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.times, key)
}

func (s *steps) Again() {
	for _, key := range slices.Sorted(maps.Keys(s.times)) {
		s.Set(key, s.m.engineNow())
	}
}

// circles is how many things can be due at one moment before that is called a circle.
const circles = 1000

func (s *steps) pass(d time.Duration) {
	s.m.b.tokens.flights.Wait()
	end := s.at.Add(d)
	for atOnce := 0; atOnce < circles; atOnce++ {
		key, at := s.nextDue()
		if key == "" || at.After(end) || s.m.world.isStopped() {
			s.at = end
			return
		}
		if at.After(s.at) {
			s.at, atOnce = at, 0
		}
		s.attended, s.again = key, time.Time{}
		delete(s.times, key)
		s.times[key] = time.Time{}
		next := s.m.b.attend(context.Background(), key)
		s.attended = ""
		if _, known := s.times[key]; known {
			s.times[key] = next
			if !s.again.IsZero() && (next.IsZero() || s.again.Before(next)) {
				s.times[key] = s.again
			}
		}
	}
	s.m.breaks(oracleNoLoop, "%d things were due at once", circles)
	s.at = end
}

// nextDue is what is due first, by the true clock.
func (s *steps) nextDue() (key string, at time.Time) {
	for _, k := range slices.Sorted(maps.Keys(s.times)) {
		if t := s.times[k]; !t.IsZero() && (key == "" || t.Before(at)) {
			key, at = k, t
		}
	}
	return key, at.Add(-s.m.ahead())
}

func (s *steps) boot() {
	b := s.m.b
	b.served, b.drift = newServedSets(b.now), newDriftWatch()
	b.tokens, b.tokenRoles = newTokenCache(b.now), newHeldTokenRoles()
	b.bulkNumber.Store(unknownBulkNumber)
	b.connection.Store(nil)
	s.times = map[string]time.Time{}
	for _, key := range []string{dueRoot, dueBulk, storageRoles} {
		s.times[key] = b.now()
	}
}

// nextMove advances time to the next instant that matters: something is due, or
// almost, or a lease ends, or a secret has reached all of Auth0.
func nextMove() move {
	return move{"next", func(m *model) {
		s := m.driver.(*steps)
		var instants []time.Time
		if key, at := s.nextDue(); key != "" {
			instants = append(instants, at.Add(-time.Second), at)
		}
		for i := range m.roles {
			until := m.roles[i].TokenUntil
			for _, k := range m.roles[i].Keys {
				instants = append(instants, k.Everywhere)
			}
			instants = append(instants, m.roles[i].EarlierUntil, until.Add(-modelMinTTL), until.Add(-leastLeft-time.Second), until)
			for _, h := range m.roles[i].Holders {
				instants = append(instants, h.Expires.Add(-time.Second))
			}
		}
		instants = slices.DeleteFunc(instants, func(at time.Time) bool { return !at.After(s.at) })
		if len(instants) > 0 {
			m.pass(slices.MinFunc(instants, time.Time.Compare).Sub(s.at))
		}
	}}
}

// memory is everything at one moment, to go back to.
type memory struct {
	parent *memory
	move   string
	depth  int

	at, invalidated, since time.Time
	skew                   time.Duration
	times                  map[string]time.Time
	storage                map[string][]byte
	apps                   map[string]auth0.Application
	made                   int
	keys                   map[string][]string // at Auth0, by client ID
	keysMade               int64
	every                  []string
	served                 map[string]*servedSet
	drift                  map[string]driftCheck
	tokens                 map[tokenIdentity]tokenEntry
	tokenRoles             map[string]*tokenRoleEntry
	given                  map[string]fakeToken
	bulkNumber             int64
	crashIn                int
	roles                  []modelRole
	fault                  string
}

// explorer is a model that can go back.
type explorer struct {
	*model
	*steps
	storage *logical.InmemStorage
}

func newExplorer(t *testing.T, kind exploredWorld) *explorer {
	env := newEnv(t)
	env.stop()
	m := &model{testEnv: env, world: &world{}}
	s := &steps{m: m, at: time.Date(2027, 3, 1, 1, 0, 0, 0, time.UTC), times: map[string]time.Time{}}
	m.driver = s
	env.inWorld = m.world
	env.b = newPluginBackend(m.engineNow)
	env.b.due, env.b.storage = s, env.engineStorage()
	env.b.jitter = func() float64 { return 0 }
	env.b.wait = func(_ context.Context, d time.Duration) error { s.at = s.at.Add(d); return nil }
	env.wrapAPI = func(api managementAPI) managementAPI { return &modelAPI{api, m} }
	env.b.newAPI, env.b.newKey = env.newAPI, env.newKey
	require.NoError(t, env.b.Setup(context.Background(), env.backendConfig()))
	x := &explorer{model: m, steps: s, storage: env.storage}
	s.boot()
	env.write("config", engineConfig(merged(map[string]any{fieldPropagationDelay: modelDelay.String(), fieldDriftCheckPeriod: modelDrift.String()}, kind.config)))
	m.modelRoles(kind.roles, kind.applications, kind.keyed, kind.exportable)
	m.settle()
	return x
}

// remember is everything as it is now.
func (x *explorer) remember(parent *memory, move string) *memory {
	b := x.b
	mem := &memory{
		parent: parent, move: move, at: x.at, invalidated: b.served.invalidated, since: b.served.servingSince, skew: x.ahead(),
		times: maps.Clone(x.times), storage: map[string][]byte{}, apps: map[string]auth0.Application{}, made: x.auth0.made,
		every: slices.Clip(x.auth0.every), served: maps.Clone(b.served.roles), drift: maps.Clone(b.drift.roles),
		tokens: map[tokenIdentity]tokenEntry{}, tokenRoles: maps.Clone(b.tokenRoles.roles), given: maps.Clone(x.auth0.tokens),
		bulkNumber: b.bulkNumber.Load(), roles: slices.Clone(x.roles), fault: x.fault, crashIn: x.world.left(),
	}
	if parent != nil {
		mem.depth = parent.depth + 1
	}
	for _, key := range x.keys() {
		entry, err := x.storage.Get(context.Background(), key)
		if err == nil && entry != nil {
			mem.storage[key] = entry.Value
		}
	}
	for id, app := range x.auth0.apps {
		mem.apps[id] = *app
	}
	mem.keys, mem.keysMade = map[string][]string{}, x.keysMade.Load()
	for id, keys := range x.auth0.appKeys {
		mem.keys[id] = slices.Clone(*keys)
	}
	for id, e := range b.tokens.entries {
		mem.tokens[id] = *e
	}
	return mem
}

func (x *explorer) keys() []string {
	keys, err := logical.CollectKeys(context.Background(), x.storage)
	if err != nil {
		panic(err)
	}
	slices.Sort(keys)
	return keys
}

// goBack makes everything as it was.
func (x *explorer) goBack(mem *memory) {
	ctx, b := context.Background(), x.b
	for _, key := range x.keys() {
		if _, ok := mem.storage[key]; !ok {
			_ = x.storage.Delete(ctx, key)
		}
	}
	for key, value := range mem.storage {
		_ = x.storage.Put(ctx, &logical.StorageEntry{Key: key, Value: value})
	}
	for id, app := range mem.apps {
		x.auth0.apps[id] = &app
	}
	for id, keys := range mem.keys {
		*x.auth0.appKeys[id] = slices.Clone(keys)
	}
	x.keysMade.Store(mem.keysMade)
	x.auth0.made, x.auth0.every, x.auth0.calls = mem.made, mem.every, nil
	x.at, x.times = mem.at, maps.Clone(mem.times)
	x.skew.Store(int64(mem.skew))
	b.served = newServedSets(b.now)
	b.served.servingSince, b.served.invalidated, b.served.roles = mem.since, mem.invalidated, maps.Clone(mem.served)
	b.drift = newDriftWatch()
	b.drift.roles = maps.Clone(mem.drift)
	b.tokens, b.tokenRoles = newTokenCache(b.now), newHeldTokenRoles()
	for id, e := range mem.tokens {
		b.tokens.entries[id] = &e
	}
	b.tokenRoles.roles = maps.Clone(mem.tokenRoles)
	b.logins.Clear()
	x.auth0.tokens = maps.Clone(mem.given)
	b.bulkNumber.Store(mem.bulkNumber)
	b.connection.Store(nil)
	x.world.goOn(mem.crashIn)
	x.roles, x.fault, x.told = slices.Clone(mem.roles), mem.fault, nil
	x.log.Reset()
	x.events.Events, x.noted = nil, 0
}

// hash is the same for worlds that differ only in the moment, in which secrets there
// are, and in how often they were rotated. With a cron schedule the time of day
// counts.
func (x *explorer) hash(cron bool) [sha256.Size]byte {
	var text strings.Builder
	write := func(parts ...any) { fmt.Fprintln(&text, parts...) }
	inJSON := func(v any) string {
		encoded, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(encoded)
	}
	for _, key := range x.keys() {
		if entry, err := x.storage.Get(context.Background(), key); err == nil && entry != nil {
			write(key, string(entry.Value))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(x.auth0.apps)) {
		write(id, inJSON(x.auth0.apps[id].ClientSecret))
	}
	for _, id := range slices.Sorted(maps.Keys(x.auth0.appKeys)) {
		write(id, inJSON(*x.auth0.appKeys[id]))
	}
	for _, name := range slices.Sorted(maps.Keys(x.b.served.roles)) {
		write(name, inJSON(x.b.served.roles[name].since.Add(-x.ahead())))
	}
	for _, name := range slices.Sorted(maps.Keys(x.b.drift.roles)) {
		write(name, inJSON(x.b.drift.roles[name].next.Add(-x.ahead())))
	}
	for id, e := range x.b.tokens.entries { // one at most in each explored world
		write(id, inJSON(e.token.Value), inJSON(e.token.ExpiresAt.Add(-x.ahead())), e.failure != nil && x.engineNow().Sub(e.failedAt) < tokenPause)
	}
	write(len(x.b.tokenRoles.roles))
	for _, key := range slices.Sorted(maps.Keys(x.times)) {
		write(key, inJSON(x.times[key].Add(-x.ahead())))
	}
	write(inJSON(x.roles), x.fault, x.world.left(), x.ahead(), x.b.bulkNumber.Load() < 0)
	if cron {
		write(x.at.Sub(x.at.Truncate(24 * time.Hour)).Round(time.Second))
	}
	return sha256.Sum256([]byte(canonical(text.String(), x.at)))
}

// canonical is JSON with times as they lie around a moment, and secrets by the order
// in which they appear.
func canonical(text string, now time.Time) string {
	tokens := strings.Split(text, `"`) // those with odd numbers are strings
	seen := map[string]string{}
	for i := 1; i < len(tokens); i += 2 {
		token := tokens[i]
		switch at, err := time.Parse(time.RFC3339Nano, token); {
		case err == nil && at.IsZero():
			tokens[i] = "never"
		case err == nil:
			tokens[i] = max(at.Sub(now).Round(time.Second), -100*24*time.Hour).String()
		case token == "made_at" && i+2 < len(tokens):
			tokens[i+2] = ""
		case token == "version" || token == "number":
			tokens[i+1] = strings.TrimLeft(tokens[i+1], ":0123456789")
		case strings.HasPrefix(token, "-----BEGIN"), len(token) == 64, strings.HasPrefix(token, "first-secret"), strings.HasPrefix(token, "token-number"), strings.HasPrefix(token, "foreign-secret"),
			strings.HasPrefix(token, "made-by-auth0"), strings.HasPrefix(token, "engine-secret"):
			if seen[token] == "" {
				seen[token] = strconv.Itoa(len(seen))
			}
			tokens[i] = "secret " + seen[token]
		}
	}
	return strings.Join(tokens, `"`)
}

// path is how a world came about.
func (m *memory) path() string {
	if m.parent == nil {
		return "a new mount"
	}
	return m.parent.path() + " -> " + m.move
}

// exploration is what was found.
type exploration struct {
	states, tried, depth int
	broken               string // the first promise that was broken, and how it came to it
}

// explore goes into at most so many worlds.
func (x *explorer) explore(moves []move, limit int, cron bool) exploration {
	seen := map[[sha256.Size]byte]bool{x.hash(cron): true}
	front := []*memory{x.remember(nil, "")}
	var found exploration
	for len(front) > 0 && found.states < limit {
		from := front[0]
		front = front[1:]
		found.states++
		found.depth = from.depth + 1
		for _, each := range moves {
			x.goBack(from)
			each.do(x.model)
			x.settle()
			found.tried++
			fresh := false
			if x.broken == "" {
				if key := x.hash(cron); !seen[key] {
					seen[key], fresh = true, true
				}
			}
			if fresh {
				front = append(front, x.remember(from, each.name))
				if len(seen)%healEvery == 0 {
					x.heal()
				}
			}
			if x.broken != "" {
				found.broken = fmt.Sprintf("%s\n  after %s -> %s\n  %s", x.broken, from.path(), each.name, strings.Join(x.told[max(0, len(x.told)-15):], "\n  "))
				return found
			}
		}
	}
	return found
}

// exploredWorld is a small world and what may happen in it.
type exploredWorld struct {
	roles, applications int
	keyed               int // roles of keys there are beside them
	exportable          bool
	config              map[string]any
	role                map[string]any // settings of the first roles
	scopes              []string
	cron                bool
	tokens              bool // there is a token role for the first role
	moves               []move
}

func exploredWorlds() map[string]exploredWorld {
	common := []move{nextMove(), readMove(), faultMove(""), faultMove("lost"), faultMove("unanswered"), faultMove("refused")}
	crashes := []move{crashMove(1), crashMove(2), crashMove(3), crashMove(4)}
	failovers := []move{failoverMove(0), failoverMove(50 * time.Minute), failoverMove(365 * 24 * time.Hour)}
	pause := []move{
		settingsMove("pause", "config", map[string]any{fieldDisableRotation: true}),
		settingsMove("go on", "config", map[string]any{fieldDisableRotation: false}),
	}
	with := func(sets ...[]move) []move { return slices.Concat(append([][]move{common}, sets...)...) }
	seldom := map[string]any{fieldDriftCheckPeriod: "100m"} // to read keys takes long
	nightly := map[string]any{fieldRotationSchedule: "0 3 * * *", fieldRotationWindow: "1h"}
	return map[string]exploredWorld{
		"one role by hand": {roles: 1, applications: 1, moves: with(crashes, failovers,
			[]move{requestMove(0), forceMove(0), driftMove(0), faultMove("rejected"), faultMove("limited"), invalidateMove("role/app0")})},
		"a schedule with a window": {roles: 1, applications: 1, role: nightly, cron: true, moves: with(crashes[:3], failovers[:2], pause,
			[]move{requestMove(0), faultMove("rejected"), faultMove("limited"), timeMove(2 * time.Hour), timeMove(19 * time.Hour)})},
		"a period": {roles: 1, applications: 1, role: map[string]any{fieldRotationPeriod: "1h"}, moves: with(crashes[:3], failovers, pause,
			[]move{requestMove(0), faultMove("limited"), driftMove(0), timeMove(55 * time.Minute)})},
		"secrets that Auth0 makes": {roles: 1, applications: 1, role: map[string]any{fieldSecretSource: "auth0", fieldRotationPeriod: "1h"}, moves: with(crashes, pause,
			[]move{requestMove(0), bulkMove(false), driftMove(0), faultMove("limited"), failoverMove(0), timeMove(time.Hour),
				settingsMove("by vault", "roles/app0", map[string]any{fieldSecretSource: "vault"})})},
		"secrets that Auth0 makes and hides": {roles: 1, applications: 2, role: map[string]any{fieldSecretSource: "auth0"},
			scopes: []string{scopeUpdateClientKeys, scopeReadClients}, moves: with(crashes, []move{
				requestMove(0), faultMove("sets limited"), failoverMove(0), deleteMove(1),
				createMove(1, map[string]any{fieldSecretSource: "auth0", fieldSkipImport: true})})},
		"secrets that cannot be read": {roles: 1, applications: 2, scopes: []string{scopeUpdateClientKeys}, moves: with(crashes, []move{
			requestMove(0), forceMove(0), deleteMove(1), importMove(1), plantMove(1), allowMove(""), allowMove("*"),
			failoverMove(0)})},
		"all roles": {roles: 2, applications: 3, moves: with(crashes[:2], []move{
			bulkMove(false), bulkMove(true), callOffMove(), requestMove(0), driftMove(0), createMove(2, nil), deleteMove(1),
			failoverMove(0), invalidateMove("rotate-all")})},
		"settings": {roles: 1, applications: 1, cron: true, moves: with([]move{
			settingsMove("short ttl", "roles/app0", map[string]any{fieldTTL: "1m"}), settingsMove("long ttl", "roles/app0", map[string]any{fieldTTL: "30m"}),
			settingsMove("nightly", "roles/app0", merged(nightly, map[string]any{fieldRotationPeriod: 0})),
			settingsMove("hourly", "roles/app0", map[string]any{fieldRotationPeriod: "1h", fieldRotationSchedule: ""}),
			settingsMove("by auth0", "roles/app0", map[string]any{fieldSecretSource: "auth0"}),
			settingsMove("by vault", "roles/app0", map[string]any{fieldSecretSource: "vault"}),
			settingsMove("config", "config", map[string]any{fieldRequestTimeout: "20s"}), invalidateMove("config"),
			requestMove(0), forceMove(0), deleteMove(0), createMove(0, nil), crashMove(1), crashMove(2), failoverMove(40 * time.Minute)})},
		"tokens": {roles: 1, applications: 1, tokens: true, moves: with(crashes[:3], []move{
			requestMove(0), forceMove(0), bulkMove(true), driftMove(0), tokenRoleMove(0), deleteTokenRoleMove(0), deleteMove(0), createMove(0, nil),
			faultMove("limited"), timeMove(50 * time.Minute), failoverMove(0), failoverMove(50 * time.Minute),
			invalidateMove(storageRoles + "app0"), invalidateMove(storageTokenRoles + "app0"),
			settingsMove("config", "config", map[string]any{fieldRequestTimeout: "20s"})})},
		"tokens through rotations": {roles: 1, applications: 1, tokens: true, moves: []move{
			nextMove(), readMove(), requestMove(0), forceMove(0), faultMove("lost"), faultMove(""), timeMove(50 * time.Minute)}},
		"keys": {keyed: 1, config: seldom, moves: with(crashes, failovers, []move{
			requestMove(0), forceMove(0), driftMove(0), foreignKeyMove(0), makeRoomMove(0), deleteMove(0), createMove(0, nil),
			faultMove("limited"), faultMove("rejected")})},
		"keys that come to be handed out": {keyed: 1, config: seldom, moves: []move{
			nextMove(), readMove(), settingsMove("exportable", "roles/app0", map[string]any{fieldExportable: true}), requestMove(0),
			settingsMove("not exportable", "roles/app0", map[string]any{fieldExportable: false}), failoverMove(0),
			settingsMove("short ttl", "roles/app0", map[string]any{fieldTTL: "1m"}), settingsMove("long ttl", "roles/app0", map[string]any{fieldTTL: "30m"})}},
		"keys that are handed out": {keyed: 1, exportable: true, config: seldom, moves: with(crashes[:2], failovers[:2], []move{
			requestMove(0), forceMove(0), driftMove(0), makeRoomMove(0), deleteMove(0), createMove(0, nil),
			settingsMove("exportable", "roles/app0", map[string]any{fieldExportable: true}),
			settingsMove("not exportable", "roles/app0", map[string]any{fieldExportable: false}),
			invalidateMove(storageRoles + "app0")})},
		"keys with a period, in a rotation of all roles": {keyed: 1, exportable: true, tokens: true, config: seldom, role: map[string]any{fieldRotationPeriod: "4h"}, moves: with(crashes[:3], pause,
			[]move{bulkMove(false), bulkMove(true), callOffMove(), requestMove(0), driftMove(0), failoverMove(0), failoverMove(50 * time.Minute),
				timeMove(3*time.Hour + 55*time.Minute), faultMove("limited")})},
		"the engine's own secret": {config: map[string]any{fieldRotationPeriod: "1h"}, moves: with(crashes, failovers[:2], pause, []move{
			rootMove(), faultMove("limited"), timeMove(time.Hour), settingsMove("config", "config", map[string]any{fieldRequestTimeout: "20s"})})},
	}
}

// TestExploration keeps every promise in every world that it comes to.
func TestExploration(t *testing.T) {
	limit := exploreStates
	if wanted := os.Getenv("EXPLORE"); wanted != "" {
		var err error
		limit, err = strconv.Atoi(wanted)
		require.NoError(t, err)
	}
	if !thorough() {
		limit /= 200 // it is one goroutine but for the rotation of all roles
	}
	for name, world := range exploredWorlds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := limit
			if world.keyed > 0 {
				limit = max(1, limit/keyedShare)
			}
			found := exploreWorld(t, world, limit)
			t.Logf("%d worlds gone into, %d moves tried, down to %d moves", found.states, found.tried, found.depth)
			require.Empty(t, found.broken)
		})
	}
}

func exploreWorld(t *testing.T, world exploredWorld, limit int) exploration {
	t.Helper()
	x := newExplorer(t, world)
	for i := range world.roles + world.keyed {
		if len(world.role) > 0 {
			x.write("roles/"+x.roles[i].Name, world.role)
		}
	}
	if world.scopes != nil {
		x.auth0.grantScopes(world.scopes...)
		x.write("config", map[string]any{fieldVerifyConnection: true})
	}
	if world.tokens {
		tokenRoleMove(0).do(x.model)
		readMove().do(x.model)
	}
	x.settle()
	require.Empty(t, x.broken)
	return x.explore(world.moves, limit, world.cron)
}
