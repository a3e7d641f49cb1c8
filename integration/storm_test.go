//go:build integration

package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// TestStormOnVault: reads, writes, rotations and deletions of the same and of
// other roles at the same time, while Auth0 fails now and then. Every answer is
// one that says what to do; the plugin lives on, and the mount is in order.
func TestStormOnVault(t *testing.T) {
	t.Parallel()
	s := configured(t, "inmem", map[string]any{"propagation_delay": "0s"})
	s.write("config", map[string]any{"request_timeout": "2s", "verify_connection": false})
	for _, kind := range []tenant.FaultKind{tenant.ServerError, tenant.ResetAfterCommit, tenant.RateLimited} {
		s.Tenant.Inject(tenant.Fault{Endpoint: tenant.UpdateApplication, Kind: kind, Times: 5})
	}
	var apps []tenant.Application
	for range 4 {
		apps = append(apps, s.addApplication(nil))
	}
	plugins := s.Vault.Plugins()
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for worker := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 3))
			for range 60 {
				status := s.gust(random, apps)
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Logf("answers by status: %v", statuses)
	for status := range statuses {
		assert.Contains(t, []int{http.StatusOK, http.StatusBadRequest, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable}, status)
	}
	assert.Equal(t, plugins, s.Vault.Plugins(), "the plugin's process is still the same")
	s.Tenant.ClearFaults()
	s.write("config", map[string]any{"request_timeout": "1m", "verify_connection": false})
	for i, app := range apps {
		name := fmt.Sprint("app", i)
		s.write("roles/"+name, map[string]any{"client_id": app.ClientID})
		s.write("rotate/"+name, map[string]any{"force": true})
		assert.Equal(t, s.Tenant.Secret(app.ClientID), s.read("creds/" + name)["client_secret"])
	}
	require.Empty(t, s.read("status")["failing"])
}

// gust does one thing, and gives the status of the answer.
func (s *suite) gust(random *rand.Rand, apps []tenant.Application) int {
	n := random.IntN(len(apps))
	name := fmt.Sprint("app", n)
	client := s.Vault.Client().Logical()
	path := func(prefix string) string { return devstack.Mount + "/" + prefix + name }
	var answer *api.Secret
	var err error
	switch random.IntN(9) {
	case 0, 1:
		_, err = client.Write(path("roles/"), map[string]any{"client_id": apps[n].ClientID, "ttl": 10 + random.IntN(50)})
	case 2:
		_, err = client.Delete(path("roles/"))
	case 3:
		_, err = client.Write(path("rotate/"), map[string]any{"force": true})
	case 4:
		_, err = client.Write(path("rotate/"), nil)
	case 5:
		_, err = client.Read(devstack.Mount + "/status")
	case 6:
		_, err = client.Write(devstack.Mount+"/config", map[string]any{"drift_check_period": 10 + random.IntN(1000)})
	default:
		answer, err = client.Read(path("creds/"))
	}
	if answer != nil {
		for _, secret := range answer.Data["client_secrets"].([]any) {
			s.remember(secret.(string))
		}
	}
	var refused *api.ResponseError
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &refused):
		return refused.StatusCode
	default:
		return 0
	}
}
