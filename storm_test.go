package auth0secrets

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stormPatience is far more than a storm takes, on a busy machine, too: what is not
// through by then hangs.
const stormPatience = 8 * time.Minute

// TestStorm: reads, writes, rotations and deletions of the same and of other
// roles at the same time, while Auth0 is slow and fails now and then, and the
// node is told of changes that others made. Nothing hangs, nothing is left
// behind, and memory does not grow from round to round.
func TestStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("a storm takes some seconds")
	}
	t.Parallel()
	env := configuredEnv(t)
	for i := range 6 {
		env.auth0.add(fmt.Sprint("storm", i), fmt.Sprint("first-secret-of-storm", i))
	}
	env.auth0.interfereWith(func(op, _ string, commit func()) error {
		time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
		switch rand.IntN(12) {
		case 0:
			return noAnswer(op)
		case 1:
			commit()
			return noAnswer(op)
		case 2:
			return limited(op)
		}
		return nil
	})
	var heap [3]uint64
	for round := range heap {
		env.storm(16, 300)
		heap[round] = env.calm()
	}
	t.Logf("heap after each round, in KiB: %d %d %d", heap[0]>>10, heap[1]>>10, heap[2]>>10)
	assert.Less(t, heap[2], heap[0]+8<<20, "memory grows from round to round")
}

// storm has many do many things at once.
func (env *testEnv) storm(workers, each int) {
	env.t.Helper()
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 7))
			for range each {
				env.gust(random)
			}
		})
	}
	over := make(chan struct{})
	go func() {
		all.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(stormPatience):
		buffer := make([]byte, 1<<20)
		env.t.Fatalf("it hangs:\n%s", buffer[:runtime.Stack(buffer, true)])
	}
}

// gust does one thing. What is refused is refused: the answers' form is checked
// by request.
func (env *testEnv) gust(random *rand.Rand) {
	n := random.IntN(6)
	role := fmt.Sprint("app", n)
	try := func(operation logical.Operation, path string, data map[string]any) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+random.IntN(200))*time.Millisecond)
		defer cancel()
		_, _ = env.b.HandleRequest(ctx, &logical.Request{Operation: operation, Path: path, Data: data, Storage: env.storage})
	}
	switch random.IntN(16) {
	case 0, 1:
		try(logical.CreateOperation, "roles/"+role, map[string]any{fieldClientID: fmt.Sprint("storm", n), fieldTTL: 10 + random.IntN(60)})
	case 2:
		try(logical.UpdateOperation, "roles/"+role, map[string]any{fieldTTL: 10 + random.IntN(60), fieldRotationPeriod: "1h"})
	case 3:
		try(logical.DeleteOperation, "roles/"+role, nil)
	case 4:
		try(logical.UpdateOperation, "rotate/"+role, nil)
	case 5, 6:
		try(logical.UpdateOperation, "rotate/"+role, map[string]any{fieldForce: true})
	case 7:
		try(logical.UpdateOperation, "rotate-all", map[string]any{fieldForce: random.IntN(2) == 0})
	case 8:
		try(logical.UpdateOperation, "config", map[string]any{fieldRequestTimeout: 1 + random.IntN(60), fieldDisableRotation: random.IntN(2) == 0})
	case 9:
		try(logical.ListOperation, "roles/", nil)
		try(logical.ReadOperation, "status", nil)
	case 10:
		env.b.Invalidate(context.Background(), storageRoles+role)
	case 11:
		_ = env.b.periodic(context.Background(), &logical.Request{Storage: env.storage})
	default:
		try(logical.ReadOperation, "creds/"+role, nil)
		try(logical.ReadOperation, "static-creds/"+role, nil)
	}
}

// calm lets the storm end, deletes all roles, and checks that nothing is left of
// them. It returns the memory in use then.
func (env *testEnv) calm() uint64 {
	env.t.Helper()
	for i := range 6 {
		env.must(logical.DeleteOperation, fmt.Sprint("roles/app", i), nil)
	}
	env.stop()
	env.log.Reset()
	env.events.Events = nil
	env.auth0.mu.Lock()
	env.auth0.every, env.auth0.calls = env.auth0.every[:1], nil
	env.auth0.mu.Unlock()
	env.start()
	require.Eventually(env.t, func() bool {
		env.b.locks.mu.Lock()
		defer env.b.locks.mu.Unlock()
		env.b.served.mu.RLock()
		defer env.b.served.mu.RUnlock()
		return len(env.b.locks.locks) == 0 && len(env.b.served.roles) == 0 && len(env.b.served.loading) == 0
	}, stormPatience, time.Millisecond)
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
