package auth0secrets

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Histories are random sequences of moves (world_test.go) in a mount with several
// roles, on an engine that runs by itself. At every step the oracles are asked.

const (
	historySeeds   = 50
	historyActions = 250
)

// historySteps counts the steps of a test run, over all seeds.
var historySteps atomic.Int64

// TestHistories. HISTORY_SEEDS=5000-6000 runs others than the usual ones (make
// soak); one seed that failed is run again with HISTORY_SEEDS=123-123.
func TestHistories(t *testing.T) {
	first, last := uint64(0), uint64(historySeeds-1)
	if !thorough() {
		last = 0
	}
	if wanted := os.Getenv("HISTORY_SEEDS"); wanted != "" {
		_, err := fmt.Sscanf(wanted, "%d-%d", &first, &last)
		require.NoError(t, err)
	}
	t.Run("seeds", func(t *testing.T) {
		for seed := first; seed <= last; seed++ {
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T) { newHistory(t, seed).run() })
			})
		}
	})
	t.Logf("%d steps in %d histories", historySteps.Load(), last-first+1)
	if first == 0 && last == historySeeds-1 {
		require.Greater(t, historySteps.Load(), int64(100_000))
	}
}

// running is a driver that lets an engine run by itself, in a bubble.
type running struct{ m *model }

func (r running) clock() time.Time     { return time.Now() }
func (r running) pass(d time.Duration) { sleep(d) }

func (r running) boot() {
	r.m.stop()
	r.m.start()
}

// history is one of them.
type history struct {
	*model
	random *rand.Rand
	moves  []func() move
}

func newHistory(t *testing.T, seed uint64) *history {
	env := newEnv(t)
	env.stop()
	m := &model{testEnv: env, world: &world{}}
	m.driver = running{m}
	env.inWorld, env.now = m.world, m.engineNow
	env.wrapAPI = func(api managementAPI) managementAPI { return &modelAPI{api, m} }
	env.start()
	h := &history{model: m, random: rand.New(rand.NewPCG(seed, 1))}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d:\n%s", seed, strings.Join(m.told[max(0, len(m.told)-60):], "\n"))
		}
	})
	env.write("config", engineConfig(map[string]any{fieldPropagationDelay: modelDelay.String(), fieldDriftCheckPeriod: modelDrift.String()}))
	m.modelRoles(3, 5, 2, seed%2 == 0)
	m.create(3, map[string]any{fieldSecretSource: "auth0", fieldRotationPeriod: "40m"})
	h.moves = h.everything()
	return h
}

func (h *history) any() int { return h.random.IntN(len(h.roles)) }

// keyed is one of the roles of keys, which are the last ones.
func (h *history) keyed() int { return len(h.roles) - 1 - h.random.IntN(2) }

// everything that can happen, each as often as it stands here.
func (h *history) everything() []func() move {
	read := readMove
	role := func(name string, data func() map[string]any) func() move {
		return func() move {
			i := h.any()
			return settingsMove(fmt.Sprintf("%s app%d", name, i), fmt.Sprint("roles/app", i), data())
		}
	}
	oneOf := func(data ...map[string]any) func() map[string]any {
		return func() map[string]any { return data[h.random.IntN(len(data))] }
	}
	return []func() move{
		read, read, read, read, read, read, read,
		func() move { return requestMove(h.any()) },
		func() move { return forceMove(h.any()) },
		func() move { return driftMove(h.any()) },
		func() move { return tokenRoleMove(h.any()) },
		func() move { return tokenRoleMove(h.any()) },
		func() move { return deleteTokenRoleMove(h.any()) },
		func() move { return bulkMove(h.random.IntN(3) == 0) },
		callOffMove,
		role("ttl", func() map[string]any { return map[string]any{fieldTTL: 10 + h.random.IntN(400)} }),
		role("plan", oneOf(
			map[string]any{fieldRotationPeriod: "20m", fieldRotationSchedule: ""}, map[string]any{fieldRotationPeriod: 0, fieldRotationSchedule: "*/30 * * * *"},
			map[string]any{fieldRotationPeriod: 0, fieldRotationSchedule: "0 * * * *", fieldRotationWindow: "1h"},
			map[string]any{fieldDisableRotation: true}, map[string]any{fieldDisableRotation: false},
		)),
		func() move { return foreignKeyMove(h.keyed()) },
		func() move { return makeRoomMove(h.keyed()) },
		func() move { return makeRoomMove(h.keyed()) },
		role("exportable", func() map[string]any { return map[string]any{fieldExportable: h.random.IntN(2) == 0} }),
		role("source", oneOf(map[string]any{fieldSecretSource: "vault"}, map[string]any{fieldSecretSource: "vault"}, map[string]any{fieldSecretSource: "auth0"})),
		func() move {
			return settingsMove("pause", "config", map[string]any{fieldDisableRotation: h.random.IntN(2) == 0})
		},
		func() move { return settingsMove("config", "config", map[string]any{fieldRequestTimeout: "20s"}) },
		func() move { return deleteMove(h.any()) },
		func() move { return createMove(h.any(), nil) },
		func() move { return createMove(h.any(), map[string]any{fieldRotationPeriod: "40m"}) },
		func() move {
			return createMove(h.any(), map[string]any{fieldSecretSource: "auth0", fieldSkipImport: h.random.IntN(2) == 0})
		},
		func() move { return allowMove([]string{"", "*", "*"}[h.random.IntN(3)]) },
		func() move { return plantMove(h.any()) },
		func() move { return failoverMove(h.ahead()) },
		func() move {
			return failoverMove(h.ahead() + time.Duration(h.random.Int64N(int64(20*time.Minute))) - 10*time.Minute)
		},
		h.outage,
		func() move { return crashMove(1 + h.random.IntN(30)) },
		func() move {
			return faultMove([]string{"lost", "unanswered", "limited", "refused", "rejected"}[h.random.IntN(5)])
		},
		func() move { return faultMove("") },
		func() move { return faultMove("") },
		func() move {
			return invalidateMove([]string{storageConfig, storageBulk, storageRoles + "app0", storageTokenRoles + "app0"}[h.random.IntN(4)])
		},
		rootMove,
	}
}

// outage is a while without an engine.
func (h *history) outage() move {
	return move{"outage", func(m *model) {
		m.stop()
		sleep(time.Duration(h.random.Int64N(int64(15 * time.Minute))))
		m.start()
		m.reboot()
	}}
}

func (h *history) run() {
	for range historyActions {
		next := h.moves[h.random.IntN(len(h.moves))]()
		h.tell("%s", next.name)
		next.do(h.model)
		h.settle()
		for range h.random.IntN(20) {
			h.step(time.Duration(h.random.IntN(4000)) * time.Millisecond)
		}
		require.Empty(h.t, h.broken)
	}
	h.heal()
	require.Empty(h.t, h.broken)
}

// step lets time pass and asks the oracles.
func (h *history) step(d time.Duration) {
	historySteps.Add(1)
	h.pass(d)
	h.settle()
}
