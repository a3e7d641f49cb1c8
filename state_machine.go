package auth0secrets

import "time"

// The rotation state machine. It is pure: settings, a stored state and a clock
// go in; the next state and the action to take come out. Storage, Auth0 and
// randomness are the business of its caller (rotation.go), which keeps one
// rule: the state that a decision returns is durable before its action is
// taken.
//
//	         rotate, or due - max_ttl            ready_at
//	steady ---------------------------> staged ------------> settling
//	  ^                                    (PATCH accepted)      |
//	  +----------------------------------------------------------+
//	                     propagation_delay has passed
//
// force=true sends the staged secret without waiting. secret_source=auth0 has
// nothing to stage: Auth0 makes the secret, and an intent stands in the state
// from before the request until its outcome is known.

// phase is where a role stands in a rotation.
type phase string

const (
	phaseSteady   phase = "steady"   // served: current
	phaseStaged   phase = "staged"   // served: current, next. Auth0 accepts current
	phaseSettling phase = "settling" // served: current (the new one), previous
)

// secretSource says who makes an application's next secret.
type secretSource string

const (
	sourceVault secretSource = "vault" // the engine; can be staged
	sourceAuth0 secretSource = "auth0" // Auth0's rotate-secret; cannot be known in advance
)

const (
	// handOutMargin covers the way of an answer from the engine to the moment
	// at which Vault registers its lease: a lease of the old set may begin that
	// much after the new set is served, and is waited for too.
	handOutMargin = time.Second

	// minLease is the shortest lease and the shortest ttl of a role.
	minLease = 10 * time.Second

	// A wait after a failure is between these. One that looks longer was stored
	// before the clock was set back, and is over.
	backoffMin = 10 * time.Second
	backoffMax = time.Hour

	// maxPropagationDelay is the longest settling phase. One that looks longer
	// was stored before the clock was set back, and is over.
	maxPropagationDelay = time.Hour
)

// rotationSettings is the part of a role's and the mount's settings that
// decides when and how a rotation happens.
type rotationSettings struct {
	TTL time.Duration // of a lease; 0: nobody holds the secret
	// RotationPeriod or Schedule says when a rotation takes effect by itself.
	// Neither: only on request.
	RotationPeriod time.Duration
	Schedule       schedule
	// ScheduledFrom is when the schedule was set: earlier times do not count.
	ScheduledFrom time.Time
	// Window is how long after its time a scheduled rotation may still take
	// effect. 0: at any time.
	Window time.Duration
	// Paused: nothing begins or takes effect by itself.
	Paused           bool
	Source           secretSource
	PropagationDelay time.Duration // until a new secret is accepted everywhere at Auth0
	Order            int           // of the last order to rotate all roles
}

// schedule gives the next time after another; zero if there is none.
type schedule interface {
	Next(after time.Time) time.Time
}

// rotationClock is what the machine knows of time.
type rotationClock struct {
	Now time.Time
	// ServingSince is when this process began to serve the role's present set:
	// its publication, or the start of the mount if it was stored before that.
	ServingSince time.Time
}

// rotationAction is what a decision asks its caller to do.
type rotationAction int

const (
	actionNone           rotationAction = iota
	actionGenerateSecret                // make a secret, hand it to staged()
	actionSetSecret                     // send Next to Auth0, report accepted() or failed()
	actionRotateSecret                  // let Auth0 make one, report accepted(), hidden() or failed()
	actionReadBack                      // an earlier actionRotateSecret had no clear answer: find out, report found() or as above
)

// rotationDecision is one step: store State, then take Action.
type rotationDecision struct {
	State  rotationState
	Action rotationAction
	// Wake is when to decide again if nothing else happens; zero: never.
	Wake time.Time
}

// decideRotation is the state machine's only decision. It has no side effects.
func decideRotation(set rotationSettings, st rotationState, clk rotationClock) rotationDecision {
	st = st.settled(set, clk)
	switch {
	case st.Next != nil:
		return decideStaged(set, st, clk)
	case st.Asked:
		return decideUpstream(st, actionReadBack, clk)
	case !st.SettledAt.IsZero() && !st.Forced:
		return rotationDecision{State: st, Wake: st.settlesAt(set, clk)}
	}
	due, scheduled := st.rotationDue(set, clk.Now)
	if !scheduled || clk.Now.Before(due) {
		return rotationDecision{State: st, Wake: due}
	}
	if set.Source == sourceVault || st.OwnSecret {
		return decideUpstream(st, actionGenerateSecret, clk)
	}
	d := decideUpstream(st, actionRotateSecret, clk)
	if d.Action == actionRotateSecret {
		d.State.Asked, d.State.Order = true, set.Order
	}
	return d
}

func decideStaged(set rotationSettings, st rotationState, clk rotationClock) rotationDecision {
	if at, planned := st.activateAt(set, clk); !planned || clk.Now.Before(at) {
		return rotationDecision{State: st, Wake: at}
	}
	return decideUpstream(st, actionSetSecret, clk)
}

// decideUpstream holds an action back while an earlier failure is waited out.
func decideUpstream(st rotationState, action rotationAction, clk rotationClock) rotationDecision {
	if wait := st.RetryAt.Sub(clk.Now); wait > 0 && wait <= backoffMax {
		return rotationDecision{State: st, Wake: st.RetryAt}
	}
	return rotationDecision{State: st, Action: action}
}
