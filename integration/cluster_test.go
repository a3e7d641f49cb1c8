//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/tenant"
)

const (
	clusterRoles  = 12
	clusterPeriod = 24 * time.Second
)

// TestClusterThatLosesItsLeader: three nodes, roles that rotate all the time,
// and applications that log in with what agents render, while one thing after
// the other is done to the cluster. No login is refused, no secret is lost, and
// nothing is rotated before it is due.
func TestClusterThatLosesItsLeader(t *testing.T) {
	t.Parallel()
	s := newSuiteOf(t, devstack.Options{Nodes: 3})
	config := s.Config()
	config["propagation_delay"] = "2s"
	s.write("config", config)
	s.Tenant.SetPropagation(tenant.Propagation{Delay: time.Second, Mode: tenant.Mixed})
	apps := map[string]tenant.Application{}
	for i := range clusterRoles {
		name := fmt.Sprint("app", i)
		apps[name] = s.addApplication(nil)
		role := map[string]any{"client_id": apps[name].ClientID, "ttl": "10s", "rotation_period": clusterPeriod.String()}
		s.eventually("a role, even if the cluster loses its leader for want of a CPU", func() bool {
			_, err := s.request(logical.UpdateOperation, "roles/"+name, s.withSecret("roles/"+name, role))
			return err == nil
		})
	}
	var stops []func()
	for _, name := range []string{"app0", "app1", "app2"} {
		stops = append(stops, s.startApplication(name))
	}
	for _, disruption := range s.disruptions() {
		s.untilRotating()
		began := time.Now()
		disruption.do()
		s.eventually("the cluster answers after "+disruption.name, func() bool {
			_, err := s.Vault.Client().Logical().ReadWithContext(t.Context(), devstack.Mount+"/creds/app0")
			return err == nil
		})
		back := time.Since(began).Round(100 * time.Millisecond)
		if before := s.rotations(apps); !disruption.andOn {
			s.eventually("roles are rotated again after "+disruption.name, func() bool { return s.rotations(apps) > before })
		}
		t.Logf("%-28s answers again after %s; logins: %d, refused: %d", disruption.name, back,
			s.Tenant.Stats().Logins.Accepted, s.Tenant.Stats().Logins.Refused)
	}
	s.eventually("all roles are well, and were rotated", func() bool {
		status := s.read("status")
		for _, app := range apps {
			if len(s.Tenant.SecretHistory(app.ClientID)) < 2 {
				return false
			}
		}
		return len(status["failing"].(map[string]any)) == 0 && fmt.Sprint(status["overdue"]) == "0"
	})
	for _, stop := range stops {
		stop()
	}
	logins := s.Tenant.Stats().Logins
	t.Logf("logins: %d, refused: %d", logins.Accepted, logins.Refused)
	assert.Zero(t, logins.Refused)
	assert.Positive(t, logins.Accepted)
	for name, app := range apps {
		assert.Contains(t, s.read("creds/" + name)["client_secrets"], s.Tenant.Secret(app.ClientID), name)
		s.neverTooEarly(name, app)
	}
}

// rotations counts how often secrets were set.
func (s *suite) rotations(apps map[string]tenant.Application) int {
	n := 0
	for _, app := range apps {
		n += len(s.Tenant.SecretHistory(app.ClientID)) - 1
	}
	return n
}

// untilRotating waits until some roles are staged.
func (s *suite) untilRotating() {
	s.t.Helper()
	s.eventually("roles are staged", func() bool {
		status, err := s.Vault.Client().Logical().ReadWithContext(context.Background(), devstack.Mount+"/status")
		return err == nil && fmt.Sprint(status.Data["phases"].(map[string]any)["staged"]) != "0"
	})
}

// neverTooEarly checks that the role was rotated, and never before its period
// was over.
func (s *suite) neverTooEarly(name string, app tenant.Application) {
	s.t.Helper()
	var last tenant.SecretChange
	rotations := 0
	for _, change := range s.Tenant.SecretHistory(app.ClientID) {
		if last.Value != "" && change.Value != last.Value {
			rotations++
			if rotations > 1 { // the first counts from the import
				assert.GreaterOrEqual(s.t, change.At.Sub(last.At), clusterPeriod-2*time.Second, name)
			}
		}
		if change.Value != last.Value {
			last = change
		}
	}
	assert.Positive(s.t, rotations, name)
}

type disruption struct {
	name  string
	do    func()
	andOn bool // the next one comes before anything was rotated again
}

// disruptions are what is done to the cluster, one after the other.
func (s *suite) disruptions() []disruption {
	cluster, ctx := s.Cluster, s.t.Context()
	system := func() *api.Sys { return s.Vault.Client().Sys() }
	return []disruption{
		{"kill -9 of the leader", func() {
			leader := cluster.Active()
			leader.Kill()
			s.eventually("another node is active", func() bool { return cluster.Active() != nil && cluster.Active() != leader })
			require.NoError(s.t, cluster.Revive(ctx, leader))
		}, false},
		{"kill -9 of the plugin", func() { require.Positive(s.t, cluster.Active().KillPlugins()) }, true},
		{"step-down", func() {
			leader := cluster.Active()
			require.NoError(s.t, leader.Client().Sys().StepDownWithContext(ctx))
			s.eventually("another node is active", func() bool { return cluster.Active() != nil && cluster.Active() != leader })
		}, false},
		{"seal and unseal", func() {
			leader := cluster.Active()
			require.NoError(s.t, leader.Seal(ctx))
			s.eventually("another node is active", func() bool { return cluster.Active() != nil && cluster.Active() != leader })
			require.NoError(s.t, leader.UnsealAsStandby(ctx))
		}, true},
		{"reload of the plugin", func() {
			_, err := system().ReloadPluginWithContext(ctx, &api.ReloadPluginInput{Plugin: devstack.PluginName, Scope: "global"})
			require.NoError(s.t, err)
		}, true},
		{"upgrade of the plugin", func() { s.upgrade(ctx) }, false},
	}
}

// upgrade builds the plugin once more, as a later version, and has the mount use
// it.
func (s *suite) upgrade(ctx context.Context) {
	s.t.Helper()
	const version = "v9.9.9-test"
	binary := filepath.Join(s.Dir, "plugins", devstack.Program+"-next")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X vault-plugin-secrets-auth0.Version="+version,
		"-o", binary, "../cmd/"+devstack.Program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(s.t, err, "%s", out)
	s.eventually("the upgrade is taken, even if the cluster loses its leader for want of a CPU", func() bool {
		err := s.Vault.RegisterPlugin(ctx, devstack.PluginName, binary, version)
		if err == nil {
			_, err = s.Vault.Client().Logical().WriteWithContext(ctx, "sys/mounts/"+devstack.Mount+"/tune", map[string]any{"plugin_version": version})
		}
		if err == nil {
			_, err = s.Vault.Client().Sys().ReloadPluginWithContext(ctx, &api.ReloadPluginInput{Plugin: devstack.PluginName, Scope: "global"})
		}
		return err == nil
	})
	s.eventually("the new version runs", func() bool {
		mounts, err := s.Vault.Client().Sys().ListMountsWithContext(ctx)
		return err == nil && mounts[devstack.Mount+"/"].RunningVersion == version
	})
}
