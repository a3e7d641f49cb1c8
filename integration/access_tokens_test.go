//go:build integration

package integration

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// stockAPI is the API that the services of these tests call.
const stockAPI = "https://stock.example.com/"

// tokenClient makes an application that may call stockAPI, and a role of it. Tokens live
// as long as is said.
func (s *suite) tokenClient(role string, life time.Duration) tenant.Application {
	s.t.Helper()
	s.Tenant.AddAPI(tenant.API{Audience: stockAPI, Scopes: []string{"read:stock"}, TokenLifetime: life})
	app := s.addApplication(nil)
	s.Tenant.SetGrant(app.ClientID, stockAPI, tenant.Grant{Scopes: []string{"read:stock"}})
	s.write("roles/"+role, map[string]any{"client_id": app.ClientID, "ttl": "10s"})
	return app
}

// tokenRole makes a token role for stockAPI.
func (s *suite) tokenRole(name, role string, changes map[string]any) {
	s.t.Helper()
	settings := map[string]any{"role": role, "audience": stockAPI, "scopes": "read:stock"}
	maps.Copy(settings, changes)
	s.write("token-roles/"+name, settings)
}

// issued is how many tokens for stockAPI Auth0 has issued to the application.
func (s *suite) issued(app tenant.Application) int {
	return s.Tenant.Stats().Tokens[app.ClientID+" "+stockAPI]
}

// shortLeases has Agents read again after nine seconds, however long a token lives.
func (s *suite) shortLeases() {
	s.t.Helper()
	s.eventually("the mount is tuned", func() bool {
		_, err := s.Vault.Client().Logical().Write("sys/mounts/"+devstack.Mount+"/tune", map[string]any{"max_lease_ttl": "10s"})
		return err == nil
	})
}

// startService starts a service that calls stockAPI with a token from the source.
func (s *suite) startService(source oauth2.TokenSource) *devstack.Service {
	s.t.Helper()
	service := s.StartService(context.Background(), source, stockAPI, "read:stock", s.every)
	s.t.Cleanup(service.Stop)
	s.eventually("calls are accepted", func() bool { return service.Calls().Accepted > 0 })
	return service
}

// startAgentService starts a service with the tokens that an Agent renders.
func (s *suite) startAgentService(tokenRole string) (_ *devstack.Service, file string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	file, err := s.StartTokenAgent(ctx, tokenRole)
	require.NoError(s.t, err)
	return s.startService(devstack.TokenFile(file)), file
}

// renderedAgain waits until an Agent has read after this moment.
func (s *suite) renderedAgain(file string) {
	s.t.Helper()
	now := time.Now()
	s.eventually("the Agent has read again", func() bool {
		rendered, err := os.Stat(file)
		return err == nil && rendered.ModTime().After(now)
	})
}

// neverRefused ends a service, and checks what came of its calls.
func neverRefused(t *testing.T, who string, service *devstack.Service) {
	t.Helper()
	service.Stop()
	calls := service.Calls()
	t.Logf("%s: %d calls, refused: %d, not made for want of a token: %d", who, calls.Accepted, calls.Refused, service.Without())
	assert.Positive(t, calls.Accepted)
	assert.Zero(t, calls.Refused, calls.LastRefusal)
}

// readToken reads tokens/, as many may do at the same time.
func (s *suite) readToken(name string) (*api.Secret, *oauth2.Token, error) {
	answer, err := s.Vault.Client().Logical().ReadWithContext(context.Background(), devstack.Mount+"/tokens/"+name)
	if err != nil {
		return nil, nil, err
	}
	token, err := devstack.TokenOf(answer.Data)
	return answer, token, err
}

// tokens are those of a token role, read from Vault for each call.
type tokens struct {
	s       *suite
	name    string
	failure atomic.Pointer[error] // the last one
}

// Token reads one.
func (r *tokens) Token() (*oauth2.Token, error) {
	_, token, err := r.s.readToken(r.name)
	if err != nil {
		r.failure.Store(&err)
	}
	return token, err
}

// TestTokensWhileAuth0IsDown for a minute (OUTAGE=2m for another time), in which the token
// that is held would be replaced. A service with an Agent notices nothing.
func TestTokensWhileAuth0IsDown(t *testing.T) {
	t.Parallel()
	takesLong(t)
	outage, err := time.ParseDuration(cmp.Or(os.Getenv("OUTAGE"), "1m"))
	require.NoError(t, err)
	s := configured(t, "inmem", nil)
	app := s.tokenClient("shop", 2*outage)
	s.tokenRole("stock", "shop", map[string]any{"min_ttl": outage.String()})
	s.shortLeases()
	stock, file := s.startAgentService("stock")
	before := s.issued(app)

	s.Tenant.SetDown(true)
	down := time.Now()
	stale, reads := 0, 0
	for time.Since(down) < outage || stale < 10 {
		time.Sleep(100 * time.Millisecond)
		answer, token, err := s.readToken("stock")
		require.NoError(t, err)
		require.Greater(t, time.Until(token.Expiry), 10*time.Second, "the engine promises 30s, less what the answer takes")
		reads++
		if isStale(answer) {
			stale++
		}
	}
	rendered, err := os.Stat(file)
	require.NoError(t, err)
	assert.True(t, rendered.ModTime().After(down), "the Agent has read meanwhile")
	s.Tenant.SetDown(false)
	s.eventually("there is a fresh token", func() bool {
		answer, _, err := s.readToken("stock")
		return err == nil && !isStale(answer)
	})
	t.Logf("reads while Auth0 was down: %d, of them of a token that should have been replaced: %d", reads, stale)
	assert.Equal(t, before+1, s.issued(app))
	neverRefused(t, "service with an Agent", stock)
	assert.Zero(t, stock.Without())
	counted, err := s.read("status")["tokens"].(map[string]any)["stale"].(json.Number).Int64()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, int(counted), stale)
}

// isStale says whether a token should have been replaced.
func isStale(answer *api.Secret) bool {
	return strings.Contains(fmt.Sprint(answer.Warnings), "there is no fresher token")
}

// TestNoCallWithATokenIsRefused through rotations of each kind and a reload of the plugin,
// neither of a service with an Agent, whose token is shared, nor of one whose every call
// has a token of its own.
func TestNoCallWithATokenIsRefused(t *testing.T) {
	t.Parallel()
	for name, changes := range map[string][]tokenChange{
		"a staged one first": {stagedRotation, forcedRotation, bulkRotation},
		"a forced one first": {forcedBulkRotation, reloadOfThePlugin, rotationByAuth0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			takesLong(t)
			callsThrough(t, changes)
		})
	}
}

// tokenChange is something that the services of TestNoCallWithATokenIsRefused go through.
type tokenChange struct {
	name string
	do   func(*suite)
	gap  bool // for a moment no token can be had by those who ask
	// rotates says that shop has another secret afterwards.
	rotates bool
}

var (
	stagedRotation = tokenChange{name: "staged rotation", rotates: true, do: func(s *suite) { s.write("rotate/shop", nil) }}
	forcedRotation = tokenChange{name: "forced rotation", rotates: true, do: func(s *suite) {
		s.write("rotate/shop", map[string]any{"force": true})
	}}
	bulkRotation       = tokenChange{name: "bulk rotation", rotates: true, do: func(s *suite) { s.write("rotate-all", nil) }}
	forcedBulkRotation = tokenChange{name: "forced bulk rotation", rotates: true, do: func(s *suite) {
		s.write("rotate-all", map[string]any{"force": true})
	}}
	reloadOfThePlugin = tokenChange{name: "reload of the plugin", gap: true, do: func(s *suite) {
		_, err := s.Vault.Client().Sys().ReloadPluginWithContext(s.t.Context(), &api.ReloadPluginInput{Plugin: devstack.PluginName})
		require.NoError(s.t, err)
	}}
	rotationByAuth0 = tokenChange{name: "rotation by Auth0", rotates: true, gap: true, do: func(s *suite) {
		s.write("roles/shop", map[string]any{"secret_source": "auth0"})
		s.write("rotate/shop", nil)
	}}
)

// callsThrough has both services call through the changes, one after the other.
func callsThrough(t *testing.T, changes []tokenChange) {
	s := configured(t, "inmem", map[string]any{"propagation_delay": "3s"})
	s.Tenant.SetPropagation(tenant.Propagation{Delay: 2 * time.Second, Mode: tenant.Mixed})
	app := s.tokenClient("shop", 10*time.Minute)
	s.tokenRole("stock", "shop", nil)
	s.tokenRole("own", "shop", map[string]any{"shared": false})
	s.shortLeases()
	shared, file := s.startAgentService("stock")
	s.every = 200 * time.Millisecond
	own := &tokens{s: s, name: "own"}
	each := s.startService(own)
	for _, change := range changes {
		secrets := len(s.Tenant.SecretHistory(app.ClientID))
		change.do(s)
		if change.rotates {
			s.eventually("it is rotated", func() bool { return len(s.Tenant.SecretHistory(app.ClientID)) > secrets })
			s.awaitPhase("shop", "steady")
		}
		s.renderedAgain(file)
		if failure := own.failure.Load(); failure != nil && !change.gap {
			t.Errorf("a read failed: %v", *failure)
		}
		t.Logf("%-21s calls with a shared token: %d, refused: %d; with one each: %d, refused: %d, without a token: %d", change.name,
			shared.Calls().Accepted, shared.Calls().Refused, each.Calls().Accepted, each.Calls().Refused, each.Without())
	}
	neverRefused(t, "service with an Agent", shared)
	assert.Zero(t, shared.Without())
	neverRefused(t, "service with a token for each call", each)
}

// TestReadersShareAToken: a thousand at once of a token role that nobody has read yet, then
// some over several lives of a token.
func TestReadersShareAToken(t *testing.T) {
	t.Parallel()
	takesLong(t)
	const life, minTTL = time.Minute, 30 * time.Second
	const seldom = 20 * time.Second // a token is replaced after 27 s: when min_ttl is left, and a little before
	s := configured(t, "inmem", nil)
	app := s.tokenClient("shop", life)
	s.tokenRole("stock", "shop", map[string]any{"min_ttl": minTTL.String()})
	checked := s.issued(app) // when the token role was written
	began := time.Now()
	gate := make(chan struct{})
	var all sync.WaitGroup
	var mu sync.Mutex
	expiries := map[string]time.Time{}
	read := func() {
		answer, token, err := s.readToken("stock")
		mu.Lock()
		defer mu.Unlock()
		if !assert.NoError(t, err) {
			return
		}
		expiries[token.AccessToken] = token.Expiry
		left, err := answer.Data["expires_in"].(json.Number).Int64()
		assert.NoError(t, err)
		assert.GreaterOrEqual(t, time.Duration(left)*time.Second, minTTL-10*time.Second, "min_ttl, less what a busy machine takes to say so")
	}
	for range 1000 {
		all.Go(func() {
			<-gate
			read()
		})
	}
	close(gate)
	all.Wait()
	took := time.Since(began)
	most := func() int { return 1 + int(time.Since(began)/seldom) }
	t.Logf("1000 readers at once: %s, requests to Auth0: %d", took.Round(time.Millisecond), s.issued(app)-checked)
	assert.LessOrEqual(t, s.issued(app)-checked, most())

	var reads atomic.Int64
	for range 4 {
		all.Go(func() {
			for s.issued(app)-checked < 3 && !t.Failed() && time.Since(began) < patience {
				read()
				reads.Add(1)
				time.Sleep(200 * time.Millisecond)
			}
		})
	}
	all.Wait()
	requests, bound := s.issued(app)-checked, most()
	t.Logf("%d reads in %s, requests to Auth0: %d", 1000+reads.Load(), time.Since(began).Round(time.Second), requests)
	assert.LessOrEqual(t, requests, bound)
	assert.GreaterOrEqual(t, requests, 3)
	ends := slices.SortedFunc(maps.Values(expiries), time.Time.Compare)
	for i := 1; i < len(ends); i++ {
		assert.GreaterOrEqual(t, ends[i].Sub(ends[i-1]), seldom, "the one before would have done")
	}
}

// TestTheTokenEndpointHasALimitOfItsOwn: a 429 of it holds neither rotations nor readers
// of secrets, and one of the Management API holds no tokens.
func TestTheTokenEndpointHasALimitOfItsOwn(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) *suite {
		s := configured(t, "inmem", map[string]any{"propagation_delay": "0s"})
		s.tokenClient("shop", time.Hour)
		s.tokenClient("office", time.Hour)
		s.tokenRole("stock", "shop", map[string]any{"shared": false})
		s.write("rotate/office", map[string]any{"force": true}) // now the engine has a token of its own
		return s
	}
	t.Run("tokens", func(t *testing.T) {
		t.Parallel()
		s := start(t)
		s.Tenant.Inject(tenant.Fault{Endpoint: tenant.Token, Kind: tenant.RateLimited, RetryAfter: time.Minute})
		s.refused(http.StatusTooManyRequests, "Auth0 limits the rate", logical.ReadOperation, "tokens/stock", nil)
		for _, role := range []string{"shop", "office"} {
			s.write("rotate/"+role, map[string]any{"force": true})
			s.read("creds/" + role)
		}
		s.refused(http.StatusTooManyRequests, "Auth0 limits the rate", logical.ReadOperation, "tokens/stock", nil)
	})
	t.Run("Management API", func(t *testing.T) {
		t.Parallel()
		s := start(t)
		s.Tenant.Inject(tenant.Fault{Endpoint: tenant.AnyManagement, Kind: tenant.RateLimited, RetryAfter: time.Minute})
		s.refused(http.StatusTooManyRequests, "Auth0 limits the rate", logical.UpdateOperation, "rotate/shop", map[string]any{"force": true})
		for range 5 {
			s.read("tokens/stock")
		}
		s.refused(http.StatusTooManyRequests, "Auth0 limits the rate", logical.UpdateOperation, "rotate/office", map[string]any{"force": true})
	})
}

// TestTokensLeaveOnlyInAnswers: none is stored by the plugin, as the storage of its mount
// in clear shows, or in what status and metrics say; finish searches the logs, after this
// test as after every other.
func TestTokensLeaveOnlyInAnswers(t *testing.T) {
	t.Parallel()
	s := newSuiteOf(t, devstack.Options{Storage: "raft", Settings: "raw_storage_endpoint = true\n"})
	s.write("config", s.Config())
	s.tokenClient("shop", time.Hour)
	s.tokenRole("stock", "shop", nil)
	s.tokenRole("own", "shop", map[string]any{"shared": false, "metadata": map[string]any{"note": "a-canary-in-storage"}})
	s.read("tokens/stock")
	s.read("tokens/own")
	s.write("rotate/shop", map[string]any{"force": true})
	s.read("tokens/stock")
	s.Tenant.SetDown(true)
	_, err := s.request(logical.ReadOperation, "tokens/own", nil)
	require.Error(t, err)
	s.read("tokens/stock")
	said := fmt.Sprintf("%s %s %s %s", err, s.read("status"), s.read("metrics"), s.read("token-roles/own"))
	require.Contains(t, said, "auth0_tokens_stale_total", "or the metrics are not text")
	s.Tenant.SetDown(false)

	mounts, err := s.Vault.Client().Sys().ListMountsWithContext(t.Context())
	require.NoError(t, err)
	stored := s.storedBelow("logical/" + mounts[devstack.Mount+"/"].UUID + "/")
	if !strings.Contains(stored, "a-canary-in-storage") || !strings.Contains(stored, s.Tenant.Secret(s.Engine.ClientID)) {
		t.Error("this is not the plugin's storage, or not in clear")
	}
	searched := 0
	for _, secret := range s.Tenant.EverySecret() {
		signature := secret[strings.LastIndex(secret, ".")+1:]
		if len(strings.Split(secret, ".")) != 3 {
			continue // no token for an API
		}
		searched++
		if strings.Contains(stored+said, signature) {
			t.Error("a token is stored, or told")
		}
	}
	assert.Positive(t, searched)
}

// storedBelow is what is stored below a path, in clear: a line for each entry.
func (s *suite) storedBelow(path string) string {
	s.t.Helper()
	client := s.Vault.Client().Logical()
	listed, err := client.ListWithContext(s.t.Context(), "sys/raw/"+path)
	require.NoError(s.t, err)
	if listed == nil {
		return ""
	}
	var all strings.Builder
	for _, key := range listed.Data["keys"].([]any) {
		name := path + fmt.Sprint(key)
		if strings.HasSuffix(name, "/") {
			all.WriteString(s.storedBelow(name))
			continue
		}
		entry, err := client.ReadWithContext(s.t.Context(), "sys/raw/"+name)
		require.NoError(s.t, err)
		if entry != nil { // it may have been deleted since
			fmt.Fprintln(&all, name, strings.ReplaceAll(fmt.Sprint(entry.Data["value"]), "\n", `\n`))
		}
	}
	return all.String()
}
