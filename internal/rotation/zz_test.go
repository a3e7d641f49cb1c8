package rotation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// a secret that is older than the order, found to be live, counts as newer than it
func TestAttackRejectedFoundIsOlderThanTheOrder(t *testing.T) {
	set := vaultSettings()
	st := onRecord(t, set, steadyState().asked(byHand(true)).staged(set, "two", epoch), 0).failed(set, ended(Unclear), true, at(0))
	st = st.failed(set, ended(Rejected), false, at(20*time.Second))
	require.Equal(t, []string{"one", "two"}, served(st))
	set = after(set, 1) // ordered after two was made, stored, sent and handed out
	found, ok := st.compared(set, "two", at(time.Minute))
	require.True(t, ok)
	assert.False(t, State{found}.Done(1), "two was made before the order, and is never rotated for it")
}

// an operator's plain ask that a called-off forced order has made a forced one
func TestAttackCalledOffForceStaysOnAnOperatorsAsk(t *testing.T) {
	set := after(auth0Settings(), 1)
	st := steadyState().asked(byHand(false)).asked(inBulk(1, true))
	st = onRecord(t, set, st, 0).failed(set, ended(Refused), true, at(0))
	off, ok := State{st}.CalledOff(1)
	require.True(t, ok)
	assert.False(t, off.r.Force, "the operator did not force")
}
