package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/devvault"
	"vault-plugin-secrets-auth0/internal/tenant"
)

const (
	binaries       = "bin" // where make puts what is measured, seen from the repository
	baselinePlugin = "baseline-plugin"

	roleCount   = 500 // of the mount, all read and all rotated
	connections = 4   // of each reader
	slice       = 4 * time.Second
	sliceCount  = 10 // of each way of reading, after one to warm up

	// The limit of a paid tenant, in requests a second, and how many it takes at once.
	paidRate, paidBurst = 16, 50
)

// measureSize compares what is installed.
func measureSize(_ context.Context, t *table) error {
	ours, err := os.Stat(filepath.Join(binaries, devstack.Program))
	if err != nil {
		return err
	}
	nothing, err := os.Stat(filepath.Join(binaries, baselinePlugin))
	if err != nil {
		return err
	}
	t.atMost("size of the plugin, of the baseline's", ratio(ours.Size(), nothing.Size()), 1.25, "")
	return nil
}

// measureOnVault does what takes a real Vault.
func measureOnVault(ctx context.Context, t *table) error {
	say("Starting Vault, making %d roles", roleCount)
	vault, err := devvault.Binary(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "auth0-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := devstack.Start(ctx, devstack.Options{
		WorkDir: dir, Plugin: filepath.Join(binaries, devstack.Program), Vault: vault, Storage: "inmem", LogLevel: "warn",
		Scopes: slices.Concat(devstack.AllScopes, auth0.KeyScopes),
	})
	if err != nil {
		return err
	}
	defer s.Vault.Kill() // nobody waits for leases to be revoked
	defer s.Tenant.Close()
	if err := s.AddPlugin(ctx, baselinePlugin, filepath.Join(binaries, baselinePlugin)); err != nil {
		return err
	}
	if err := s.Vault.EnableSecrets(ctx, baselinePlugin, baselinePlugin, ""); err != nil {
		return err
	}
	err = configure(s, roleCount, "0s", "1h", func(path string, data map[string]any) error {
		_, err := s.Write(ctx, path, data)
		return err
	})
	if err != nil {
		return err
	}
	if err := rotateAll(ctx, s, t); err != nil {
		return err
	}
	for _, path := range []string{"creds/", "static-creds/"} {
		if err := compareReads(ctx, s, t, path, 1.15); err != nil {
			return err
		}
	}
	if err := compareTokens(ctx, s, t); err != nil {
		return err
	}
	return compareSigning(ctx, s, t)
}

// compareTokens reads tokens that are held.
func compareTokens(ctx context.Context, s *devstack.Stack, t *table) error {
	say("Making %d token roles", roleCount)
	err := tokenRoles(roleCount, func(path string, data map[string]any) error {
		_, err := s.Write(ctx, path, data)
		return err
	})
	for i := 0; i < roleCount && err == nil; i++ { // now all are held
		_, err = s.Read(ctx, "tokens/"+roleName(i))
	}
	if err != nil {
		return err
	}
	before := tokensIssued(s.Tenant)
	if err := compareReads(ctx, s, t, "tokens/", 1.1); err != nil {
		return err
	}
	t.atMost("`tokens/`: requests to Auth0 meanwhile", float64(tokensIssued(s.Tenant)-before), 0, "")
	return nil
}

// tokenRoles makes a token role of the same name for each role.
func tokenRoles(roles int, write func(path string, data map[string]any) error) error {
	for i := range roles {
		if err := write("token-roles/"+roleName(i), map[string]any{"role": roleName(i), "audience": tenant.DefaultAPI}); err != nil {
			return err
		}
	}
	return nil
}

// configure configures an engine and makes its roles.
func configure(s *devstack.Stack, roles int, driftCheck, ttl string, write func(path string, data map[string]any) error) error {
	config := s.Config()
	config["drift_check_period"], config["propagation_delay"] = driftCheck, "0s"
	err := write("config", config)
	for i := 0; i < roles && err == nil; i++ {
		app := s.Tenant.AddApplication(tenant.Application{Name: roleName(i)})
		err = write("roles/"+roleName(i), map[string]any{"client_id": app.ClientID, "ttl": ttl})
	}
	return err
}

// rotateAll rotates all roles at once, at the rate limit of a paid tenant.
func rotateAll(ctx context.Context, s *devstack.Stack, t *table) error {
	say("Rotating %d roles at %d requests a second (%d seconds)", roleCount, paidRate, (roleCount-paidBurst)/paidRate)
	s.Tenant.SetRateLimit(tenant.RateLimit{PerSecond: paidRate, Burst: paidBurst})
	defer s.Tenant.SetRateLimit(tenant.RateLimit{})
	before, began := s.Tenant.Stats(), time.Now()
	if _, err := s.Write(ctx, "rotate-all", map[string]any{"force": true}); err != nil {
		return err
	}
	err := until(ctx, func() (bool, error) {
		progress, err := s.Read(ctx, "rotate-all")
		return err == nil && progress.Data["finished_at"] != nil, err
	})
	if err != nil {
		return err
	}
	after := s.Tenant.Stats()
	wrong, took := 0, time.Duration(0)
	for i := range roleCount {
		served, err := s.Read(ctx, "static-creds/"+roleName(i))
		if err != nil {
			return err
		}
		clientID := fmt.Sprint(served.Data["client_id"])
		if served.Data["client_secret"] != s.Tenant.Secret(clientID) {
			wrong++
		}
		changes := s.Tenant.SecretHistory(clientID)
		took = max(took, changes[len(changes)-1].At.Sub(began))
	}
	const set = "PATCH /api/v2/clients/{id} 200"
	rotated, turnedAway := after.Requests[set]-before.Requests[set], after.RateLimited-before.RateLimited
	share := float64(rotated-paidBurst) / (took.Seconds() * paidRate)
	t.add("bulk rotation: share of the tenant's rate limit used",
		fmt.Sprintf("%.3f (%d roles in %.1f s)", share, rotated, took.Seconds()), "at least 0.9", share >= 0.9)
	t.atMost("bulk rotation: requests that Auth0 turned away (429), of all", ratio(turnedAway, rotated), 0.01, "")
	t.atMost("bulk rotation: token requests while a token is valid", float64(after.ManagementTokens.Issued-before.ManagementTokens.Issued), 0, "")
	t.atMost("bulk rotation: roles that were not rotated", float64(roleCount-rotated), 0, "")
	t.atMost("bulk rotation: roles that do not serve what Auth0 accepts", float64(wrong), 0, "")
	return nil
}

// compareReads reads from the engine and from the plugin that does nothing at the same
// time, so that whatever else the machine does meets both alike.
func compareReads(ctx context.Context, s *devstack.Stack, t *table, path string, bound float64) error {
	say("Reading %s, the baseline's beside it (%s)", path, (sliceCount+1)*slice)
	ours := newReader(s, devstack.Program, allRoles(devstack.Mount+"/"+path)...)
	nothing := newReader(s, baselinePlugin, allRoles(baselinePlugin+"/"+path)...)
	least, most := math.Inf(1), 0.0
	for i := range sliceCount + 1 {
		var both errgroup.Group
		both.Go(func() error { return ours.read(ctx) })
		both.Go(func() error { return nothing.read(ctx) })
		if err := both.Wait(); err != nil {
			return err
		}
		if i == 0 {
			ours.clear()
			nothing.clear()
			continue
		}
		least, most = min(least, ratio(ours.last, nothing.last)), max(most, ratio(ours.last, nothing.last))
	}
	t.atMost("`"+path+"`: CPU time of the plugin's process for a read, of the baseline's", ratio(ours.each(), nothing.each()), bound,
		fmt.Sprintf(" (%s against %s; slices of %s: %.2f to %.2f)", micros(ours.each()), micros(nothing.each()), slice, least, most))
	t.add("`"+path+"`: reads a second, and p99", ours.context()+"; baseline: "+nothing.context(), "", true)
	return nil
}

// cpuTime is what the processes of a program among Vault's plugins have used so far; "":
// Vault's own process, and all plugins.
func cpuTime(s *devstack.Stack, program string) (time.Duration, error) {
	sum, processes := time.Duration(0), s.Vault.Plugins()
	if program == "" {
		processes = append(processes, s.Vault.PID())
	}
	for _, pid := range processes {
		if binary, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || program != "" && filepath.Base(binary) != program {
			continue
		}
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // Go ends none of its threads
		for _, thread := range threads {
			text, err := os.ReadFile(thread) //nolint:gosec // of the kernel
			if err != nil {
				return 0, err
			}
			onCPU, _, _ := strings.Cut(string(text), " ")
			ns, err := strconv.ParseInt(onCPU, 10, 64)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(ns)
		}
	}
	if sum == 0 {
		return 0, fmt.Errorf("no CPU time of %s is seen in /proc: this takes Linux", program)
	}
	return sum, nil
}
