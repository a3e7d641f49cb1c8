package auth0secrets

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// world is what lies outside the engine: storage and Auth0. It can be stopped
// before or after every write of storage and every request to Auth0, of which it
// keeps count; nothing has an effect from then on, as if the process had been
// killed.
type world struct {
	mu      sync.Mutex
	points  []string // that were passed, such as "before put role/app"
	stopAt  int      // the world stops at this point; 0: never
	stopped bool
	crashed bool // it has stopped once
}

var errStopped = errors.New("the world has stopped")

// pass goes through the points before and after an effect.
func (w *world) pass(what string, effect func() error) error {
	if w.at("before " + what) {
		return errStopped
	}
	err := effect()
	if w.at("after " + what) {
		return errStopped
	}
	return err
}

// at counts a point and says whether the world stands still.
func (w *world) at(point string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return true
	}
	w.points = append(w.points, point)
	w.stopped = len(w.points) == w.stopAt
	w.crashed = w.crashed || w.stopped
	return w.stopped
}

func (w *world) isStopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopped
}

// goOn starts the world again, to stop at a point counted from now.
func (w *world) goOn(stopAt int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.points, w.stopAt, w.stopped = nil, stopAt, false
}

// left is how many points are left until the world stops; 0: it does not.
func (w *world) left() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(0, w.stopAt-len(w.points))
}

func (w *world) passed() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.points)
}

// worldStorage is storage in a world that can stop.
type worldStorage struct {
	logical.Storage
	world *world
}

func (s *worldStorage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	return s.world.pass("put "+entry.Key, func() error { return s.Storage.Put(ctx, entry) })
}

func (s *worldStorage) Delete(ctx context.Context, key string) error {
	return s.world.pass("delete "+key, func() error { return s.Storage.Delete(ctx, key) })
}

func (s *worldStorage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	if s.world.isStopped() {
		return nil, errStopped
	}
	return s.Storage.Get(ctx, key)
}

func (s *worldStorage) List(ctx context.Context, prefix string) ([]string, error) {
	if s.world.isStopped() {
		return nil, errStopped
	}
	return s.Storage.List(ctx, prefix)
}

// worldAPI is Auth0 in a world that can stop. The interfering in requests is
// the world's, so that also what is refused there is a point.
type worldAPI struct {
	managementAPI
	world *world
}

func lost(err error) error {
	if errors.Is(err, errStopped) {
		return noAnswer("request")
	}
	return err
}

func (a *worldAPI) SetSecret(ctx context.Context, clientID, secret string) error {
	return lost(a.world.pass("set secret", func() error { return a.managementAPI.SetSecret(ctx, clientID, secret) }))
}

func (a *worldAPI) RotateSecret(ctx context.Context, clientID string) (secret string, err error) {
	err = lost(a.world.pass("rotate secret", func() error {
		secret, err = a.managementAPI.RotateSecret(ctx, clientID)
		return err
	}))
	return secret, err
}

func (a *worldAPI) Application(ctx context.Context, clientID string) (app *auth0.Application, err error) {
	err = lost(a.world.pass("get application", func() error {
		app, err = a.managementAPI.Application(ctx, clientID)
		return err
	}))
	return app, err
}

func (a *worldAPI) Grant(ctx context.Context) (grant auth0.Grant, err error) {
	err = lost(a.world.pass("log in", func() error {
		grant, err = a.managementAPI.Grant(ctx)
		return err
	}))
	return grant, err
}

func (a *worldAPI) NewToken(ctx context.Context, scopes []string) (token auth0.AccessToken, err error) {
	err = lost(a.world.pass("new token", func() error {
		token, err = a.managementAPI.NewToken(ctx, scopes)
		return err
	}))
	return token, err
}

func (a *worldAPI) Token(ctx context.Context, r auth0.TokenRequest) (token auth0.AccessToken, err error) {
	err = lost(a.world.pass("token", func() error {
		token, err = a.managementAPI.Token(ctx, r)
		return err
	}))
	return token, err
}

func (a *worldAPI) EnableKey(ctx context.Context, clientID, key, algorithm string) error {
	return lost(a.world.pass("enable key", func() error { return a.managementAPI.EnableKey(ctx, clientID, key, algorithm) }))
}

func (a *worldAPI) RetireKey(ctx context.Context, clientID, key string) (found bool, err error) {
	err = a.world.pass("retire key", func() error {
		found, err = a.managementAPI.RetireKey(ctx, clientID, key)
		return err
	})
	return found, lost(err)
}

func (a *worldAPI) EnabledKeys(ctx context.Context, clientID string) (kids []string, err error) {
	err = lost(a.world.pass("enabled keys", func() error {
		kids, err = a.managementAPI.EnabledKeys(ctx, clientID)
		return err
	}))
	return kids, err
}

func (a *worldAPI) AcceptsKey(ctx context.Context, clientID, key, algorithm string) (accepted bool, err error) {
	err = lost(a.world.pass("accepts key", func() error {
		accepted, err = a.managementAPI.AcceptsKey(ctx, clientID, key, algorithm)
		return err
	}))
	return accepted, err
}

// crashScenario is a rotation that is interrupted.
type crashScenario struct {
	role   map[string]any // beside client_id and ttl
	scopes []string       // nil: all
	keyed  bool           // the engine authenticates with a key
	roles  int            // how many there are
	path   string         // what is written to start it
	data   map[string]any
	begins logical.Operation // on it; "": an update
	root   bool              // it is the engine's own
	// inKeys: the roles are of keys. handsOut: and those are handed out. absent: there is
	// no role yet.
	inKeys, handsOut, absent bool
	// Which of the invariants hold throughout: forced and auth0's do not promise
	// all of them.
	leases bool // 3: every live lease holds what Auth0 accepts
	known  bool // 2: what Auth0 accepts is stored at every instant
	once   bool // there is no second rotation
}

func crashScenarios() map[string]crashScenario {
	byAuth0 := map[string]any{fieldSecretSource: string(rotation.Auth0)}
	noRead := []string{scopeUpdateClientKeys, scopeReadClients}
	forced := map[string]any{fieldForce: true}
	return map[string]crashScenario{
		"staged":                  {roles: 1, path: "rotate/app0", leases: true, known: true, once: true},
		"forced":                  {roles: 1, path: "rotate/app0", data: forced, known: true, once: true},
		"by schedule":             {roles: 1, role: map[string]any{fieldRotationPeriod: "150s"}, leases: true, known: true},
		"by auth0":                {roles: 1, role: byAuth0, path: "rotate/app0", once: true},
		"by auth0, not readable":  {roles: 1, role: byAuth0, path: "rotate/app0", scopes: noRead},
		"a key, staged":           {inKeys: true, roles: 1, path: "rotate/app0", leases: true, once: true},
		"a key, handed out":       {inKeys: true, handsOut: true, roles: 1, path: "rotate/app0", leases: true, once: true},
		"a key, forced":           {inKeys: true, roles: 1, path: "rotate/app0", data: forced, once: true},
		"a key, by schedule":      {inKeys: true, handsOut: true, roles: 1, role: map[string]any{fieldRotationPeriod: "150s"}, leases: true},
		"a key, all roles":        {inKeys: true, handsOut: true, roles: 2, path: "rotate-all", leases: true, once: true},
		"a first key":             {inKeys: true, roles: 1, absent: true, path: "roles/app0", leases: true, once: true},
		"a last key":              {inKeys: true, roles: 1, path: "roles/app0", begins: logical.DeleteOperation},
		"all roles":               {roles: 2, path: "rotate-all", leases: true, known: true, once: true},
		"all roles, forced":       {roles: 2, path: "rotate-all", data: forced, known: true, once: true},
		"the engine's own secret": {path: "rotate-root", root: true, known: true, once: true},
		"the engine's own key":    {path: "rotate-root", root: true, keyed: true},
	}
}

// testKeys are private keys, each of two of a few primes: to make more takes long.
var testKeys = sync.OnceValue(func() []string {
	const exponent = 65537
	var primes []*big.Int
	for len(primes) < 10 {
		prime, err := rand.Prime(rand.Reader, assertion.MinKeyBits/2)
		if err != nil {
			panic(err)
		}
		if new(big.Int).Mod(prime, big.NewInt(exponent)).Int64() != 1 { // else there is no key with that exponent
			primes = append(primes, prime)
		}
	}
	var keys []string
	one := big.NewInt(1)
	for i, p := range primes {
		for _, q := range primes[:i] {
			phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
			key := &rsa.PrivateKey{
				PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: exponent},
				D:         new(big.Int).ModInverse(big.NewInt(exponent), phi), Primes: []*big.Int{p, q},
			}
			der, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				panic(err)
			}
			keys = append(keys, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
		}
	}
	return keys
})

// crashEnv is an engine in a world that can stop.
type crashEnv struct {
	*testEnv
	world    *world
	scenario crashScenario
	holders  map[string][]holder
	names    []string

	mu  sync.Mutex
	set map[string][]string // by client ID: the secrets that were set, each once
}

// foreignKey is a key of somebody else that the engine's application may use.
const foreignKey = "a key that is not ours"

func newCrashEnv(t *testing.T, c crashScenario) *crashEnv {
	t.Helper()
	env := &crashEnv{testEnv: newEnv(t), world: &world{}, scenario: c, holders: map[string][]holder{}, set: map[string][]string{}}
	env.stop()
	env.inWorld = env.world
	env.start()
	config := engineConfig(map[string]any{fieldPropagationDelay: "10s", fieldDriftCheckPeriod: "1h"})
	if c.keyed {
		key := testKeys()[0]
		env.auth0.keys, env.auth0.every = []string{key, foreignKey}, append(env.auth0.every, key)
		delete(config, fieldClientSecret)
		config[fieldPrivateKey] = key
		env.auth0.grantScopes(append([]string{scopeUpdateClientKeys, scopeReadClients, scopeReadClientKeys}, auth0.KeyScopes...)...)
	}
	if c.scopes != nil {
		env.auth0.grantScopes(c.scopes...)
	}
	env.write("config", config)
	for i := range c.roles {
		name := fmt.Sprint("app", i)
		id := "client-of-" + name
		env.auth0.add(id, "first-secret-of-"+name)
		role := merged(map[string]any{fieldClientID: id, fieldTTL: "1m", fieldClientSecret: "first-secret-of-" + name}, c.role)
		if c.inKeys {
			env.auth0.addKeyed(id)
			if c.begins == logical.DeleteOperation { // the only one cannot be removed
				env.auth0.addKeyed(id, foreignKey)
			}
			role = merged(map[string]any{fieldClientID: id, fieldTTL: "1m", fieldCredentialType: string(credentialKey), fieldExportable: c.handsOut}, c.role)
		}
		env.names = append(env.names, name)
		if c.absent {
			env.scenario.data = role
			continue
		}
		env.write("roles/"+name, role)
	}
	synctest.Wait()
	env.auth0.whenSet(func(clientID, secret string) {
		env.mu.Lock()
		defer env.mu.Unlock()
		if !slices.Contains(env.set[clientID], secret) {
			env.set[clientID] = append(env.set[clientID], secret)
		}
	})
	return env
}

// begin starts the rotation. That its answer is an error is the crash's doing.
func (env *crashEnv) begin(stopAt int) {
	env.world.goOn(stopAt)
	if env.scenario.path != "" {
		_, err := env.request(cmp.Or(env.scenario.begins, logical.UpdateOperation), env.scenario.path, env.scenario.data)
		if !env.world.isStopped() {
			require.NoError(env.t, err)
		}
	}
}

// pass lets time pass, with readers, until it is over or the world stops. It
// checks what has to hold at every instant.
func (env *crashEnv) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end) && !env.world.isStopped(); {
		for _, name := range env.names {
			if env.scenario.inKeys {
				env.holders[name] = append(env.holders[name], env.keyHolders(name)...)
			} else {
				env.holders[name] = append(env.holders[name], env.newHolder(name))
			}
		}
		sleep(5 * time.Second)
		env.check()
	}
	env.check()
}

// check looks at the invariants.
func (env *crashEnv) check() {
	for _, name := range env.names {
		if env.scenario.inKeys {
			env.checkKeys(name)
			continue
		}
		accepted := env.auth0.secret("client-of-" + name)
		if env.scenario.known {
			require.True(env.t, env.stored(name).Rotation.Holds(rotation.Secret(accepted)), "what Auth0 accepts is not stored")
		}
		live := slices.DeleteFunc(env.holders[name], func(h holder) bool { return !time.Now().Before(h.expires) })
		if env.scenario.leases {
			for _, h := range live {
				require.True(env.t, h.holds(accepted), "a live lease lacks what Auth0 accepts")
			}
		}
		env.holders[name] = live
	}
	if env.scenario.root && !env.scenario.keyed {
		require.True(env.t, env.storedConfig().Rotation.Holds(rotation.Secret(env.auth0.secret(testEngineID))))
	}
}

// recover starts a fresh engine on what is stored.
func (env *crashEnv) recover(stopAt int) {
	env.stop()
	env.world.goOn(stopAt)
	env.start()
	synctest.Wait()
}

// healed checks that all is well in the end: the rotation is through, or never
// began; nothing fails, and the first secret that is served is the one that
// Auth0 accepts.
func (env *crashEnv) healed() {
	status := env.read("status")
	require.Empty(env.t, status[fieldFailing])
	require.Empty(env.t, status[fieldDrifted])
	for _, name := range env.names {
		if env.scenario.inKeys {
			env.healedKeys(name)
			continue
		}
		creds := env.read("creds/" + name)
		require.Equal(env.t, env.auth0.secret("client-of-"+name), creds[fieldClientSecret])
		if env.scenario.once {
			require.LessOrEqual(env.t, env.read("roles/" + name)[fieldVersion], 2, "rotated twice")
		}
	}
	env.mu.Lock()
	defer env.mu.Unlock()
	for clientID, secrets := range env.set {
		if env.scenario.once {
			require.Len(env.t, secrets, 1, "%s was rotated twice", clientID)
		}
	}
	require.True(env.t, env.canLogIn())
	require.NotContains(env.t, env.read("config"), fieldLastError)
	if env.scenario.keyed {
		require.Len(env.t, env.auth0.keys, 2)
		require.Contains(env.t, env.auth0.keys, foreignKey)
	}
}

// keyHolders are an application that holds an assertion and, if keys are handed out, one
// that holds the key.
func (env *crashEnv) keyHolders(name string) []holder {
	set, err := env.b.servedNow(context.Background(), env.engineStorage(), name) // by which assertions/ signs: that takes long
	if err != nil {                                                              // there is none yet, or the world has stopped
		return nil
	}
	holders := []holder{{[]string{keyOf(set.kid())}, time.Now().Add(rotation.AssertionLifetime)}}
	if leased, err := env.request(logical.ReadOperation, credsPrefix+name, nil); err == nil {
		require.True(env.t, env.scenario.handsOut, oracleInside)
		holders = append(holders, holder{[]string{leased.Data[fieldPrivateKey].(string)}, time.Now().Add(leased.Secret.TTL)})
	}
	return holders
}

// ours are the keys of a role's application that are not somebody else's.
func (env *crashEnv) ours(name string) []string {
	return slices.DeleteFunc(env.auth0.keysAt("client-of-"+name), func(key string) bool { return key == foreignKey })
}

// checkKeys looks at the invariants of a role of keys.
func (env *crashEnv) checkKeys(name string) {
	accepted := env.ours(name)
	role := env.stored(name)
	require.LessOrEqual(env.t, len(accepted), 2, oracleTwoKeys)
	live := slices.DeleteFunc(env.holders[name], func(h holder) bool { return !time.Now().Before(h.expires) })
	env.holders[name] = live
	if role == nil {
		return
	}
	for _, key := range accepted {
		require.True(env.t, role.Rotation.Holds(rotation.Secret(key)), "what Auth0 accepts is not stored")
	}
	if env.scenario.leases {
		for _, h := range live {
			require.True(env.t, slices.Contains(accepted, h.secrets[0]), oracleHeldKey)
		}
	}
}

// healedKeys is healed for a role of keys.
func (env *crashEnv) healedKeys(name string) {
	if env.stored(name) == nil {
		if deleted := env.scenario.begins == logical.DeleteOperation; !deleted || !env.world.crashed {
			require.True(env.t, deleted || env.scenario.absent)
			require.Empty(env.t, env.ours(name), oracleOneKey)
		}
		return
	}
	signed := env.read(assertionsPrefix + name)
	require.True(env.t, slices.Contains(env.ours(name), keyOf(signed[fieldKID].(string))), oracleHeldKey)
	if env.scenario.once {
		require.Len(env.t, env.ours(name), 1, oracleOneKey)
		require.LessOrEqual(env.t, env.read("roles/" + name)[fieldVersion], 2, "rotated twice")
	}
}

// crashTime is how long a scenario takes at most, and how long recovery does.
const crashTime = 3 * time.Minute

// TestEveryCrashPoint stops the world before and after every storage write and
// every request to Auth0 of each rotation, and lets a fresh engine recover; and
// again at every point of that recovery. The points are found by a run without a
// crash, so that a new step cannot escape. If it is not to be thorough, it stops once,
// and at every third point.
func TestEveryCrashPoint(t *testing.T) {
	for name, scenario := range crashScenarios() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var points []string
			bubble(t, func(t *testing.T) {
				env := newCrashEnv(t, scenario)
				env.begin(0)
				env.pass(crashTime)
				env.healed()
				points = env.world.passed()
			})
			require.Greater(t, len(points), 3, "the scenario has to do something")
			crashes := 0
			for first := range points {
				if !thorough() && first%3 != 0 {
					continue
				}
				var second []string
				bubble(t, func(t *testing.T) { second = crashTwice(t, scenario, first+1, 0) })
				crashes++
				if !thorough() {
					continue
				}
				for again := range second {
					// Each role of two alone is crashed at every two points by the other scenarios.
					if scenario.inKeys && scenario.roles > 1 && again%5 != first%5 {
						continue
					}
					bubble(t, func(t *testing.T) { crashTwice(t, scenario, first+1, again+1) })
					crashes++
				}
			}
			t.Logf("%d crash points (%s), %d runs with one crash or two", len(points), strings.Join(points, ", "), crashes)
		})
	}
}

// crashTwice stops the world at a point of the rotation and, unless it is 0, at
// one of the recovery. It returns the points of that.
func crashTwice(t *testing.T, scenario crashScenario, first, again int) []string {
	t.Helper()
	env := newCrashEnv(t, scenario)
	env.begin(first)
	env.pass(crashTime)
	// Roles of one mount go on side by side: of several, each run has an order of
	// its own, and maybe some steps less.
	sameEachTime := scenario.roles < 2
	if sameEachTime {
		require.True(t, env.world.isStopped(), "point %d is not reached", first)
	}
	env.recover(again)
	env.pass(crashTime)
	points := env.world.passed()
	if again > 0 {
		if sameEachTime {
			require.True(t, env.world.isStopped(), "point %d of the recovery is not reached", again)
		}
		env.recover(0)
	}
	env.pass(2 * crashTime)
	env.healed()
	if t.Failed() {
		t.Logf("crashed at point %d and at point %d of the recovery", first, again)
	}
	return points
}
