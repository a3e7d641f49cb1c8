//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
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
	clusterPeriod = 20 * time.Second
)

// TestClusterThatLosesItsLeader, and its plugin.
func TestClusterThatLosesItsLeader(t *testing.T) {
	t.Parallel()
	throughDisruptions(t, killLeader, killPlugin, stepDown)
}

// TestClusterThatIsLookedAfter by its operators.
func TestClusterThatIsLookedAfter(t *testing.T) {
	t.Parallel()
	throughDisruptions(t, seal, reload, upgrade)
}

// throughDisruptions: three nodes, roles that rotate all the time, applications that log
// in with what agents render, a service with an access token, and two with keys, one of
// which never holds its own, while one thing after the other is done to the cluster, each
// at a moment at which a role is staged. No login is refused and no call of the service, no
// secret is lost, and nothing is rotated before it is due.
func throughDisruptions(t *testing.T, disruptions ...disruption) {
	takesLong(t)
	s, cluster := newClusterSuite(t)
	s.grantKeys()
	config := s.Config()
	config["propagation_delay"] = "2s"
	s.write("config", config)
	s.Tenant.SetPropagation(tenant.Propagation{Delay: time.Second, Mode: tenant.Mixed})
	apps := map[string]tenant.Application{}
	for i := range clusterRoles {
		name := fmt.Sprint("app", i)
		apps[name] = s.addApplication(nil)
		s.write("roles/"+name, map[string]any{"client_id": apps[name].ClientID, "ttl": "10s", "rotation_period": clusterPeriod.String()})
	}
	byHand := s.addApplication(nil)
	s.write("roles/by-hand", map[string]any{"client_id": byHand.ClientID, "ttl": "10s"})
	client := s.tokenClient("client", 10*time.Minute)
	s.tokenRole("stock", "client", nil)
	s.shortLeases()
	stops := []func(){s.startApplication("app0"), s.startApplication("by-hand")}
	stock, file := s.startAgentService("stock")
	keyed := s.leasedAndSigned()
	for _, v := range keyed {
		stops = append(stops, v.stop)
		s.eventually("its role is staged", func() bool { return s.write("rotate/"+v.role, nil).Data["phase"] == "staged" })
	}
	for _, disruption := range disruptions {
		s.eventually("a role is staged", func() bool { // not while its last rotation propagates
			return s.write("rotate/by-hand", nil).Data["phase"] == "staged"
		})
		began, before := time.Now(), len(s.Tenant.SecretHistory(byHand.ClientID))
		disruption.do(s, cluster)
		s.eventually("the cluster answers after "+disruption.name, func() bool {
			_, err := s.request(logical.ReadOperation, "creds/app0", nil)
			return err == nil
		})
		back := time.Since(began).Round(100 * time.Millisecond)
		if !disruption.andOn {
			s.eventually("the role is rotated after "+disruption.name, func() bool { return len(s.Tenant.SecretHistory(byHand.ClientID)) > before })
		}
		t.Logf("%-28s answers again after %s; logins: %d, refused: %d", disruption.name, back,
			s.Tenant.Stats().Logins.Accepted, s.Tenant.Stats().Logins.Refused)
	}
	s.eventually("all roles are well, and were rotated twice", func() bool {
		status := s.read("status")
		for _, app := range apps {
			if len(s.Tenant.SecretHistory(app.ClientID)) < 3 { // so that two rotations follow each other
				return false
			}
		}
		return len(status["failing"].(map[string]any)) == 0 && fmt.Sprint(status["overdue"]) == "0"
	})
	s.renderedAgain(file)
	for _, stop := range stops {
		stop()
	}
	neverRefused(t, "service with a token", stock)
	assert.Zero(t, stock.Without())
	assert.Greater(t, s.issued(client), 2, "one for the check, one for the Agent, and one since the last plugin began")
	logins := s.Tenant.Stats().Logins
	t.Logf("logins: %d, refused: %d", logins.Accepted, logins.Refused)
	assert.Zero(t, logins.Refused)
	assert.Positive(t, logins.Accepted)
	for _, v := range keyed {
		own := s.loginsOf(v)
		t.Logf("%s: logins: %d, attempts refused: %d", v.role, own.Accepted, own.Attempts.Refused)
		assert.Positive(t, own.Accepted, v.role)
		assert.Zero(t, own.Attempts.Refused, v.role)
		assert.NotEqual(t, "1", fmt.Sprint(s.read("roles/" + v.role)["version"]))
		s.keptToItsKeys(v)
	}
	for name, app := range apps {
		assert.Contains(t, s.read("creds/" + name)["client_secrets"], s.Tenant.Secret(app.ClientID), name)
		s.neverTooEarly(name, app)
	}
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

// disruption is something that is done to a cluster.
type disruption struct {
	name  string
	do    func(*suite, nodes)
	andOn bool // the next one comes before anything was rotated again
}

var (
	killLeader = disruption{name: "kill -9 of the leader", do: func(s *suite, cluster nodes) {
		leader := s.leader(cluster, nil)
		leader.Kill()
		s.leader(cluster, leader)
		require.NoError(s.t, leader.Restart(s.t.Context()))
	}}
	killPlugin = disruption{name: "kill -9 of the plugin", andOn: true, do: func(s *suite, cluster nodes) {
		s.eventually("it is killed", func() bool {
			plugins := s.leader(cluster, nil).Plugins()
			for _, pid := range plugins {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			return len(plugins) > 0
		})
	}}
	stepDown = disruption{name: "step-down", do: func(s *suite, cluster nodes) {
		leader := s.leader(cluster, nil)
		_ = leader.Client().Sys().StepDownWithContext(s.t.Context()) // an error if it is no leader any more
		s.leader(cluster, leader)
	}}
	seal = disruption{name: "seal and unseal", andOn: true, do: func(s *suite, cluster nodes) {
		ctx, leader := s.t.Context(), s.leader(cluster, nil)
		s.eventually("it is sealed", func() bool { // while it has a leader: a standby refuses
			refused := leader.Client().Sys().SealWithContext(ctx)
			status, err := leader.Client().Sys().SealStatusWithContext(ctx)
			if err == nil && status.Sealed {
				return true
			}
			if refused != nil {
				leader = s.leader(cluster, nil)
			}
			return false
		})
		s.leader(cluster, leader)
		require.NoError(s.t, leader.Unseal(ctx))
	}}
	reload = disruption{name: "reload of the plugin", andOn: true, do: func(s *suite, _ nodes) {
		s.eventually("it is reloaded", func() bool {
			_, err := s.Vault.Client().Sys().ReloadPluginWithContext(s.t.Context(), &api.ReloadPluginInput{Plugin: devstack.PluginName, Scope: "global"})
			return err == nil
		})
	}}
	upgrade = disruption{name: "upgrade of the plugin", do: func(s *suite, _ nodes) { s.upgrade(s.t.Context()) }}
)

// upgrade has the mount use a later version of the plugin, which make has built.
func (s *suite) upgrade(ctx context.Context) {
	s.t.Helper()
	const version = "v9.9.9-test"
	built, binary := "../bin/"+devstack.Program+"-next", filepath.Join(s.Dir, "plugins", devstack.PluginName+"-next")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X vault-plugin-secrets-auth0.Version="+version, "-o", built, "../cmd/"+devstack.Program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(s.t, err, "%s", out)
	program, err := os.ReadFile(built)
	require.NoError(s.t, err)
	require.NoError(s.t, os.WriteFile(binary, program, 0o700))
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
