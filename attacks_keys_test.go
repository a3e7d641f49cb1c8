package auth0secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/rotation"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// Roles of keys, against everything else that the engine does and meets.

// keyedTenant is an engine at a simulated tenant with an application that logs in by a
// key of its own.
func keyedTenant(t *testing.T) (*testEnv, *tenant.Tenant, tenant.Application) {
	t.Helper()
	env, tn := tenantEnv(t)
	for _, app := range tn.Applications() { // the engine's
		tn.SetScopes(app.ClientID, append([]string{scopeUpdateClientKeys, scopeReadClients, scopeReadClientKeys}, auth0.KeyScopes...)...)
	}
	public, _, err := assertion.PublicKey(testKeys()[0])
	require.NoError(t, err)
	shop := tn.AddApplicationWithKey(tenant.Application{Shape: tenant.Full}, public, "RS256")
	env.b.newKey = assertion.NewPrivateKey
	env.write("config", map[string]any{fieldRequestTimeout: 5, fieldPropagationDelay: 0})
	return env, tn, shop
}

func (env *testEnv) keyRoleAt(app tenant.Application, settings map[string]any) {
	env.t.Helper()
	env.write("roles/shop", merged(map[string]any{fieldClientID: app.ClientID, fieldCredentialType: "private_key", fieldTTL: "10m"}, settings))
}

// TestAttackKeysBulkForceWhilePropagating: rotate-all with force, while the key before is still accepted.
func TestAttackKeysBulkForceWhilePropagating(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, map[string]any{fieldExportable: true, fieldTTL: "10h"})
		env.removeForeignKey()
		first := env.read("creds/app")[fieldPrivateKey].(string)
		env.write("rotate-all", nil)
		sleep(40 * time.Second)
		require.Equal(t, "propagating", env.read("rotate/app")[fieldPhase])
		env.write("rotate-all", map[string]any{fieldForce: true})
		sleep(2 * time.Minute)
		assert.NotContains(t, env.ownKeys(), first, "the order was: at once")
	})
}

// TestAttackKeysForceThatWasRefused: a forced rotation that was refused is not forced any more when there is room.
func TestAttackKeysForceThatWasRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, map[string]any{fieldExportable: true, fieldTTL: "10h"})
		first := env.read("creds/app")[fieldPrivateKey].(string)
		env.refused(400, "no room", logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
		sleep(5 * time.Hour)
		env.read("creds/app")
		env.removeForeignKey()
		sleep(2 * time.Hour)
		assert.Contains(t, env.ownKeys(), first, "a lease of it lives, and who forced it has gone")
	})
}

// TestAttackKeysExportableThenSwapped: exportable is switched on while the key before, which never left, goes; it is then used again.
func TestAttackKeysExportableThenSwapped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, map[string]any{fieldTTL: "10h"})
		env.removeForeignKey()
		first := env.ownKeys()[0]
		env.write("rotate/app", nil)
		sleep(32 * time.Second)
		require.Equal(t, "propagating", env.read("rotate/app")[fieldPhase])
		env.must(logical.PatchOperation, "roles/app", map[string]any{fieldExportable: true})
		second := env.read("creds/app")[fieldPrivateKey].(string)
		require.NotEqual(t, first, second)
		_, err := env.auth0.RetireKey(t.Context(), keyedID, second)
		require.NoError(t, err)
		sleep(2 * time.Minute)
		require.Equal(t, first, env.read("creds/app")[fieldPrivateKey], "it is handed out now")
		env.write("rotate/app", nil)
		sleep(5 * time.Minute)
		assert.Contains(t, env.ownKeys(), first, "a lease of it lives")
	})
}

// TestAttackKeysAnOlderVersionRefusesThem: an older version takes a role of keys for one of secrets, and hands out the key.
func TestAttackKeysAnOlderVersionRefusesThem(t *testing.T) {
	env := configuredEnv(t)
	env.auth0.addKeyed(keyedID)
	env.write("roles/app", map[string]any{fieldClientID: keyedID, fieldCredentialType: "private_key"})
	env.write("roles/old", map[string]any{fieldClientID: testAppID})
	for name, format := range map[string]int{"app": 3, "old": 2} {
		entry, err := env.storage.Get(t.Context(), storageRoles+name)
		require.NoError(t, err)
		var stored storedFormat
		require.NoError(t, json.Unmarshal(entry.Value, &stored))
		assert.Equal(t, format, stored.Format, name)
	}
}

// TestAttackKeysNeverAccepted: what Auth0 registers and never accepts.
func TestAttackKeysNeverAccepted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, map[string]any{fieldExportable: true})
		env.removeForeignKey()
		env.b.newAPI = func(c auth0.Config) (managementAPI, error) { return deafToKeys{&fakeClient{env.auth0, c}}, nil }
		env.b.disconnect()
		env.refused(502, "does not accept it", logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
		before := env.auth0.count("enable")
		sleep(24 * time.Hour)
		assert.Less(t, env.auth0.count("enable")-before, 60, "each wait is longer than the last")
		assert.Contains(t, env.read("status")[fieldFailing], "app")
	})
}

// deafToKeys is Auth0 where no key is ever accepted.
type deafToKeys struct{ managementAPI }

func (deafToKeys) AcceptsKey(context.Context, string, string, string) (bool, error) {
	return false, nil
}

// TestAttackKeysNeverAcceptedLongDelay: a long propagation_delay, and force.
func TestAttackKeysNeverAcceptedLongDelay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, map[string]any{fieldExportable: true})
		env.removeForeignKey()
		env.write("config", map[string]any{fieldPropagationDelay: "1h"})
		env.b.newAPI = func(c auth0.Config) (managementAPI, error) { return deafToKeys{&fakeClient{env.auth0, c}}, nil }
		env.b.disconnect()
		begin := time.Now()
		env.refused(502, "does not accept it", logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
		assert.Less(t, time.Since(begin), 90*time.Second, "for which Vault waits")
	})
}

// TestAttackKeysBitsOfAKeyThatWaits: key_bits is raised while a next key waits for room.
func TestAttackKeysBitsOfAKeyThatWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, nil)
		var bits []int
		env.b.newKey = func(n int) (string, error) {
			bits = append(bits, n)
			return testKeys()[int(env.keysMade.Add(1))%len(testKeys())], nil
		}
		env.refused(400, "no room", logical.UpdateOperation, "rotate/app", nil)
		env.must(logical.PatchOperation, "roles/app", map[string]any{fieldKeyBits: 4096})
		env.removeForeignKey()
		sleep(3 * time.Hour)
		assert.Contains(t, bits, 4096)
	})
}

// TestAttackKeysSwitchedToASecret: the application was switched to a secret by hand: nothing of ours works.
func TestAttackKeysSwitchedToASecret(t *testing.T) {
	env, tn, shop := keyedTenant(t)
	env.keyRoleAt(shop, nil)
	var before map[string]any
	tn.UpdateApplication(shop.ClientID, func(a *tenant.Application) {
		before = a.AuthenticationMethods
		a.AuthenticationMethods, a.TokenEndpointAuthMethod = nil, "client_secret_post"
	})
	env.checkDrift("shop")
	assert.Contains(t, env.read("roles/shop"), fieldDriftDetectedAt)
	env.refused(400, "choose Private Key JWT for it in Auth0 again", logical.UpdateOperation, "rotate/shop", nil)
	tn.UpdateApplication(shop.ClientID, func(a *tenant.Application) {
		a.AuthenticationMethods, a.TokenEndpointAuthMethod = before, ""
	})
	env.checkDrift("shop")
	assert.NotContains(t, env.read("roles/shop"), fieldDriftDetectedAt)
}

func (env *testEnv) checkDrift(name string) {
	env.t.Helper()
	role, err := env.b.own(env.t.Context(), env.engineStorage(), name)
	require.NoError(env.t, err)
	defer role.release()
	mount, err := env.b.loadMount(env.t.Context(), env.engineStorage())
	require.NoError(env.t, err)
	require.NoError(env.t, env.b.compare(env.t.Context(), role, mount))
	_, err = env.b.advance(env.t.Context(), role, rotation.Ask{})
	require.NoError(env.t, err)
}

// TestAttackKeysRevokeBlocked: what a proxy or the tenant makes of /oauth/revoke.
func TestAttackKeysRevokeBlocked(t *testing.T) {
	for name, fault := range map[string]tenant.Fault{
		"html 403": {Kind: tenant.HTMLFromProxy, Status: 403},
		"html 200": {Kind: tenant.HTMLFromProxy, Status: 200},
		"404":      {Kind: tenant.ServerError, Status: 404},
		"405":      {Kind: tenant.ServerError, Status: 405},
		"upgrade":  {Kind: tenant.UpgradeRequired},
		"redirect": {Kind: tenant.Headers, Status: 307, Headers: map[string]string{"Location": "https://example.com/"}},
		"echo 400": {Kind: tenant.Echo},
		"echo 401": {Kind: tenant.Echo, Status: 401},
	} {
		t.Run(name, func(t *testing.T) {
			env, tn, shop := keyedTenant(t)
			fault.Endpoint = tenant.Revoke
			tn.Inject(fault)
			env.keyRoleAt(shop, nil)
			env.read("assertions/shop")
		})
	}
}

// TestAttackKeysTheLastThatWorksIsNotRemoved: a foreign key takes the place of the present one while the one before is to go.
func TestAttackKeysTheLastThatWorksIsNotRemoved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, nil)
		env.removeForeignKey()
		env.write("rotate/app", nil)
		sleep(32 * time.Second)
		require.Equal(t, "propagating", env.read("rotate/app")[fieldPhase])
		current := env.read("assertions/app")[fieldKID].(string)
		for _, key := range env.ownKeys() {
			if kidOf(rotation.Secret(key)) == current {
				_, err := env.auth0.RetireKey(t.Context(), keyedID, key)
				require.NoError(t, err)
			}
		}
		env.auth0.mu.Lock()
		keys := env.auth0.keysOf(keyedID)
		*keys = append(*keys, foreignKey)
		env.auth0.mu.Unlock()
		sleep(2 * time.Minute)
		assert.NotEmpty(t, env.ownKeys(), "the one before works yet")
		assert.True(t, env.asserts())
	})
}

// TestAttackKeysStorageFailsAtEachWrite: storage that fails at each write, with and without effect, while a role rotates.
func TestAttackKeysStorageFailsAtEachWrite(t *testing.T) {
	for _, force := range []bool{false, true} {
		for write := range 8 {
			t.Run(fmt.Sprint(force, write), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					env := keyRole(t, map[string]any{fieldExportable: true})
					env.hooks = &hookedStorage{Storage: env.storage}
					env.restart()
					env.removeForeignKey()
					at := 0
					env.hooks.put.set(func(string) error {
						at++
						if at-1 == write {
							return errors.New("storage fails")
						}
						return nil
					})
					_, _ = env.request(logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: force})
					for range 100 {
						sleep(10 * time.Second)
						held := env.read("creds/app")[fieldPrivateKey].(string)
						require.Contains(t, env.ownKeys(), held)
						require.LessOrEqual(t, len(env.ownKeys()), 2)
					}
					env.restart()
					sleep(20 * time.Minute)
					assert.Equal(t, "steady", env.read("rotate/app")[fieldPhase])
					assert.Len(t, env.ownKeys(), 1)
					assert.True(t, env.asserts())
				})
			})
		}
	}
}

// TestAttackKeysRace: race of reads, switches of exportable, rotations, deletions.
func TestAttackKeysRace(t *testing.T) {
	env := keyRole(t, map[string]any{fieldExportable: true})
	env.write("config", map[string]any{fieldPropagationDelay: 0})
	env.removeForeignKey()
	env.write("token-roles/t", map[string]any{fieldRole: "app", fieldAudience: exampleAPI})
	var stop atomic.Bool
	var work sync.WaitGroup
	for _, path := range []string{"assertions/app", "creds/app", "static-creds/app", "tokens/t", "roles/app", "status", "metrics", "rotate/app"} {
		for range 2 {
			work.Go(func() {
				for !stop.Load() {
					req := &logical.Request{Operation: logical.ReadOperation, Path: path, Storage: env.storage, MountPoint: "auth0/"}
					_, _ = env.b.HandleRequest(context.Background(), req)
				}
			})
		}
	}
	for i := range 40 {
		for path, data := range map[string]map[string]any{"rotate/app": {fieldForce: i%2 == 0}, "roles/app": {fieldExportable: i%3 == 0}, "rotate-all": {fieldForce: i%2 == 1}} {
			op := logical.Operation(logical.UpdateOperation)
			if path == "roles/app" {
				op = logical.PatchOperation
			}
			_, _ = env.b.HandleRequest(context.Background(), &logical.Request{Operation: op, Path: path, Data: data, Storage: env.storage, MountPoint: "auth0/"})
		}
	}
	stop.Store(true)
	work.Wait()
	for !env.asserts() { // while the last rotation goes on, the key may go between the reading and the trial
		time.Sleep(time.Millisecond)
	}
}

// TestAttackKeysTokensAfterForce: token reads right after a forced rotation: other nodes do not accept the key yet.
func TestAttackKeysTokensAfterForce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, nil)
		env.removeForeignKey()
		env.write("token-roles/t", map[string]any{fieldRole: "app", fieldAudience: exampleAPI})
		env.write("rotate/app", map[string]any{fieldForce: true})
		refusals := 2
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "app token" && refusals > 0 {
				refusals--
				return refusal("token", 401, "invalid_client", "The credential")
			}
			return nil
		})
		_, err := env.request(logical.ReadOperation, "tokens/t", nil)
		require.NoError(t, err)
	})
}

// TestAttackKeysNoKeyIsSentAsASecret: a role of secrets becomes one of keys while a login waits.
func TestAttackKeysNoKeyIsSentAsASecret(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, nil)
		env.write("roles/other", map[string]any{fieldClientID: testAppID})
		env.write("token-roles/t", map[string]any{fieldRole: "other", fieldAudience: exampleAPI})
		env.write("rotate/other", map[string]any{fieldForce: true})
		env.b.dropTokens("other")
		var sent []string
		env.b.newAPI = func(c auth0.Config) (managementAPI, error) {
			return spyOnTokens{&fakeClient{env.auth0, c}, func(r auth0.TokenRequest) { sent = append(sent, r.Secret) }}, nil
		}
		env.b.disconnect()
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "app token" {
				return refusal("token", 401, "access_denied", "Unauthorized")
			}
			return nil
		})
		waited := false
		env.b.wait = func(context.Context, time.Duration) error {
			if !waited {
				waited = true
				env.must(logical.DeleteOperation, "roles/other", nil)
				env.must(logical.DeleteOperation, "roles/app", nil)
				env.write("roles/other", map[string]any{fieldClientID: keyedID, fieldCredentialType: "private_key"})
			}
			return nil
		}
		_, err := env.request(logical.ReadOperation, "tokens/t", nil)
		require.Error(t, err)
		require.True(t, waited)
		require.NotEmpty(t, sent)
		for _, secret := range sent {
			assert.NotContains(t, secret, "PRIVATE KEY")
		}
	})
}

// spyOnTokens tells of requests for tokens.
type spyOnTokens struct {
	managementAPI
	told func(auth0.TokenRequest)
}

func (s spyOnTokens) Token(ctx context.Context, r auth0.TokenRequest) (auth0.AccessToken, error) {
	s.told(r)
	return s.managementAPI.Token(ctx, r)
}

// TestAttackKeysThatAreMadeHoldUpNoOtherRole: there are more roles of keys to be rotated
// than are attended to at a time.
func TestAttackKeysThatAreMadeHoldUpNoOtherRole(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		var held atomic.Bool
		gate := make(chan struct{})
		env.b.newKey = func(int) (string, error) {
			if held.Load() {
				<-gate
				return testKeys()[1], nil
			}
			return testKeys()[0], nil
		}
		for i := range 80 {
			id := fmt.Sprintf("keyed%027d", i)
			env.auth0.addKeyed(id)
			env.write(fmt.Sprintf("roles/r%d", i), map[string]any{fieldClientID: id, fieldCredentialType: "private_key", fieldRotationPeriod: "2h"})
		}
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "10m", fieldRotationPeriod: "2h"})
		held.Store(true)
		time.Sleep(2*time.Hour + 10*time.Second)
		assert.Equal(t, 2, env.read("roles/app")[fieldVersion])
		close(gate)
		sleep(10 * time.Minute)
		for i := range 80 {
			assert.Greater(t, env.read(fmt.Sprintf("roles/r%d", i))[fieldVersion], 1)
		}
	})
}

// TestAttackKeysHeldOnesAreNotCalledUseless: who follows the warning about a key that could
// not be removed does not remove one that is held.
func TestAttackKeysHeldOnesAreNotCalledUseless(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, map[string]any{fieldExportable: true})
		env.removeForeignKey()
		held := env.read("creds/app")[fieldKID].(string)
		env.must(logical.PatchOperation, "roles/app", map[string]any{fieldExportable: false})
		env.write("rotate/app", nil) // its next key is held by nobody
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "retire" {
				return noAnswer(op)
			}
			return nil
		})
		warnings := env.must(logical.DeleteOperation, "roles/app", nil).Warnings
		require.Len(t, warnings, 2)
		assert.Contains(t, warnings[0], "cannot be used")
		assert.NotContains(t, warnings[0], held)
		assert.Contains(t, warnings[1], held)
	})
}
