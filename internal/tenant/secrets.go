package tenant

import (
	"slices"
	"time"
)

// Who has set a secret, in SecretChange.By.
const (
	byAdding    = "added"
	byPatch     = "patch"
	byRotate    = "rotate-secret"
	byDashboard = "dashboard"
)

// nodes is how many edge nodes there are with Mixed.
const nodes = 8

// SecretChange is a secret that was set.
type SecretChange struct {
	At    time.Time
	Value string
	By    string // patch, rotate-secret, added, dashboard
}

// Propagation is how a new secret comes to be accepted everywhere. Auth0 says
// that it takes up to 30 s, and that meanwhile either may be refused. The zero
// value is at once.
type Propagation struct {
	Delay time.Duration
	Mode  PropagationMode
}

// PropagationMode says what is accepted until the delay has passed. After it,
// always the new secret alone.
type PropagationMode string

const (
	// BothAccepted accepts the old and the new secret. So does "".
	BothAccepted PropagationMode = "both"
	// OldOnly refuses the new secret.
	OldOnly PropagationMode = "old"
	// NewOnly refuses the old secret: as if there were no delay.
	NewOnly PropagationMode = "new"
	// Mixed has eight edge nodes, each of which accepts either the old or the
	// new secret. They switch one after the other, the first at once, the last
	// when the delay has passed. A login always meets the same node; an attempt
	// without X-Login-Id and without a code the next one in turn.
	Mixed PropagationMode = "mixed"
)

// SetPropagation says how secrets that are set from now on propagate.
func (t *Tenant) SetPropagation(p Propagation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.propagation = p
}

// change is a secret that was set and how it propagates.
type change struct {
	SecretChange
	Propagation
}

// takesOver says when a node begins to accept the new secret, and from when on
// it refuses all that came before. No mode has a time at which a node accepts
// no secret: that would not be propagation but an outage.
func (c change) takesOver(node uint64) (acceptedFrom, othersUntil time.Time) {
	end := c.At.Add(c.Delay)
	switch c.Mode {
	case OldOnly:
		return end, end
	case NewOnly:
		return c.At, c.At
	case Mixed:
		switched := c.At.Add(time.Duration(float64(c.Delay) * float64(node) / (nodes - 1)))
		return switched, switched
	default: // BothAccepted
		return c.At, end
	}
}

// accepts says whether a node accepts a secret. t.mu must be held.
//
// It looks back from the newest change, which may be one of several that are
// still on their way, up to the first that has fully taken over.
func (a *application) accepts(secret string, node uint64, now time.Time) bool {
	for _, c := range slices.Backward(a.secrets) {
		acceptedFrom, othersUntil := c.takesOver(node)
		if c.Value == secret && !now.Before(acceptedFrom) {
			return true
		}
		if !now.Before(othersUntil) {
			return false
		}
	}
	return false
}
