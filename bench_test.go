package auth0secrets

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// benchStorage counts what is asked of storage.
type benchStorage struct {
	logical.Storage
	gets, puts atomic.Int64
}

func (s *benchStorage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	s.gets.Add(1)
	return s.Storage.Get(ctx, key)
}

func (s *benchStorage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	s.puts.Add(1)
	return s.Storage.Put(ctx, entry)
}

// storedRoles is storage with a configuration and n steady roles, due in a month.
func storedRoles(b *testing.B, n int) *benchStorage {
	b.Helper()
	ctx, storage := context.Background(), &benchStorage{Storage: &logical.InmemStorage{}}
	now := time.Now().UTC()
	config := &configEntry{
		Domain: testDomain, ClientID: testEngineID, RequestTimeout: defaultRequestTimeout, PropagationDelay: defaultPropagationDelay,
		DriftCheckPeriod: defaultDriftCheckPeriod, Scopes: []string{scopeUpdateClientKeys, scopeReadClients, scopeReadClientKeys},
		Rotation: rotation.Imported(testEngineSecret, 0, now),
	}
	require.NoError(b, writeConfig(ctx, storage, config))
	for i := range n {
		id := fmt.Sprintf("%032d", i)
		role := &roleEntry{
			Domain: testDomain, ClientID: id, TTL: time.Hour, SecretSource: rotation.Vault,
			rotationPlan: rotationPlan{RotationPeriod: 30 * 24 * time.Hour},
			Rotation:     rotation.Imported(rotation.Secret(fmt.Sprintf("%064d", i)), 0, now),
		}
		require.NoError(b, writeRole(ctx, storage, benchRole(i), role))
		require.NoError(b, writeApplication(ctx, storage, id, &applicationEntry{Role: benchRole(i)}))
	}
	return storage
}

// setDriftCheck changes what is stored.
func setDriftCheck(b *testing.B, storage logical.Storage, period time.Duration) {
	b.Helper()
	ctx := context.Background()
	config, err := readConfig(ctx, storage)
	require.NoError(b, err)
	config.DriftCheckPeriod = period
	require.NoError(b, writeConfig(ctx, storage, config))
}

func benchRole(i int) string { return fmt.Sprintf("app-%06d", i) }

// startOn is an engine that Vault has just started on storage.
func startOn(b *testing.B, storage logical.Storage, fake *fakeAuth0, now func() time.Time) *pluginBackend {
	b.Helper()
	engine := newPluginBackend(now)
	engine.newAPI = func(c auth0.Config) (managementAPI, error) { return &fakeClient{fake, c}, nil }
	require.NoError(b, engine.Setup(context.Background(), benchConfig(storage)))
	require.NoError(b, engine.Initialize(context.Background(), &logical.InitializationRequest{Storage: storage}))
	return engine
}

func benchConfig(storage logical.Storage) *logical.BackendConfig {
	return &logical.BackendConfig{
		System:      &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour},
		StorageView: storage, Logger: hclog.NewNullLogger(),
	}
}

// rebuilt waits until the schedule knows all roles, has looked at each, and
// has nothing to do.
func rebuilt(b *testing.B, engine *pluginBackend, roles int) {
	b.Helper()
	for {
		known := engine.index.Len()
		engine.served.mu.RLock()
		loaded := len(engine.served.roles)
		engine.served.mu.RUnlock()
		if known >= roles && loaded >= roles {
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func benchRead(b *testing.B, backend logical.Backend, storage logical.Storage, path func(i int) string) {
	b.Helper()
	ctx := context.Background()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		resp, err := backend.HandleRequest(ctx, &logical.Request{Operation: logical.ReadOperation, Path: path(i), Storage: storage})
		if err != nil || resp == nil || len(resp.Data) == 0 {
			b.Fatal(resp, err)
		}
	}
}

// BenchmarkRead is a read of credentials within the plugin.
func BenchmarkRead(b *testing.B) {
	for _, roles := range []int{1, 10_000} {
		storage := storedRoles(b, roles)
		engine := startOn(b, storage, newFakeAuth0(), time.Now)
		rebuilt(b, engine, roles)
		for _, prefix := range []string{"creds/", "static-creds/"} {
			paths := make([]string, roles)
			for i := range paths {
				paths[i] = prefix + benchRole(i*7919%roles)
			}
			b.Run(fmt.Sprintf("%sroles=%d", prefix, roles), func(b *testing.B) {
				benchRead(b, engine, storage, func(i int) string { return paths[i%roles] })
			})
		}
		engine.Cleanup(context.Background())
	}
}

var benchScales = []int{1_000, 10_000, 100_000}

// BenchmarkFirstRead is the time from the start of the plugin to the first
// credentials of a role that is asked for, whatever else there is to load. The
// CPU's caches are as cold as a new process finds them, whatever the start before
// has left there. Its time is the median: a few of the starts have garbage to
// collect of the storage, which is in another process than the plugin otherwise.
func BenchmarkFirstRead(b *testing.B) {
	cold := make([]byte, 64<<20)
	for _, roles := range benchScales {
		storage := storedRoles(b, roles)
		b.Run(fmt.Sprintf("roles=%d", roles), func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				for i := range cold {
					cold[i]++
				}
				began := time.Now()
				engine := startOn(b, storage, newFakeAuth0(), time.Now)
				_, err := engine.HandleRequest(context.Background(),
					&logical.Request{Operation: logical.ReadOperation, Path: "creds/" + benchRole(roles-1), Storage: storage})
				took = append(took, time.Since(began))
				require.NoError(b, err)
				engine.Cleanup(context.Background())
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2]), "ns/op")
		})
	}
}

// BenchmarkRebuild is the time until the schedule knows all roles after a
// start, and the memory that the engine has for each by then.
func BenchmarkRebuild(b *testing.B) {
	for _, roles := range benchScales {
		storage := storedRoles(b, roles)
		b.Run(fmt.Sprintf("roles=%d", roles), func(b *testing.B) {
			before := heap()
			var each float64
			for b.Loop() {
				engine := startOn(b, storage, newFakeAuth0(), time.Now)
				rebuilt(b, engine, roles)
				b.StopTimer()
				each = (heap() - before) / float64(roles)
				engine.Cleanup(context.Background())
				b.StartTimer()
			}
			b.ReportMetric(each, "B/role")
		})
	}
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkRotation is one rotation from the request to the steady phase, with
// what it asks of storage and of Auth0.
func BenchmarkRotation(b *testing.B) {
	for _, bm := range []struct {
		name       string
		force      bool
		driftCheck time.Duration
	}{
		{"staged", false, 0},
		{"staged-and-checked-for-drift", false, maxRotationPeriod}, // but for that, none is due
		{"forced", true, 0},
	} {
		b.Run(bm.name, func(b *testing.B) { benchRotation(b, bm.force, bm.driftCheck) })
	}
}

func benchRotation(b *testing.B, force bool, driftCheck time.Duration) {
	ctx, storage, fake := context.Background(), storedRoles(b, 1), newFakeAuth0()
	fake.add(fmt.Sprintf("%032d", 0), fmt.Sprintf("%064d", 0))
	setDriftCheck(b, storage, driftCheck)
	var passed atomic.Int64 // what the clock is ahead
	engine := startOn(b, storage, fake, func() time.Time { return time.Now().Add(time.Duration(passed.Load())) })
	rebuilt(b, engine, 1)
	time.Sleep(10 * time.Millisecond) // the first look at the role is over
	defer engine.Cleanup(ctx)

	requests := func() float64 { return float64(fake.count("set") + fake.count("get") + fake.count("rotate")) }
	gets, puts, sets, asked := storage.gets.Load(), storage.puts.Load(), fake.count("set"), requests()
	for b.Loop() {
		_, err := engine.HandleRequest(ctx, &logical.Request{
			Operation: logical.UpdateOperation, Path: "rotate/" + benchRole(0), Data: map[string]any{fieldForce: force}, Storage: storage,
		})
		require.NoError(b, err)
		for range 3 { // staged, due, propagated
			engine.attend(ctx, benchRole(0))
			passed.Add(int64(time.Hour + 10*time.Second))
		}
	}
	n := float64(fake.count("set") - sets)
	if n != float64(b.N) {
		b.Fatalf("%v rotations of %d", n, b.N)
	}
	b.ReportMetric(float64(storage.gets.Load()-gets)/n, "gets/rotation")
	b.ReportMetric(float64(storage.puts.Load()-puts)/n, "puts/rotation")
	b.ReportMetric((requests()-asked)/n, "requests/rotation")
}
