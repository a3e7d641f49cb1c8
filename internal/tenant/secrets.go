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

// Propagation is how a new secret comes to be accepted everywhere, and a change of the
// keys that an application uses. Auth0 says that it takes up to 30 s, and that meanwhile
// either may be refused; of keys it says nothing. The zero value is at once.
type Propagation struct {
	Delay time.Duration
	Mode  PropagationMode
}

// PropagationMode says what is accepted until the delay has passed. After it,
// always the new secret alone. Where it says a secret, of keys it is all that the
// application uses: with OldOnly a key that was added is refused, and one that was
// disabled or deleted accepted.
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

// SetPropagation says how secrets that are set from now on propagate, and keys that are
// enabled, disabled or deleted.
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

// takesOver says when a node begins to accept what was set at a time, and from when on
// it refuses all that came before. No mode has a time at which a node accepts
// nothing: that would not be propagation but an outage.
func (p Propagation) takesOver(at time.Time, node uint64) (acceptedFrom, othersUntil time.Time) {
	end := at.Add(p.Delay)
	switch p.Mode {
	case OldOnly:
		return end, end
	case NewOnly:
		return at, at
	case Mixed:
		switched := at.Add(time.Duration(float64(p.Delay) * float64(node) / (nodes - 1)))
		return switched, switched
	default: // BothAccepted
		return at, end
	}
}

func (c change) takesOver(node uint64) (acceptedFrom, othersUntil time.Time) {
	return c.Propagation.takesOver(c.At, node)
}

// inForce are those changes of a history that a node goes by, the newest first.
//
// It looks back from the newest change, which may be one of several that are
// still on their way, up to the first that has fully taken over.
func inForce[C interface {
	takesOver(node uint64) (acceptedFrom, othersUntil time.Time)
}](history []C, node uint64, now time.Time) (all []C) {
	for _, c := range slices.Backward(history) {
		acceptedFrom, othersUntil := c.takesOver(node)
		if !now.Before(acceptedFrom) {
			all = append(all, c)
		}
		if !now.Before(othersUntil) {
			break
		}
	}
	return all
}

// accepts says whether a node accepts a secret. t.mu must be held.
func (a *application) accepts(secret string, node uint64, now time.Time) bool {
	return slices.ContainsFunc(inForce(a.secrets, node, now), func(c change) bool { return c.Value == secret })
}
