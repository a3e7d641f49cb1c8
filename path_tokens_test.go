package auth0secrets

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
)

const testAPI = "https://api.example.com/"

// tokenEnv is an engine with a role, and a token role for an API by its application.
func tokenEnv(t *testing.T, settings map[string]any) *testEnv {
	t.Helper()
	env := configuredEnv(t)
	env.auth0.life = time.Hour
	env.write("roles/shop", map[string]any{fieldClientID: testAppID, fieldTTL: "15m"})
	env.write("token-roles/orders", merged(map[string]any{fieldRole: "shop", fieldAudience: testAPI}, settings))
	return env
}

// got is how many tokens Auth0 has given since.
func (env *testEnv) got(since int) int {
	env.auth0.mu.Lock()
	defer env.auth0.mu.Unlock()
	return len(env.auth0.tokens) - since
}

func TestTokenRole(t *testing.T) {
	env := tokenEnv(t, nil)
	stored := map[string]any{
		fieldRole: "shop", fieldAudience: testAPI, fieldScopes: []string{}, fieldOrganization: "",
		fieldMinTTL: int64(300), fieldShared: true, fieldMetadata: map[string]string{},
	}
	assert.Equal(t, stored, env.read("token-roles/orders"))
	env.must(logical.PatchOperation, "token-roles/orders", map[string]any{
		fieldOrganization: "org_1", fieldMinTTL: "10m", fieldShared: false, fieldMetadata: map[string]any{"region": "eu"}, fieldScopes: "read:clients",
	})
	assert.Equal(t, merged(stored, map[string]any{
		fieldOrganization: "org_1", fieldMinTTL: int64(600), fieldShared: false, fieldMetadata: map[string]string{"region": "eu"},
		fieldScopes: []string{"read:clients"},
	}), env.read("token-roles/orders"))
	assert.Equal(t, []string{"orders"}, env.must(logical.ListOperation, "token-roles/", nil).Data["keys"])
	answer := env.read("tokens/orders")
	assert.Equal(t, auth0.TokenRequest{ClientID: testAppID, Audience: testAPI, Scopes: []string{"read:clients"}, Organization: "org_1"},
		env.auth0.tokens[answer[fieldAccessToken].(string)].TokenRequest)
	assert.Equal(t, map[string]string{"region": "eu"}, answer[fieldMetadata])
	env.must(logical.DeleteOperation, "token-roles/orders", nil)
	env.refused(400, `token role "orders" does not exist`, logical.ReadOperation, "tokens/orders", nil)
}

// TestTokenRolesOfEarlierVersions had scopes and perhaps a role, and nothing else.
func TestTokenRolesOfEarlierVersions(t *testing.T) {
	env := configuredEnv(t)
	env.auth0.honoursScope = true
	require.NoError(t, env.storage.Put(t.Context(), &logical.StorageEntry{
		Key: storageTokenRoles + "reader", Value: []byte(`{"format":2,"scopes":["read:clients"]}`),
	}))
	role := env.read("token-roles/reader")
	assert.Equal(t, int64(300), role[fieldMinTTL])
	assert.Equal(t, true, role[fieldShared])
	answer := env.read("tokens/reader")
	assert.Equal(t, []string{"read:clients"}, answer[fieldScopes])
	assert.Equal(t, "https://"+testDomain+"/api/v2/", answer[fieldAudience])
}

func TestToken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := tokenEnv(t, nil)
		resp := env.must(logical.ReadOperation, "tokens/orders", nil)
		assert.Equal(t, int64(3600), resp.Data[fieldExpiresIn])
		assert.Equal(t, inRFC3339(time.Now().Add(time.Hour)), resp.Data[fieldExpiresAt])
		assert.Equal(t, testAPI, resp.Data[fieldAudience])
		assert.Equal(t, time.Hour, resp.Secret.TTL)
		assert.False(t, resp.Secret.Renewable)
		assert.Empty(t, resp.Warnings)
		assert.NotContains(t, resp.Data, fieldMetadata, "Agents would take the token for deleted")

		sleep(10 * time.Minute)
		again := env.must(logical.ReadOperation, "tokens/orders", nil)
		assert.Equal(t, resp.Data[fieldAccessToken], again.Data[fieldAccessToken], "it is shared")
		assert.Equal(t, 50*time.Minute, again.Secret.TTL, "no lease outlives the token")
		assert.Equal(t, int64(3000), again.Data[fieldExpiresIn])
	})
}

// TestALeaseIsNoLongerThanTheMountAllows: Vault would say so at each read.
func TestALeaseIsNoLongerThanTheMountAllows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := tokenEnv(t, nil)
		env.system.MaxLeaseTTLVal = 10 * time.Minute
		require.NoError(t, env.b.PeriodicFunc(t.Context(), &logical.Request{Storage: env.storage}))
		resp := env.must(logical.ReadOperation, "tokens/orders", nil)
		assert.Equal(t, 10*time.Minute, resp.Secret.TTL)
		assert.Equal(t, int64(60*60), resp.Data[fieldExpiresIn], "the token is as good as before")
	})
}

// TestTokensAreRenewedAhead: as many requests to Auth0 as min_ttl says, however many read.
func TestTokensAreRenewedAhead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := tokenEnv(t, map[string]any{fieldMinTTL: "10m"})
		before := env.got(0)
		for range 24 * 60 * 6 {
			answer := env.read("tokens/orders")
			assert.GreaterOrEqual(t, answer[fieldExpiresIn], int64(600))
			sleep(10 * time.Second)
		}
		// Each is handed out for 49 minutes and as long as the next reader takes: an
		// hour, less min_ttl, less the minute ahead.
		assert.Equal(t, 1+24*60*60/(49*60+10), env.got(before))
	})
}

// TestAReaderWithoutOthersWaitsForAFreshToken: nobody has had it renewed ahead.
func TestAReaderWithoutOthersWaitsForAFreshToken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := tokenEnv(t, nil)
		first := env.read("tokens/orders")
		sleep(56 * time.Minute)
		second := env.read("tokens/orders")
		assert.NotEqual(t, first[fieldAccessToken], second[fieldAccessToken])
		assert.Equal(t, int64(3600), second[fieldExpiresIn])
	})
}

// TestManyReadersOfAColdTokenRole cause one request, whoever gives up meanwhile.
func TestManyReadersOfAColdTokenRole(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := tokenEnv(t, nil)
		before := env.got(0)
		env.auth0.interfereWith(func(string, string, func()) error { time.Sleep(time.Second); return nil })
		var readers sync.WaitGroup
		values := make(chan any, 1000)
		for range 1000 {
			readers.Go(func() { values <- env.read("tokens/orders")[fieldAccessToken] })
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := env.b.HandleRequest(impatient, &logical.Request{Operation: logical.ReadOperation, Path: "tokens/orders", Storage: env.storage})
		require.Error(t, err)
		readers.Wait()
		close(values)
		first := <-values
		for value := range values {
			require.Equal(t, first, value)
		}
		assert.Equal(t, 1, env.got(before))
	})
}

func TestUnsharedTokens(t *testing.T) {
	env := tokenEnv(t, map[string]any{fieldShared: false})
	before := env.got(0)
	first := env.read("tokens/orders")[fieldAccessToken]
	assert.NotEqual(t, first, env.read("tokens/orders")[fieldAccessToken])
	assert.Equal(t, 2, env.got(before))
}

// TestTokensThatDoNotSayWhenTheyExpire are not held.
func TestTokensThatDoNotSayWhenTheyExpire(t *testing.T) {
	env := tokenEnv(t, nil)
	env.auth0.life = 0
	env.auth0.scopes = nil // that it does not say either
	env.write("token-roles/orders", map[string]any{fieldScopes: "read:orders"})
	resp := env.must(logical.ReadOperation, "tokens/orders", nil)
	assert.NotContains(t, resp.Data, fieldExpiresAt)
	assert.NotContains(t, resp.Data, fieldExpiresIn)
	assert.Equal(t, unknownLifetime, resp.Secret.TTL)
	assert.Equal(t, []string{"read:orders"}, resp.Data[fieldScopes])
	assert.NotEqual(t, resp.Data[fieldAccessToken], env.read("tokens/orders")[fieldAccessToken])
}

// TestTokensWhileAuth0IsDown are handed out until half a minute before they expire, by a
// warning. A clear no is another matter.
func TestTokensWhileAuth0IsDown(t *testing.T) {
	for name, failure := range map[string]func(string, string, func()) error{
		"no answer": func(op, _ string, _ func()) error { return noAnswer(op) },
		"the rate is limited": func(op, _ string, _ func()) error {
			return &auth0.Error{Class: auth0.Limited, Op: op, Status: 429, RetryAfter: time.Minute}
		},
		"nothing was sent": func(op, _ string, _ func()) error { return &auth0.Error{Class: auth0.Refused, Op: op} },
		"an answer in a minute": func(op, _ string, _ func()) error {
			time.Sleep(time.Minute)
			return noAnswer(op)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := tokenEnv(t, nil)
				first := env.read("tokens/orders")[fieldAccessToken]
				env.auth0.interfereWith(failure)
				sleep(54*time.Minute + 30*time.Second)
				resp := env.must(logical.ReadOperation, "tokens/orders", nil)
				assert.Empty(t, resp.Warnings, "it is good for min_ttl yet")
				for range 4 {
					sleep(time.Minute)
					asked := time.Now()
					resp = env.must(logical.ReadOperation, "tokens/orders", nil)
					assert.Equal(t, first, resp.Data[fieldAccessToken])
					require.Len(t, resp.Warnings, 1)
					assert.Contains(t, resp.Warnings[0], "there is no fresher token")
					assert.LessOrEqual(t, time.Since(asked), tokenPatience, "the reader does not wait for ever")
				}
				assert.EqualValues(t, 4, env.b.counters.tokensStale.Load())
				sleep(time.Minute + time.Second)
				_, err := env.request(logical.ReadOperation, "tokens/orders", nil)
				require.Error(t, err)
				assert.EqualValues(t, 1, env.b.counters.tokensRefused.Load())

				env.auth0.interfereWith(nil)
				sleep(2 * time.Minute)
				assert.NotEqual(t, first, env.read("tokens/orders")[fieldAccessToken])
			})
		})
	}
	t.Run("a clear no", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			env := tokenEnv(t, nil)
			sleep(56 * time.Minute)
			env.auth0.interfereWith(func(_, _ string, _ func()) error {
				return refusal("token", 403, "access_denied", auth0.ReasonNotAuthorized)
			})
			env.refused(400, auth0.ReasonNotAuthorized+": authorise the application", logical.ReadOperation, "tokens/orders", nil)
		})
	})
}

// TestReadersShareAFailure for a moment: they do not storm Auth0.
func TestReadersShareAFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := tokenEnv(t, nil)
		asked := env.auth0.count("app token")
		env.auth0.interfereWith(func(op, _ string, _ func()) error { return noAnswer(op) })
		for range 100 {
			_, err := env.request(logical.ReadOperation, "tokens/orders", nil)
			require.Error(t, err)
		}
		assert.Equal(t, 1, env.auth0.count("app token")-asked)
		env.auth0.interfereWith(nil)
		sleep(tokenPause)
		env.read("tokens/orders")
	})
}

// TestWhatDropsTokens, and what does not.
func TestWhatDropsTokens(t *testing.T) {
	force := map[string]any{fieldForce: true}
	for name, c := range map[string]struct {
		do    func(env *testEnv)
		drops bool
	}{
		"force":              {func(env *testEnv) { env.write("rotate/shop", force) }, true},
		"force of all roles": {func(env *testEnv) { env.write("rotate-all", force); sleep(time.Minute) }, true},
		"a staged rotation":  {func(env *testEnv) { env.write("rotate/shop", nil); sleep(20 * time.Minute) }, false},
		"a secret that was set elsewhere": {func(env *testEnv) {
			env.auth0.mu.Lock()
			env.auth0.set(testAppID, "foreign-secret-of-somebody-else")
			env.auth0.mu.Unlock()
			env.b.drift.want("shop", time.Now())
			env.b.due.Set("shop", time.Now())
			sleep(time.Second)
		}, true},
		"the token role, written again": {func(env *testEnv) { env.write("token-roles/orders", map[string]any{fieldMinTTL: "6m"}) }, true},
		"the token role, made again": {func(env *testEnv) {
			env.must(logical.DeleteOperation, "token-roles/orders", nil)
			env.write("token-roles/orders", map[string]any{fieldRole: "shop", fieldAudience: testAPI})
		}, true},
		"another token role": {func(env *testEnv) {
			env.write("token-roles/other", map[string]any{fieldRole: "shop", fieldAudience: testAPI})
		}, false},
		"the role, made again": {func(env *testEnv) {
			env.must(logical.DeleteOperation, "roles/shop", nil)
			env.write("roles/shop", map[string]any{fieldClientID: testAppID})
		}, true},
		"settings of the role": {func(env *testEnv) {
			env.write("roles/shop", map[string]any{fieldTTL: "20m", fieldRotationPeriod: "2h"})
		}, false},
		"the connection":                          {func(env *testEnv) { env.write("config", engineConfig(map[string]any{fieldCACert: someCA(env.t)})) }, true},
		"settings of the mount":                   {func(env *testEnv) { env.write("config", map[string]any{fieldDisableRotation: true}) }, false},
		"the engine's own secret":                 {func(env *testEnv) { env.write("rotate-root", nil) }, false},
		"a restart":                               {func(env *testEnv) { env.restart() }, true},
		"the token role, changed on another node": {func(env *testEnv) { env.b.InvalidateKey(context.Background(), storageTokenRoles+"orders") }, true},
		"the role, changed on another node":       {func(env *testEnv) { env.b.InvalidateKey(context.Background(), storageRoles+"shop") }, true},
		"config, changed on another node":         {func(env *testEnv) { env.b.InvalidateKey(context.Background(), storageConfig) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := tokenEnv(t, nil)
				before := env.read("tokens/orders")[fieldAccessToken]
				c.do(env)
				after := env.read("tokens/orders")[fieldAccessToken]
				assert.Equal(t, c.drops, before != after)
			})
		})
	}
}

// TestATokenThatWasAskedForBeforeIsNotHeldAfter: a fetch that is under way when tokens are
// dropped brings nothing to those who ask later.
func TestATokenThatWasAskedForBeforeIsNotHeldAfter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := tokenEnv(t, nil)
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "app token" {
				time.Sleep(time.Minute)
			}
			return nil
		})
		early := make(chan any, 1)
		go func() { early <- env.read("tokens/orders")[fieldAccessToken] }()
		sleep(time.Second)
		env.write("rotate/shop", map[string]any{fieldForce: true})
		late := env.read("tokens/orders")[fieldAccessToken]
		assert.NotEqual(t, <-early, late)
		assert.Equal(t, late, env.read("tokens/orders")[fieldAccessToken])
	})
}

// TestTokensThroughAForcedRotation: the secrets are tried as an application tries them.
func TestTokensThroughAForcedRotation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := tokenEnv(t, map[string]any{fieldShared: false})
		env.write("rotate/shop", nil) // the next one is handed out, and Auth0 has the present one
		asked := env.auth0.count("app token")
		env.read("tokens/orders")
		assert.Equal(t, 1, env.auth0.count("app token")-asked)
		env.write("rotate/shop", map[string]any{fieldForce: true})
		node := env.auth0.secret(testAppID)
		env.auth0.mu.Lock()
		first := env.auth0.every[0] // a node that the new one has not reached
		env.auth0.apps[testAppID].ClientSecret = &first
		env.auth0.mu.Unlock()
		asked = env.auth0.count("app token")
		env.read("tokens/orders")
		assert.Equal(t, 1, env.auth0.count("app token")-asked, "the one that worked last comes first")
		env.auth0.mu.Lock()
		env.auth0.apps[testAppID].ClientSecret = &node
		env.auth0.mu.Unlock()
		asked = env.auth0.count("app token")
		env.read("tokens/orders")
		assert.Equal(t, 2, env.auth0.count("app token")-asked, "the one before, then the new one")
	})
}

// TestATokenJustAfterAForcedRotation: each attempt may meet another of Auth0's servers, and
// all be refused.
func TestATokenJustAfterAForcedRotation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := tokenEnv(t, map[string]any{fieldShared: false})
		env.write("rotate/shop", map[string]any{fieldForce: true})
		refusals := 11
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if refusals--; op == "app token" && refusals >= 0 {
				return refusal("token", 401, "access_denied", "Unauthorized")
			}
			return nil
		})
		env.read("tokens/orders")
		sleep(time.Minute) // it has propagated
		refusals = 11
		env.refused(400, "all client secrets were refused", logical.ReadOperation, "tokens/orders", nil)
	})
}

// TestTokensAreNotMixedUp: token roles that differ in anything that makes a token never
// share one.
func TestTokensAreNotMixedUp(t *testing.T) {
	env := configuredEnv(t)
	env.auth0.add("client-2", "first-secret-of-client-2")
	env.write("roles/shop", map[string]any{fieldClientID: testAppID})
	env.write("roles/shop-2", map[string]any{fieldClientID: "client-2"})
	env.auth0.grantScopes("a", "b", "c", "a b")
	pick := func(random *rand.Rand, values ...string) string { return values[random.IntN(len(values))] }
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		env.write("token-roles/"+pick(random, "r1", "r2", "r3", "r4", "r5", "r6"), map[string]any{
			fieldRole: pick(random, "shop", "shop-2"), fieldAudience: pick(random, testAPI, testAPI+"v2"),
			fieldScopes: pick(random, "a", "b", "a,b", "b,a", "c", ""), fieldOrganization: pick(random, "", "org_1", "org_2"),
		})
		for _, name := range env.must(logical.ListOperation, "token-roles/", nil).Data["keys"].([]string) {
			role := env.read("token-roles/" + name)
			set := env.read("roles/" + role[fieldRole].(string))
			scopes, _ := role[fieldScopes].([]string)
			got := env.auth0.tokens[env.read("tokens/" + name)[fieldAccessToken].(string)]
			require.Equal(t, auth0.TokenRequest{
				ClientID: set[fieldClientID].(string), Audience: role[fieldAudience].(string), Scopes: scopes, Organization: role[fieldOrganization].(string),
			}, got.TokenRequest)
		}
	}
}

// TestHalfOfTheLifeIsEnough, however long Auth0 takes to answer.
func TestHalfOfTheLifeIsEnough(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := tokenEnv(t, nil)
		env.auth0.interfereWith(func(string, string, func()) error { time.Sleep(5 * time.Second); return nil })
		env.write("token-roles/orders", map[string]any{fieldMinTTL: "30m"})
		env.refused(400, "more than half of the life of a token", logical.UpdateOperation, "token-roles/orders", map[string]any{fieldMinTTL: "30m3s"})
	})
}

func TestTokenOfTheEngine(t *testing.T) {
	env := configuredEnv(t)
	env.auth0.honoursScope = true
	assert.Nil(t, env.write("token-roles/reader", map[string]any{fieldScopes: "read:clients"}))
	resp := env.must(logical.ReadOperation, "tokens/reader", nil)
	assert.Equal(t, []string{"read:clients"}, resp.Data[fieldScopes])
	assert.Equal(t, resp.Data[fieldAccessToken], env.read("tokens/reader")[fieldAccessToken])
	env.write("rotate-root", nil)
	assert.NotEqual(t, resp.Data[fieldAccessToken], env.read("tokens/reader")[fieldAccessToken], "its own rotation is a forced one")
}

// TestATokenWithMoreThanTheRoleIsNotHandedOut, which is what Auth0 makes unless
// the tenant prevents it.
func TestATokenWithMoreThanTheRoleIsNotHandedOut(t *testing.T) {
	bubble(t, aTokenWithMoreThanTheRole)
}

func aTokenWithMoreThanTheRole(t *testing.T) {
	env := configuredEnv(t)
	resp := env.write("token-roles/reader", map[string]any{fieldScopes: "read:clients"})
	require.Len(t, resp.Warnings, 1)
	assert.Contains(t, resp.Warnings[0], "no token can be handed out")
	env.refused(400, "Auth0 granted more than the token role's scopes (update:client_keys, read:client_keys)", logical.ReadOperation, "tokens/reader", nil)
	env.auth0.grantScopes("read:clients")
	sleep(tokenPause)
	assert.Equal(t, []string{"read:clients"}, env.read("tokens/reader")[fieldScopes])
	env.auth0.grantScopes("update:client_keys")
	env.write("token-roles/reader", map[string]any{fieldScopes: "update:client_keys"})
	env.auth0.grantScopes("read:client_keys")
	sleep(24 * time.Hour)
	env.refused(400, "the grant of the engine's application lacks update:client_keys", logical.ReadOperation, "tokens/reader", nil)
	env.auth0.scopes = nil
	sleep(tokenPause)
	env.refused(400, "Auth0 did not say which scopes the token carries", logical.ReadOperation, "tokens/reader", nil)
}

func TestTokenRoleRefusals(t *testing.T) {
	env := configuredEnv(t)
	env.auth0.honoursScope = true
	env.write("roles/shop", map[string]any{fieldClientID: testAppID})
	for text, sent := range map[string]map[string]any{
		"scopes is missing":            {},
		"role is missing":              {fieldAudience: testAPI},
		"organization is only":         {fieldScopes: "read:clients", fieldOrganization: "org_1"},
		"min_ttl must be at least":     {fieldScopes: "read:clients", fieldMinTTL: 0},
		"min_ttl must be at least 30s": {fieldScopes: "read:clients", fieldMinTTL: "29s"},
		"more than half of the life of a token of this API, 24h0m0s": {fieldScopes: "read:clients", fieldMinTTL: "13h"},
		"is not a scope": {fieldScopes: []string{"read users"}},
		"the application of role shop lacks read:users": {fieldScopes: "read:users", fieldRole: "shop", fieldAudience: testAPI},
		"lacks read:users":        {fieldScopes: "read:clients,read:users"},
		`role "x" does not exist`: {fieldScopes: "read:clients", fieldRole: "x"},
	} {
		env.refused(400, text, logical.UpdateOperation, "token-roles/reader", sent)
	}
	_, err := env.request(logical.UpdateOperation, "token-roles/reader", map[string]any{fieldRole: "x", fieldAudience: testAPI})
	require.EqualError(t, err, `role "x" does not exist: create it at roles/x`)
	env.refused(400, "does not exist: create it", logical.PatchOperation, "token-roles/reader", map[string]any{fieldScopes: "read:clients"})
	env.write("token-roles/reader", map[string]any{fieldScopes: "read:clients"})
	env.must(logical.PatchOperation, "token-roles/reader", map[string]any{fieldScopes: "read:clients,read:client_keys"})
	assert.Len(t, env.read("token-roles/reader")[fieldScopes], 2)
}

// TestEventsOfReads are sent where somebody can subscribe, and only there.
func TestEventsOfReads(t *testing.T) {
	for version, want := range map[string]int{"1.21.0": 0, "1.21.0+ent": 1} {
		t.Run(version, func(t *testing.T) {
			env := newEnv(t)
			env.system.PluginEnvironment.VaultVersion = version
			env.write("config", engineConfig(nil))
			env.write("roles/app", map[string]any{fieldClientID: testAppID})
			env.auth0.honoursScope = true
			env.write("token-roles/reader", map[string]any{fieldScopes: "read:clients"})
			env.read("creds/app")
			env.read("static-creds/app")
			env.read("tokens/reader")
			env.b.readEvents.work.Wait()
			assert.Equal(t, want, env.eventCount(eventCredsCreate))
			assert.Equal(t, want, env.eventCount(eventTokenCreate))
		})
	}
}
