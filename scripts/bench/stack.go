package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/tenant"
)

const (
	baselinePlugin = "baseline-plugin"
	// soloPlugin is the engine's plugin once more: Vault runs it in a process of
	// its own, as it does the one that does nothing.
	soloPlugin = devstack.PluginName + "-solo"
	binaries   = "bin"

	// Mounts: the plugin that does nothing, Vault's own KV, and the engine: with
	// one role, with many, and with some that are rotated meanwhile.
	mountBaseline, mountKV, mountOne, mountMany, mountBeside = "baseline", "kv", "one", "many", "beside"

	// roleTTL is that of all roles, and the lease of the plugin that does nothing.
	roleTTL = "1h"
)

// stack is a Vault with both plugins, and a tenant.
type stack struct {
	*devstack.Stack
	apps []tenant.Application // of the mount with many roles
}

// startStack starts everything. The caller calls stop.
func startStack(ctx context.Context, vault, storage string) (*stack, error) {
	dir, err := os.MkdirTemp("", "auth0-bench-")
	if err != nil {
		return nil, err
	}
	parts, err := devstack.Start(ctx, devstack.Options{
		WorkDir: dir, Plugin: filepath.Join(binaries, devstack.Program), Vault: vault, Storage: storage, Unmounted: true, LogLevel: "warn",
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := &stack{Stack: parts}
	if err := s.mount(ctx); err != nil {
		s.stop(ctx)
		return nil, err
	}
	return s, nil
}

// mount registers the plugins and makes the mounts.
func (s *stack) mount(ctx context.Context) error {
	for name, binary := range map[string]string{
		devstack.PluginName: devstack.Program, soloPlugin: devstack.Program, baselinePlugin: baselinePlugin,
	} {
		if err := s.AddPlugin(ctx, name, filepath.Join(binaries, binary)); err != nil {
			return err
		}
	}
	for mount, kind := range map[string]string{
		mountBaseline: baselinePlugin, mountKV: "kv-v2", mountOne: soloPlugin,
		mountMany: devstack.PluginName, mountBeside: devstack.PluginName,
	} {
		if err := s.Vault.EnableSecrets(ctx, mount, kind, ""); err != nil {
			return err
		}
	}
	return nil
}

// stop ends everything at once: nobody waits for what Vault would still do.
func (s *stack) stop(ctx context.Context) {
	atOnce, cancel := context.WithCancel(ctx)
	cancel()
	s.Stop(atOnce)
	_ = os.RemoveAll(s.Dir)
}

// fill configures the mounts and makes their roles.
func (s *stack) fill(ctx context.Context, roles int) error {
	began := time.Now()
	err := s.write(ctx, mountKV+"/data/"+roleName(0), map[string]any{"data": map[string]any{
		"client_id": s.Engine.ClientID, "client_secret": s.Engine.ClientSecret,
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
	config := s.Config()
	config["propagation_delay"] = "0s"
	if err := s.write(ctx, mount+"/config", config); err != nil {
		return nil, err
	}
	apps := make([]tenant.Application, roles)
	return apps, inParallel(roles, func(i int) error {
		apps[i] = s.Tenant.AddApplication(tenant.Application{Name: roleName(i)})
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
	_, err := s.Vault.Client().Logical().WriteWithContext(ctx, path, data)
	return err
}

func (s *stack) read(ctx context.Context, path string) (map[string]any, error) {
	secret, err := s.Vault.Client().Logical().ReadWithContext(ctx, path)
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return nil, fmt.Errorf("there is no %s", path)
	}
	return secret.Data, nil
}
