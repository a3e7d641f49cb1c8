package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	auth0secrets "vault-plugin-secrets-auth0"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/tenant"
)

const (
	// shortest is the shortest ttl that a role can have, and so how long a secret
	// that nobody has read stays staged.
	shortest = "10s"
	// never is a period between two checks for drift in which none is due while this
	// runs.
	never = "8760h"
)

// engine is an engine in this process, with a tenant: its storage can be counted here,
// which Vault does not do by mount.
type engine struct {
	logical.Backend
	storage *countedStorage
	tenant  *tenant.Tenant
}

type countedStorage struct {
	logical.InmemStorage
	reads, writes atomic.Int64
}

func (s *countedStorage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	s.reads.Add(1)
	return s.InmemStorage.Get(ctx, key)
}

func (s *countedStorage) List(ctx context.Context, prefix string) ([]string, error) {
	s.reads.Add(1)
	return s.InmemStorage.List(ctx, prefix)
}

func (s *countedStorage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	s.writes.Add(1)
	return s.InmemStorage.Put(ctx, entry)
}

func (s *countedStorage) Delete(ctx context.Context, key string) error {
	s.writes.Add(1)
	return s.InmemStorage.Delete(ctx, key)
}

// newEngine makes an engine with roles that were imported. The caller calls stop; after
// an error nobody does, since the process ends.
func newEngine(ctx context.Context, roles int, driftCheck string) (_ *engine, err error) {
	e := &engine{storage: &countedStorage{}}
	if e.tenant, err = tenant.Start(tenant.Options{}); err != nil {
		return nil, err
	}
	if err := e.start(ctx); err != nil {
		return nil, err
	}
	stack := devstack.Stack{Tenant: e.tenant, Engine: e.tenant.AddManagementApplication(devstack.AllScopes...)}
	write := func(path string, data map[string]any) error {
		_, err := e.ask(ctx, logical.CreateOperation, path, data)
		return err
	}
	return e, configure(&stack, roles, driftCheck, shortest, write)
}

// start starts an engine on what is stored, as Vault does after an unseal.
func (e *engine) start(ctx context.Context) (err error) {
	e.Backend, err = auth0secrets.Factory(ctx, &logical.BackendConfig{
		System:      &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour},
		StorageView: e.storage, Logger: hclog.NewNullLogger(),
	})
	if err != nil {
		return err
	}
	return e.Initialize(ctx, &logical.InitializationRequest{Storage: e.storage})
}

func (e *engine) stop(ctx context.Context) {
	e.Cleanup(ctx)
	e.tenant.Close()
}

func (e *engine) ask(ctx context.Context, operation logical.Operation, path string, data map[string]any) (map[string]any, error) {
	resp, err := e.HandleRequest(ctx, &logical.Request{Operation: operation, Path: path, Data: data, Storage: e.storage})
	if resp != nil && resp.IsError() {
		err = resp.Error()
	}
	if err != nil || resp == nil {
		return nil, err
	}
	return resp.Data, nil
}

// managementRequests is how many requests to the Management API the tenant has had.
func managementRequests(t *tenant.Tenant) int {
	count := 0
	for endpoint, n := range t.Stats().Requests {
		if strings.Contains(endpoint, " /api/v2/") {
			count += n
		}
	}
	return count
}

// measureCounts counts what a rotation asks of storage and of Auth0.
func measureCounts(ctx context.Context, t *table) error {
	say("Counting what a rotation asks of storage and of Auth0 (half a minute)")
	for _, c := range []struct {
		what, driftCheck string
		force            bool
		requests, writes float64
	}{
		{"staged rotation", "0s", false, 1, 3},
		{"staged rotation with its check for drift", never, false, 2, 3},
		{"forced rotation", "0s", true, 1, 2},
	} {
		const roles = 5
		e, err := newEngine(ctx, roles, c.driftCheck)
		if err != nil {
			return err
		}
		requests, writes := managementRequests(e.tenant), e.storage.writes.Load()
		err = e.rotate(ctx, roles, c.force)
		requests, writes = managementRequests(e.tenant)-requests, e.storage.writes.Load()-writes
		e.stop(ctx)
		if err != nil {
			return err
		}
		t.atMost(c.what+": requests to the Management API", ratio(requests, roles), c.requests, "")
		t.atMost(c.what+": storage writes", ratio(writes, roles), c.writes, "")
	}
	return nil
}

// measureTokens counts what reads of a token that is held ask of storage and of Auth0.
func measureTokens(ctx context.Context, t *table) error {
	const reads = 100_000
	say("Reading a token that is held %d times", reads)
	e, err := newEngine(ctx, 1, never)
	if err != nil {
		return err
	}
	defer e.stop(ctx)
	err = tokenRoles(1, func(path string, data map[string]any) error {
		_, err := e.ask(ctx, logical.CreateOperation, path, data)
		return err
	})
	if err != nil {
		return err
	}
	var stored, issued int
	for i := range reads + 1 {
		if i == 1 { // the first has it fetched
			stored, issued = e.storage.accesses(), tokensIssued(e.tenant)
		}
		if _, err := e.ask(ctx, logical.ReadOperation, "tokens/"+roleName(0), nil); err != nil {
			return err
		}
	}
	t.atMost("reads of a token that is held: reads and writes of storage", float64(e.storage.accesses()-stored), 0, fmt.Sprintf(" (of %d reads)", reads))
	t.atMost("reads of a token that is held: requests to Auth0", float64(tokensIssued(e.tenant)-issued), 0, "")
	return nil
}

func (s *countedStorage) accesses() int { return int(s.reads.Load() + s.writes.Load()) }

// tokensIssued is how many access tokens the tenant has issued, the engine's own included.
func tokensIssued(t *tenant.Tenant) (sum int) {
	for _, n := range t.Stats().Tokens {
		sum += n
	}
	return sum
}

// rotate rotates each role, and waits until all is over.
func (e *engine) rotate(ctx context.Context, roles int, force bool) error {
	for i := range roles {
		if _, err := e.ask(ctx, logical.UpdateOperation, "rotate/"+roleName(i), map[string]any{"force": force}); err != nil {
			return err
		}
	}
	for i := range roles {
		err := until(ctx, func() (bool, error) {
			role, err := e.ask(ctx, logical.ReadOperation, "roles/"+roleName(i), nil)
			return err == nil && role["version"] == 2 && role["phase"] == "steady", err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// measureRole is what a role takes in storage, and in memory: what the heap holds after
// a start on what is stored, less what it held before.
func measureRole(ctx context.Context, t *table) error {
	const roles = 2000
	say("Storage and memory of %d roles", roles)
	e, err := newEngine(ctx, roles, never)
	if err != nil {
		return err
	}
	defer e.tenant.Close()
	e.Cleanup(ctx)
	e.Backend = nil
	stored, err := e.stored(ctx)
	if err != nil {
		return err
	}
	t.atMost("stored for a role, bytes", ratio(stored, roles), 640, "")

	before := heap()
	if err := e.start(ctx); err != nil {
		return err
	}
	defer e.Cleanup(ctx)
	for i := range roles { // each is in memory from its first read at the latest
		if _, err := e.ask(ctx, logical.ReadOperation, "static-creds/"+roleName(i), nil); err != nil {
			return err
		}
	}
	held, times := heap(), 0
	err = until(ctx, func() (bool, error) { // what is loaded in the background leaves garbage until it is through
		held, times = min(held, heap()), times+1
		return times == 20, nil
	})
	t.atMost("memory for a role, bytes", ratio(held-before, roles), 2048, "")
	return err
}

// stored is how many bytes the entries of roles and applications have.
func (e *engine) stored(ctx context.Context) (int, error) {
	keys, err := logical.CollectKeys(ctx, e.storage)
	if err != nil {
		return 0, err
	}
	bytes := 0
	for _, key := range keys {
		entry, err := e.storage.Get(ctx, key)
		if err != nil {
			return 0, err
		}
		if key != "config" {
			bytes += len(key) + len(entry.Value)
		}
	}
	return bytes, nil
}

func heap() int {
	runtime.GC()
	runtime.GC() // what the first has found to have a finalizer
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc) //nolint:gosec // far from overflowing
}

func roleName(i int) string { return fmt.Sprintf("app-%06d", i) }

// until waits for a condition.
func until(ctx context.Context, condition func() (bool, error)) error {
	for {
		if met, err := condition(); met || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
