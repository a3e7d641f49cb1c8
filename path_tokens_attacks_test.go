package auth0secrets

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// TestTheEnginesTokenAfterItsAPIMoved: it may have all scopes, and is not handed out for
// the API that the token role names, which was the Management API once.
func TestTheEnginesTokenAfterItsAPIMoved(t *testing.T) {
	for name, changed := range map[string]map[string]any{
		"audience": {fieldAudience: "https://other.example.com/api/v2/"},
		"domain":   {fieldDomain: "other.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			env := configuredEnv(t)
			env.auth0.honoursScope = true
			env.write("token-roles/reader", map[string]any{fieldAudience: "https://" + testDomain + "/api/v2/", fieldScopes: "read:clients"})
			env.read("tokens/reader")
			env.auth0.honoursScope = false
			env.write("config", engineConfig(changed))
			env.refused(400, "role is missing", logical.ReadOperation, "tokens/reader", nil)
		})
	}
}

// TestNoFetchBeginsAfterClean: what waits for those under way would panic, and take the
// mounts along that share the process.
func TestNoFetchBeginsAfterClean(t *testing.T) {
	env := tokenEnv(t, nil)
	env.b.Cleanup(t.Context())
	before := env.got(0)
	env.refused(503, "being stopped", logical.ReadOperation, "tokens/orders", nil)
	assert.Zero(t, env.got(before))
}

// TestASecretThatIsNotKnownYetRefusesNoReader: Auth0 has made one, and its answer was
// lost. Nor does one that was changed outside Vault and is not found yet.
func TestASecretThatIsNotKnownYetRefusesNoReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := tokenEnv(t, nil)
		env.write("roles/shop", map[string]any{fieldSecretSource: "auth0"})
		first := env.read("tokens/orders")[fieldAccessToken]
		sleep(55*time.Minute + 30*time.Second)
		env.auth0.interfereWith(func(op, _ string, commit func()) error {
			if op == "rotate" {
				commit()
				return noAnswer(op)
			}
			return nil
		})
		_, err := env.request(logical.UpdateOperation, "rotate/shop", nil)
		require.Error(t, err)
		resp := env.must(logical.ReadOperation, "tokens/orders", nil)
		assert.Equal(t, first, resp.Data[fieldAccessToken])
		require.Len(t, resp.Warnings, 1)
		assert.Contains(t, resp.Warnings[0], "all client secrets were refused")
		env.auth0.interfereWith(nil)
		sleep(2 * time.Minute)
		resp = env.must(logical.ReadOperation, "tokens/orders", nil)
		assert.NotEqual(t, first, resp.Data[fieldAccessToken])
		assert.Empty(t, resp.Warnings)
	})
}

// TestEachReadOfTokensCountsOnce, whatever comes of it.
func TestEachReadOfTokensCountsOnce(t *testing.T) {
	env := tokenEnv(t, nil)
	env.read("tokens/orders")
	env.refused(400, "does not exist", logical.ReadOperation, "tokens/none", nil)
	env.must(logical.DeleteOperation, "roles/shop", nil)
	env.refused(400, "does not exist", logical.ReadOperation, "tokens/orders", nil)
	env.must(logical.DeleteOperation, "config", nil)
	_, err := env.request(logical.ReadOperation, "tokens/orders", nil)
	require.Error(t, err)
	assert.EqualValues(t, 1, env.b.counters.tokens.Load())
	assert.EqualValues(t, 3, env.b.counters.tokensRefused.Load())
}

// TestSecretsOfANewTenantAreNotSentToTheOldOne by a fetch that is under way while the
// mount moves, and a role of the same name is made there.
func TestSecretsOfANewTenantAreNotSentToTheOldOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := tokenEnv(t, nil)
		second := "first-secret-of-client-2"
		env.auth0.add("client-2", second)
		sent := &sentSecrets{of: map[string][]string{}}
		domain := testDomain
		env.wrapAPI = func(api managementAPI) managementAPI { return &tenantAPI{api, domain, sent} }
		env.write("config", map[string]any{fieldRequestTimeout: "31s"}) // which connects anew
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "app token" {
				time.Sleep(30 * time.Second)
				return refusal("token", 401, "access_denied", "Unauthorized")
			}
			return nil
		})
		go func() { _, _ = env.request(logical.ReadOperation, "tokens/orders", nil) }()
		sleep(time.Second)
		env.must(logical.DeleteOperation, "roles/shop", nil)
		domain = "other.example.com"
		env.write("config", engineConfig(map[string]any{fieldDomain: domain}))
		env.write("roles/shop", map[string]any{fieldClientID: "client-2"})
		sleep(10 * time.Minute)
		assert.NotContains(t, sent.to(testDomain), second)
		_, err := env.request(logical.ReadOperation, "tokens/orders", nil)
		require.Error(t, err)
		assert.Contains(t, sent.to(domain), second)
	})
}

// tenantAPI notes which secrets of applications are sent to a tenant.
type tenantAPI struct {
	managementAPI
	domain string
	sent   *sentSecrets
}

type sentSecrets struct {
	mu sync.Mutex
	of map[string][]string // by domain
}

func (s *sentSecrets) to(domain string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[domain]
}

func (a *tenantAPI) Token(ctx context.Context, r auth0.TokenRequest) (auth0.AccessToken, error) {
	a.sent.mu.Lock()
	a.sent.of[a.domain] = append(a.sent.of[a.domain], r.Secret)
	a.sent.mu.Unlock()
	return a.managementAPI.Token(ctx, r)
}

// TestRolesThatDoNotExistAreNotRemembered, however often they are named.
func TestRolesThatDoNotExistAreNotRemembered(t *testing.T) {
	env := tokenEnv(t, nil)
	env.refused(400, `role "none" does not exist`, logical.UpdateOperation, "token-roles/x", map[string]any{fieldRole: "none", fieldAudience: testAPI})
	_, remembered := env.b.logins.Load("none")
	assert.False(t, remembered)
}

// TestATokenExpiresWhileTheMachineSleeps: the monotonic clock stands still then. A bubble
// has none.
func TestATokenExpiresWhileTheMachineSleeps(t *testing.T) {
	env := tokenEnv(t, nil)
	var slept atomic.Int64
	env.now = func() time.Time { return afterSleep(time.Now(), time.Duration(slept.Load())) }
	env.auth0.now = env.now
	env.restart()
	first := env.read("tokens/orders")
	slept.Store(int64(57 * time.Minute))
	second := env.read("tokens/orders")
	assert.NotEqual(t, first[fieldAccessToken], second[fieldAccessToken])

	env.auth0.interfereWith(func(op, _ string, _ func()) error { return noAnswer(op) })
	slept.Add(int64(56 * time.Minute))
	resp := env.must(logical.ReadOperation, "tokens/orders", nil)
	assert.Equal(t, second[fieldAccessToken], resp.Data[fieldAccessToken])
	assert.LessOrEqual(t, resp.Data[fieldExpiresIn], int64(240))
	assert.LessOrEqual(t, resp.Secret.TTL, 4*time.Minute)
	slept.Add(int64(4 * time.Minute))
	_, err := env.request(logical.ReadOperation, "tokens/orders", nil)
	require.Error(t, err, "it has expired")
}

// afterSleep is a time of which only the wall clock has gone on. Package time has no way
// to make one.
func afterSleep(at time.Time, slept time.Duration) time.Time {
	at = at.Add(slept)
	parts := (*struct { // of a time.Time with both clocks
		wall      uint64
		monotonic int64
	})(unsafe.Pointer(&at))
	parts.monotonic -= int64(slept)
	return at
}
