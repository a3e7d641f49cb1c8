package auth0secrets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/helper/errutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/answers"
	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/rotation"
)

const (
	testDomain       = "example.eu.auth0.com"
	testEngineID     = "engineengineengineengineengine00"
	testEngineSecret = "engine-secret-engine-secret-engine-secret"
	testAppID        = "appappappappappappappappappapp00"
	testAppSecret    = "initial-secret-of-the-application"
)

// fakeAuth0 stands for Auth0 behind the domain interface: applications with
// their secrets, and a place to interfere with each request. It is shared by
// all clients that a backend makes. It lives in the process because a bubble's clock
// stands still while one of its goroutines waits for a network; tests that need no
// clock of their own, but answers as they are on the wire, have the simulated tenant
// (tenantEnv).
type fakeAuth0 struct {
	mu     sync.Mutex
	scopes []string
	grant  error
	apps   map[string]*auth0.Application
	// interfere is asked before a request takes effect. Whatever it returns is
	// the request's error; it may call commit to let it take effect all the same.
	interfere    func(op, clientID string, commit func()) error
	calls        []string
	every        []string // every secret that was ever set
	made         int
	honoursScope bool
	deaf         bool                 // requests go on after their context has ended
	life         time.Duration        // of tokens; 0: they do not say
	tokens       map[string]fakeToken // that were given
	now          func() time.Time     // by the engine's clock
	clock        func() time.Time     // the true one
	keys         []string             // private keys by which the engine may log in
	appKeys      map[string]*[]string // by client ID: private keys by which another application may
	onLogin      func(auth0.Config) error
	onSet        func(clientID, secret string) // called with the lock held, when a secret takes effect
}

func newFakeAuth0() *fakeAuth0 {
	f := &fakeAuth0{
		scopes: []string{scopeUpdateClientKeys, scopeReadClients, scopeReadClientKeys},
		apps:   map[string]*auth0.Application{}, appKeys: map[string]*[]string{},
		life: 24 * time.Hour, tokens: map[string]fakeToken{}, now: time.Now, clock: time.Now,
	}
	f.add(testAppID, testAppSecret)
	f.add(testEngineID, testEngineSecret)
	return f
}

// fakeClient is the fake Auth0 as seen with one configuration: it logs in with
// the secrets of that.
type fakeClient struct {
	*fakeAuth0
	config auth0.Config
}

func (c *fakeClient) Grant(ctx context.Context) (auth0.Grant, error) {
	c.mu.Lock()
	app, onLogin := c.apps[c.config.ClientID], c.onLogin
	accepted := app == nil || slices.Contains(c.config.Secrets, *app.ClientSecret) ||
		slices.ContainsFunc(c.config.Secrets, func(key string) bool { return slices.Contains(c.keys, key) })
	c.mu.Unlock()
	if onLogin != nil {
		if err := onLogin(c.config); err != nil {
			return auth0.Grant{}, err
		}
	}
	if !accepted {
		return auth0.Grant{}, refusal("token", 401, "access_denied", "Unauthorized")
	}
	return c.fakeAuth0.Grant(ctx)
}

func (f *fakeAuth0) add(clientID, secret string) *auth0.Application {
	no, method := false, "client_secret_post"
	app := &auth0.Application{
		ClientID: clientID, AppType: "regular_web", Global: &no, TokenEndpointAuthMethod: &method,
		JWTConfiguration: &auth0.JWTConfiguration{Alg: "RS256", SecretEncoded: &no}, ClientSecret: &secret,
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.apps[clientID] = app
	f.every = append(f.every, secret)
	return app
}

func (f *fakeAuth0) secret(clientID string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *f.apps[clientID].ClientSecret
}

func (f *fakeAuth0) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, call := range f.calls {
		if call == op {
			n++
		}
	}
	return n
}

// whenSet is called when a secret takes effect, from now on.
func (f *fakeAuth0) whenSet(fn func(clientID, secret string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onSet = fn
}

func (f *fakeAuth0) grantScopes(scopes ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scopes = scopes
}

func (f *fakeAuth0) has(scope string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.scopes, scope)
}

// interfereWith sets what happens to requests from now on; nil: nothing.
func (f *fakeAuth0) interfereWith(fn func(op, clientID string, commit func()) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.interfere = fn
}

func (f *fakeAuth0) request(ctx context.Context, op, clientID string, commit func()) error {
	f.mu.Lock()
	f.calls = append(f.calls, op)
	interfere := f.interfere
	f.mu.Unlock()
	locked := func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		commit()
	}
	if interfere != nil {
		if err := interfere(op, clientID, locked); err != nil {
			return err
		}
	}
	if ctx.Err() != nil && !f.deaf {
		return noAnswer(op)
	}
	f.mu.Lock()
	_, known := f.apps[clientID]
	f.mu.Unlock()
	if !known {
		return refusal(op, 404, auth0.CodeUnknownApplication, "The client does not exist")
	}
	locked()
	return nil
}

func (f *fakeAuth0) Grant(context.Context) (auth0.Grant, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "grant")
	return auth0.Grant{Scopes: f.scopes, ExpiresAt: time.Now().Add(24 * time.Hour)}, f.grant
}

func (f *fakeAuth0) Application(ctx context.Context, clientID string) (*auth0.Application, error) {
	var app auth0.Application
	err := f.request(ctx, "get", clientID, func() { app = f.seen(*f.apps[clientID]) })
	if err == nil && !f.has(scopeReadClientKeys) && !f.has(scopeReadClients) {
		return nil, refusal("get application", 403, auth0.CodeInsufficientScope, "Insufficient scope, expected any of: read:clients")
	}
	return &app, err
}

func (f *fakeAuth0) set(clientID, secret string) {
	f.apps[clientID].ClientSecret = &secret
	f.every = append(f.every, secret)
	if f.onSet != nil {
		f.onSet(clientID, secret)
	}
}

func (f *fakeAuth0) SetSecret(ctx context.Context, clientID, secret string) error {
	return f.request(ctx, "set", clientID, func() { f.set(clientID, secret) })
}

func (f *fakeAuth0) RotateSecret(ctx context.Context, clientID string) (string, error) {
	var made string
	err := f.request(ctx, "rotate", clientID, func() {
		f.made++
		made = fmt.Sprintf("made-by-auth0-%d", f.made)
		f.set(clientID, made)
	})
	if !f.has(scopeReadClientKeys) {
		made = ""
	}
	return made, err
}

func (f *fakeAuth0) EnableKey(ctx context.Context, clientID, key, _ string) error {
	full := false
	err := f.request(ctx, "enable", clientID, func() {
		keys := f.keysOf(clientID)
		switch {
		case slices.Contains(*keys, key):
		case len(*keys) >= 2 && clientID != testEngineID: // the engine's tenant has the add-on
			full = true
		default:
			f.every = append(f.every, key)
			*keys = append(*keys, key)
		}
	})
	if err == nil && full {
		return fmt.Errorf("%w: two are in use", auth0.ErrNoRoom)
	}
	return err
}

// keysOf are the keys that an application uses. f.mu is held.
func (f *fakeAuth0) keysOf(clientID string) *[]string {
	if clientID == testEngineID {
		return &f.keys
	}
	if f.appKeys[clientID] == nil {
		f.appKeys[clientID] = &[]string{}
	}
	return f.appKeys[clientID]
}

// addKeyed adds an application that authenticates by private_key_jwt, with keys of its
// own.
func (f *fakeAuth0) addKeyed(clientID string, keys ...string) {
	app := f.add(clientID, "a secret that nobody uses")
	f.mu.Lock()
	defer f.mu.Unlock()
	app.TokenEndpointAuthMethod, app.ClientSecret = nil, nil
	app.ClientAuthenticationMethods = map[string]json.RawMessage{"private_key_jwt": json.RawMessage(`{"credentials":[{"id":"cred_1"}]}`)}
	f.appKeys[clientID] = &keys
	f.scopes = append(f.scopes, auth0.KeyScopes...)
}

// keysAt are the keys that an application uses.
func (f *fakeAuth0) keysAt(clientID string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(*f.keysOf(clientID))
}

// EnabledKeys gives the kids of an application's keys.
func (f *fakeAuth0) EnabledKeys(ctx context.Context, clientID string) (kids []string, err error) {
	err = f.request(ctx, "enabled", clientID, func() {
		for _, key := range *f.keysOf(clientID) {
			kids = append(kids, knownKID(key))
		}
	})
	return kids, err
}

// AcceptsKey tells whether a key is one of the application's.
func (f *fakeAuth0) AcceptsKey(ctx context.Context, clientID, key, _ string) (accepted bool, err error) {
	err = f.request(ctx, "accepts key", clientID, func() { accepted = slices.Contains(*f.keysOf(clientID), key) })
	return accepted, err
}

// remove removes a key of an application, as somebody does in the dashboard.
func (f *fakeAuth0) remove(clientID, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	keys := f.keysOf(clientID)
	*keys = slices.DeleteFunc(slices.Clone(*keys), func(k string) bool { return k == key })
}

// verifies tells whether an assertion is by a key of the application's. f.mu is held.
func (f *fakeAuth0) verifies(clientID, signed string) bool {
	token, err := jwt.ParseSigned(signed, []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.PS256})
	return err == nil && slices.ContainsFunc(*f.keysOf(clientID), func(text string) bool {
		key, err := assertion.ParsePrivateKey(text)
		return err == nil && token.Headers[0].KeyID == kidOf(rotation.Secret(text)) && token.Claims(key.Public(), &jwt.Claims{}) == nil
	})
}

func (f *fakeAuth0) RetireKey(ctx context.Context, clientID, key string) (found bool, err error) {
	only := false
	err = f.request(ctx, "retire", clientID, func() {
		keys := f.keysOf(clientID)
		found = slices.Contains(*keys, key)
		if only = found && len(*keys) == 1; !only {
			*keys = slices.DeleteFunc(*keys, func(k string) bool { return k == key })
		}
	})
	if err == nil && only {
		return true, fmt.Errorf("%w: nothing was removed", auth0.ErrOnlyKey)
	}
	return found, err
}

func (f *fakeAuth0) Accepts(ctx context.Context, clientID, secret string) (accepted bool, err error) {
	err = f.request(ctx, "accepts", clientID, func() { accepted = *f.apps[clientID].ClientSecret == secret })
	return accepted, err
}

// seen is an application as a token with the scopes granted sees it. f.mu is held.
func (f *fakeAuth0) seen(app auth0.Application) auth0.Application {
	if app.ClientSecret != nil {
		secret := *app.ClientSecret
		app.ClientSecret = &secret
	}
	if !slices.Contains(f.scopes, scopeReadClientKeys) {
		app.ClientSecret, app.Hidden = nil, append(slices.Clone(app.Hidden), fieldClientSecret)
	}
	return app
}

func (f *fakeAuth0) NewToken(_ context.Context, scopes []string) (auth0.AccessToken, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "token")
	token := f.issue(auth0.TokenRequest{ClientID: testEngineID}, f.now())
	if f.honoursScope && len(scopes) > 0 {
		token.Scopes = slices.DeleteFunc(slices.Clone(f.scopes), func(s string) bool { return !slices.Contains(scopes, s) })
	}
	return token, f.grant
}

// issue makes a token that counts from when it was asked for. f.mu is held.
func (f *fakeAuth0) issue(r auth0.TokenRequest, asked time.Time) auth0.AccessToken {
	f.made++
	token := auth0.AccessToken{Value: fmt.Sprintf("token-number-%d.", f.made), Scopes: f.scopes}
	if f.life > 0 {
		token.ExpiresAt = asked.Add(f.life)
	}
	r.Secret, r.Assertion = "", ""
	f.every, f.tokens[token.Value] = append(f.every, token.Value), fakeToken{r, f.clock().Add(f.life)}
	return token
}

// fakeToken is a token that was given: for what, and until when it is accepted.
type fakeToken struct {
	auth0.TokenRequest
	until time.Time
}

// Token takes the present secret of an application, and grants the scopes of all.
func (f *fakeAuth0) Token(ctx context.Context, r auth0.TokenRequest) (token auth0.AccessToken, err error) {
	accepted, asked := false, f.now()
	err = f.request(ctx, "app token", r.ClientID, func() {
		secret := f.apps[r.ClientID].ClientSecret
		if accepted = secret != nil && *secret == r.Secret || r.Assertion != "" && f.verifies(r.ClientID, r.Assertion); accepted {
			token = f.issue(r, asked)
		}
	})
	if err == nil && !accepted {
		err = refusal("token", 401, "access_denied", "Unauthorized")
	}
	return token, err
}

func (f *fakeAuth0) Applications(_ context.Context, page, perPage int) (auth0.ApplicationPage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "list")
	if !slices.Contains(f.scopes, scopeReadClients) && !slices.Contains(f.scopes, scopeReadClientKeys) {
		return auth0.ApplicationPage{}, refusal("list applications", 403, auth0.CodeInsufficientScope, "Insufficient scope, expected any of: read:clients")
	}
	ids := slices.Sorted(maps.Keys(f.apps))
	found := auth0.ApplicationPage{Total: len(ids)}
	for _, id := range ids[min(page*perPage, len(ids)):min((page+1)*perPage, len(ids))] {
		found.Applications = append(found.Applications, f.seen(*f.apps[id]))
	}
	return found, nil
}

func (f *fakeAuth0) Close() {}

func (f *fakeAuth0) TokenExpiresAt() time.Time { return time.Now().Add(time.Hour) }

func (f *fakeAuth0) RateLimit() auth0.RateLimit {
	return auth0.RateLimit{Limit: 50, Remaining: 49, SeenAt: time.Now()}
}

func refusal(op string, status int, code, message string) *auth0.Error {
	return &auth0.Error{Class: auth0.Refused, Op: op, Status: status, Code: code, Message: message}
}

func noAnswer(op string) *auth0.Error {
	return &auth0.Error{Class: auth0.Ambiguous, Op: op, Message: "connection lost"}
}

// backoffMin is the shortest wait after a failure.
const backoffMin = 10 * time.Second

// testEnv is a backend on storage and a fake Auth0. Its clock is that of the
// test: run it in a synctest bubble to have time under control.
type testEnv struct {
	t       *testing.T
	b       *pluginBackend
	storage *logical.InmemStorage
	auth0   *fakeAuth0
	system  *logical.StaticSystemView
	now     func() time.Time                  // nil: time.Now
	inWorld *world                            // that can stop; nil: none
	wrapAPI func(managementAPI) managementAPI // nil: as it is
	hooks   *hookedStorage                    // to see and delay the engine's use of storage; nil: none

	realAPI  bool // the real client, not the fake
	noJitter bool // retries come as early as they can
	keysMade atomic.Int64
	log      *sharedBuffer
	events   *logical.MockEventSender

	made sync.Map // of madeOf, by what it is
}

// madeOf is what was made of a stored entry.
type madeOf struct {
	raw  []byte
	made any
}

// once makes something of a stored entry, again only when the entry has changed: most of
// the time of the oracles went into that.
func once[T any](env *testEnv, what string, raw []byte, derive func() T) T {
	if last, ok := env.made.Load(what); ok && bytes.Equal(last.(madeOf).raw, raw) {
		return last.(madeOf).made.(T)
	}
	made := derive()
	env.made.Store(what, madeOf{raw, made})
	return made
}

// stored is a role as it is stored, not to be changed. Nil: there is none.
func (env *testEnv) stored(name string) *roleEntry {
	return decoded(env, storageRoles+name, func(storage logical.Storage) (*roleEntry, error) {
		return readRole(context.Background(), storage, name)
	})
}

// storedConfig is the configuration as it is stored, not to be changed. Nil: there is none.
func (env *testEnv) storedConfig() *configEntry {
	return decoded(env, storageConfig, func(storage logical.Storage) (*configEntry, error) {
		return readConfig(context.Background(), storage)
	})
}

func decoded[E any](env *testEnv, key string, read func(logical.Storage) (*E, error)) *E {
	raw, err := env.storage.Get(context.Background(), key)
	if err != nil || raw == nil {
		require.NoError(env.t, err)
		return nil
	}
	return once(env, key, raw.Value, func() *E {
		entry, err := read(oneEntry{raw: raw})
		require.NoError(env.t, err)
		return entry
	})
}

// oneEntry is storage of one entry.
type oneEntry struct {
	logical.Storage
	raw *logical.StorageEntry
}

func (s oneEntry) Get(context.Context, string) (*logical.StorageEntry, error) { return s.raw, nil }

// sharedBuffer is a buffer that can be read while somebody writes.
type sharedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *sharedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *sharedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func (b *sharedBuffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buffer.Reset()
}

// newEnv starts an engine that is not configured.
func newEnv(t *testing.T) *testEnv {
	t.Helper()
	env := &testEnv{
		t: t, storage: &logical.InmemStorage{}, auth0: newFakeAuth0(), log: &sharedBuffer{}, events: logical.NewMockEventSender(),
		system: &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour,
			PluginEnvironment: &logical.PluginEnvironment{VaultVersion: "1.21.0"}},
	}
	env.start()
	t.Cleanup(env.stop)
	return env
}

// configuredEnv starts an engine with a configuration.
func configuredEnv(t *testing.T) *testEnv {
	t.Helper()
	env := newEnv(t)
	env.write("config", map[string]any{
		fieldDomain: testDomain, fieldClientID: testEngineID, fieldClientSecret: testEngineSecret,
	})
	return env
}

func (env *testEnv) start() {
	if env.now == nil {
		env.now = time.Now
	}
	env.b = newPluginBackend(env.now)
	env.b.newAPI = env.newAPI
	if env.noJitter {
		env.b.jitter = func() float64 { return 0 }
	}
	env.b.newKey = env.newKey
	require.NoError(env.t, env.b.Setup(context.Background(), env.backendConfig()))
	require.NoError(env.t, env.b.Initialize(context.Background(), &logical.InitializationRequest{Storage: env.engineStorage()}))
}

// newKey gives one key after the other.
func (env *testEnv) newKey(int) (string, error) {
	return testKeys()[int(env.keysMade.Add(1))%len(testKeys())], nil
}

// newAPI is Auth0 as an engine sees it: the fake one, unless realAPI is set.
func (env *testEnv) newAPI(c auth0.Config) (managementAPI, error) {
	if env.realAPI {
		return auth0.New(c)
	}
	var api managementAPI = &fakeClient{env.auth0, c}
	if env.inWorld != nil {
		api = &worldAPI{api, env.inWorld}
	}
	if env.wrapAPI != nil {
		api = env.wrapAPI(api)
	}
	return api, nil
}

func (env *testEnv) backendConfig() *logical.BackendConfig {
	return &logical.BackendConfig{
		System:       env.system,
		StorageView:  env.engineStorage(),
		EventsSender: env.events,
		Logger:       hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: env.log}),
	}
}

// engineStorage is storage as the engine has it.
func (env *testEnv) engineStorage() logical.Storage {
	switch {
	case env.hooks != nil:
		return env.hooks
	case env.inWorld != nil:
		return &worldStorage{env.storage, env.inWorld}
	default:
		return env.storage
	}
}

// hookedStorage calls a function before each read and each write.
type hookedStorage struct {
	logical.Storage
	get, put hook
}

// hook is a function that is called with a key; none: nothing happens.
type hook struct {
	atomic.Pointer[func(key string) error]
}

func (h *hook) set(fn func(key string) error) { h.Store(&fn) }
func (h *hook) unset()                        { h.Store(nil) }

func (h *hook) call(key string) error {
	if fn := h.Load(); fn != nil {
		return (*fn)(key)
	}
	return nil
}

func (h *hookedStorage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	if err := h.get.call(key); err != nil {
		return nil, err
	}
	return h.Storage.Get(ctx, key)
}

func (h *hookedStorage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	if err := h.put.call(entry.Key); err != nil {
		return err
	}
	return h.Storage.Put(ctx, entry)
}

// stop ends the engine, and checks what has to hold whenever one ends: no
// secret is in its log, none in an event, and no token in storage.
func (env *testEnv) stop() {
	env.b.Cleanup(context.Background())
	env.noSecretIn("the log", env.log.String())
	var events strings.Builder
	for _, event := range env.events.Events {
		fmt.Fprintln(&events, event.Type, event.Event)
	}
	env.noSecretIn("an event", events.String())
	env.noTokenInStorage()
}

func (env *testEnv) noTokenInStorage() {
	keys, err := logical.CollectKeys(context.Background(), env.storage)
	require.NoError(env.t, err)
	for _, key := range keys {
		entry, err := env.storage.Get(context.Background(), key)
		require.NoError(env.t, err)
		for token := range env.auth0.tokens {
			require.NotContains(env.t, string(entry.Value), token, "a token is in storage")
		}
	}
}

// withoutJitter starts a fresh engine whose retries come at the same time always.
func (env *testEnv) withoutJitter() {
	env.noJitter = true
	env.restart()
}

// restart starts a fresh engine on what is stored.
func (env *testEnv) restart() {
	env.stop()
	env.start()
}

// secrets is every secret that the engine has had to do with.
func (env *testEnv) secrets() []string {
	env.auth0.mu.Lock()
	secrets := append([]string{testEngineSecret}, env.auth0.every...)
	env.auth0.mu.Unlock()
	names, err := env.storage.List(context.Background(), storageRoles)
	if err != nil {
		return secrets
	}
	for _, name := range names {
		entry, err := env.storage.Get(context.Background(), storageRoles+name)
		if err != nil || entry == nil {
			continue
		}
		secrets = append(secrets, once(env, "secrets of "+name, entry.Value, func() []string { return secretsIn(entry.Value) })...)
	}
	return secrets
}

// secretsIn are those in a role's entry.
func secretsIn(entry []byte) (secrets []string) {
	for _, stored := range storedSecret.FindAllSubmatch(entry, -1) {
		var secret string
		if json.Unmarshal(stored[1], &secret) == nil {
			secrets = append(secrets, secret)
		}
	}
	return secrets
}

// storedSecret finds the secrets in a role's entry. To decode all of it, for each
// answer of each test, would take as long as all else that the tests do.
var storedSecret = regexp.MustCompile(`"value":("(?:[^"\\]|\\.)*")`)

func (env *testEnv) noSecretIn(where, text string) {
	env.t.Helper()
	for _, secret := range env.secrets() {
		if lines := strings.Split(secret, "\n"); len(lines) > 8 { // a key: JSON and logs have its lines in forms of their own
			secret = lines[8]
		}
		if len(secret) > 5 && strings.Contains(text, secret) { // shorter ones stand for words
			env.t.Fatalf("a secret is in %s: %s", where, strings.ReplaceAll(text, secret, "<SECRET>"))
		}
	}
}

// request is the one way in which tests reach the engine. It does what Vault
// does with a write, and checks every answer: against its declared schema, and
// for secrets where there must be none. Errors must have a form that survives
// the plugin boundary.
func (env *testEnv) request(operation logical.Operation, path string, data map[string]any) (*logical.Response, error) {
	env.t.Helper()
	ctx := context.Background()
	req := &logical.Request{Operation: operation, Path: path, Data: data, Storage: env.engineStorage(), MountPoint: "auth0/"}
	if operation == logical.UpdateOperation {
		found, exists, err := env.b.HandleExistenceCheck(ctx, req)
		var user errutil.UserError // this one type survives the plugin boundary here
		if errors.As(err, &user) {
			return nil, logical.CodedError(400, user.Error())
		}
		if err != nil && !errors.Is(err, logical.ErrUnsupportedPath) { // which Vault leaves to the request
			return nil, err
		}
		if found && !exists {
			req.Operation = logical.CreateOperation
		}
	}
	resp, err := env.b.HandleRequest(ctx, req)
	if err == nil && resp.IsError() {
		err = logical.CodedError(400, resp.Error().Error())
	}
	if err != nil {
		env.noSecretIn("an error", err.Error())
		return nil, err
	}
	var answer map[string]any
	if resp != nil {
		answer = resp.Data
		if !strings.Contains(path, "creds/") && !strings.HasPrefix(path, "tokens/") {
			shown, err := json.Marshal(resp)
			require.NoError(env.t, err)
			env.noSecretIn("the answer to "+path, string(shown))
			if text, ok := answer[logical.HTTPRawBody].([]byte); ok {
				env.noSecretIn("the answer to "+path, string(text))
			}
		}
	}
	if resp != nil || operation != logical.ReadOperation {
		answers.Check(env.t, env.b, req.Operation, path, answer)
	}
	return resp, nil
}

func (env *testEnv) must(operation logical.Operation, path string, data map[string]any) *logical.Response {
	env.t.Helper()
	resp, err := env.request(operation, path, data)
	require.NoError(env.t, err)
	return resp
}

func (env *testEnv) write(path string, data map[string]any) *logical.Response {
	env.t.Helper()
	return env.must(logical.UpdateOperation, path, data)
}

func (env *testEnv) read(path string) map[string]any {
	env.t.Helper()
	resp := env.must(logical.ReadOperation, path, nil)
	require.NotNil(env.t, resp, "nothing at %s", path)
	return resp.Data
}

// refused checks that a request fails with a status and a text.
func (env *testEnv) refused(status int, text string, operation logical.Operation, path string, data map[string]any) {
	env.t.Helper()
	_, err := env.request(operation, path, data)
	requireCoded(env.t, err, status, text)
}

// requireCoded checks an error as it reaches the caller: bare, with its status.
func requireCoded(t *testing.T, err error, status int, text string) {
	t.Helper()
	require.Error(t, err)
	coded, ok := err.(logical.HTTPCodedError) //nolint:errorlint // only a bare one keeps its status over the plugin boundary
	require.True(t, ok, "not a bare coded error: %T %v", err, err)
	require.Equal(t, status, coded.Code(), err.Error())
	require.Contains(t, err.Error(), text)
}

// holder is an application that reads credentials with a lease, as Vault Agent
// does for it.
type holder struct {
	secrets []string
	expires time.Time
}

func (env *testEnv) newHolder(role string) holder {
	env.t.Helper()
	resp := env.must(logical.ReadOperation, "creds/"+role, nil)
	require.False(env.t, resp.Secret.Renewable, "a lease must not be renewable")
	require.Positive(env.t, resp.Secret.TTL)
	return holder{
		secrets: resp.Data[fieldClientSecrets].([]string),
		expires: time.Now().Add(resp.Secret.TTL),
	}
}

func (h holder) holds(secret string) bool {
	return slices.Contains(h.secrets, secret)
}

// sleep lets time pass and the engine do what it has to do in it.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// bubble runs a test with a clock of its own.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}
