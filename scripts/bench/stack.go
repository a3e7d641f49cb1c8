package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/devvault"
	"vault-plugin-secrets-auth0/internal/tenant"
)

const (
	floorPlugin = "floor-plugin"
	// soloPlugin is the engine's plugin once more: Vault runs it in a process of
	// its own, as it does the one that does nothing.
	soloPlugin = devstack.PluginName + "-solo"
	binaries   = "bin"

	// Mounts: the plugin that does nothing, Vault's own KV, and the engine: with
	// one role, with many, and with some that are rotated meanwhile.
	mountFloor, mountKV, mountOne, mountMany, mountBeside = "floor", "kv", "one", "many", "beside"

	// roleTTL is that of all roles, and the lease of the plugin that does nothing.
	roleTTL = "1h"
)

// stack is a Vault with both plugins, and a tenant.
type stack struct {
	vault  *devvault.Server
	tenant *tenant.Tenant
	engine tenant.Application
	dir    string
	apps   []tenant.Application // of the mount with many roles
}

// startStack starts everything. The caller calls stop.
func startStack(ctx context.Context, vault, storage string) (_ *stack, err error) {
	s := &stack{}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "auth0-bench-"); err != nil {
		return nil, err
	}
	if s.dir, err = filepath.EvalSymlinks(s.dir); err != nil {
		return nil, err
	}
	plugins := filepath.Join(s.dir, "plugins")
	programs := map[string]string{devstack.PluginName: devstack.PluginName, soloPlugin: devstack.PluginName, floorPlugin: floorPlugin}
	for name, binary := range programs {
		if err := copyProgram(filepath.Join(binaries, binary), plugins, name); err != nil {
			return nil, err
		}
	}
	if s.tenant, err = tenant.Start(tenant.Options{}); err != nil {
		return nil, err
	}
	s.engine = s.tenant.AddManagementApplication(devstack.AllScopes...)
	s.vault, err = devvault.StartServer(ctx, devvault.ServerOptions{
		Bin: vault, PluginDir: plugins, WorkDir: s.dir, Storage: storage, LogLevel: "warn",
	})
	if err != nil {
		return nil, err
	}
	for name := range programs {
		if err := s.vault.RegisterPlugin(ctx, name, filepath.Join(plugins, name), ""); err != nil {
			return nil, err
		}
	}
	for mount, kind := range map[string]string{
		mountFloor: floorPlugin, mountKV: "kv-v2", mountOne: soloPlugin,
		mountMany: devstack.PluginName, mountBeside: devstack.PluginName,
	} {
		if err := s.vault.EnableSecrets(ctx, mount, kind, ""); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func copyProgram(from, dir, name string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	program, err := os.ReadFile(from) //nolint:gosec // what make has built
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), program, 0o700) //nolint:gosec // a program
}

func (s *stack) stop() {
	if s.vault != nil {
		s.vault.Kill()
	}
	if s.tenant != nil {
		s.tenant.Close()
	}
	_ = os.RemoveAll(s.dir)
}

// fill configures the mounts and makes their roles.
func (s *stack) fill(ctx context.Context, roles int) error {
	began := time.Now()
	err := s.write(ctx, mountKV+"/data/"+roleName(0), map[string]any{"data": map[string]any{
		"client_id": s.engine.ClientID, "client_secret": s.engine.ClientSecret,
	}})
	if err != nil {
		return err
	}
	for mount, n := range map[string]int{mountOne: 1, mountMany: roles} {
		apps, err := s.fillMount(ctx, mount, n)
		if err != nil {
			return err
		}
		if mount == mountMany {
			s.apps = apps
		}
	}
	say("  %d roles made in %s", roles, time.Since(began).Round(time.Second))
	return nil
}

func (s *stack) fillMount(ctx context.Context, mount string, roles int) ([]tenant.Application, error) {
	err := s.write(ctx, mount+"/config", map[string]any{
		"domain": s.tenant.Domain(), "ca_cert": s.tenant.CACert(), "client_id": s.engine.ClientID, "client_secret": s.engine.ClientSecret,
		"propagation_delay": "0s",
	})
	if err != nil {
		return nil, err
	}
	apps := make([]tenant.Application, roles)
	return apps, inParallel(roles, func(i int) error {
		apps[i] = s.tenant.AddApplication(tenant.Application{Name: roleName(i)})
		return s.write(ctx, mount+"/roles/"+roleName(i), map[string]any{"client_id": apps[i].ClientID, "ttl": roleTTL})
	})
}

// inParallel does n things, some at a time, and gives the first error.
func inParallel(n int, do func(i int) error) error {
	const workers = 16
	var work sync.WaitGroup
	failed := make(chan error, workers)
	for w := range workers {
		work.Go(func() {
			for i := w; i < n; i += workers {
				if err := do(i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	work.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func roleName(i int) string { return fmt.Sprintf("app-%06d", i) }

func (s *stack) write(ctx context.Context, path string, data map[string]any) error {
	_, err := s.vault.Client().Logical().WriteWithContext(ctx, path, data)
	return err
}

func (s *stack) read(ctx context.Context, path string) (map[string]any, error) {
	secret, err := s.vault.Client().Logical().ReadWithContext(ctx, path)
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return nil, fmt.Errorf("there is no %s", path)
	}
	return secret.Data, nil
}
