package tenant

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPropagationModes(t *testing.T) {
	for mode, during := range map[PropagationMode]struct{ old, new bool }{
		BothAccepted: {true, true}, OldOnly: {true, false}, NewOnly: {false, true},
	} {
		t.Run(string(mode), func(t *testing.T) {
			f := start(t, "update:client_keys")
			app := f.AddApplication(Application{})
			f.SetPropagation(Propagation{Delay: 30 * time.Second, Mode: mode})
			f.patch(app.ClientID, "new")
			for _, after := range []time.Duration{0, 30*time.Second - 1} {
				f.clock.advance(after)
				assert.Equal(t, during.old, f.accepts(app, app.ClientSecret, ""), "old after %s", after)
				assert.Equal(t, during.new, f.accepts(app, "new", ""), "new after %s", after)
			}
			f.clock.advance(1)
			assert.False(t, f.accepts(app, app.ClientSecret, ""))
			assert.True(t, f.accepts(app, "new", ""))
		})
	}
}

// Each node has one secret, the nodes switch one after the other, and a login
// stays at its node.
func TestMixedPropagationGoesFromNodeToNode(t *testing.T) {
	f := start(t, "update:client_keys")
	app := f.AddApplication(Application{})
	f.SetPropagation(Propagation{Delay: 28 * time.Second, Mode: Mixed})
	f.patch(app.ClientID, "new")
	login := map[uint64]string{} // one for each node
	for i := 0; len(login) < nodes; i++ {
		id := fmt.Sprint("login", i)
		login[f.node(id)] = id
	}
	for second := range 29 {
		switched := 0
		for _, id := range login {
			takesNew := f.accepts(app, "new", id)
			require.NotEqual(t, takesNew, f.accepts(app, app.ClientSecret, id), "either the one or the other")
			if takesNew {
				switched++
			}
		}
		assert.Equal(t, 1+second/4, switched, "after %d s", second)
		f.clock.advance(time.Second)
	}

	f.patch(app.ClientID, "newest")
	taken := 0
	for range nodes {
		if f.accepts(app, "newest", "") {
			taken++
		}
	}
	assert.Equal(t, 1, taken, "without an ID each attempt meets the next node")
}

// Also while several changes are on their way there is one secret, at least,
// that each node accepts, and none that was never set.
func TestOneSecretIsAlwaysAccepted(t *testing.T) {
	for _, mode := range []PropagationMode{BothAccepted, OldOnly, NewOnly, Mixed} {
		a, now := &application{}, newClock().now
		a.setSecret("s0", byAdding, now, Propagation{})
		for i := range 60 {
			if i%7 == 3 {
				a.setSecret(fmt.Sprint("s", i), byPatch, now, Propagation{Delay: 30 * time.Second, Mode: mode})
			}
			for node := range uint64(nodes) {
				accepted := 0
				for _, c := range a.secrets {
					if a.accepts(c.Value, node, now) {
						accepted++
					}
				}
				assert.Positive(t, accepted, "%s: second %d, node %d", mode, i, node)
				assert.False(t, a.accepts("never set", node, now))
			}
			now = now.Add(time.Second)
		}
	}
}

func TestTheSameSecretAgainChangesNothing(t *testing.T) {
	f := start(t, "update:client_keys")
	app := f.AddApplication(Application{})
	f.SetPropagation(Propagation{Delay: 30 * time.Second, Mode: OldOnly})
	f.patch(app.ClientID, "new")
	f.clock.advance(20 * time.Second)
	f.patch(app.ClientID, "new")
	f.clock.advance(10 * time.Second)
	assert.True(t, f.accepts(app, "new", ""), "since the first time it was set")
	assert.False(t, f.accepts(app, app.ClientSecret, ""))
	assert.Len(t, f.values(app.ClientID), 3, "but the history has it")
}

func TestManagementSecretsPropagate(t *testing.T) {
	f := start(t, "update:client_keys")
	engine := f.AddManagementApplication()
	f.SetPropagation(Propagation{Delay: 30 * time.Second, Mode: OldOnly})
	f.patch(engine.ClientID, "new")
	assert.Equal(t, 401, f.logIn(engine.ClientID, "new", f.Audience(), nil).status)
	assert.Equal(t, 200, f.logIn(engine.ClientID, engine.ClientSecret, f.Audience(), nil).status)
	f.clock.advance(30 * time.Second)
	assert.Equal(t, 200, f.logIn(engine.ClientID, "new", f.Audience(), nil).status)
}
