package rotation

import (
	"context"
	"errors"
	"time"
)

// Target is an application's client secret or key, or the engine's own. Run
// calls its methods one after the other, and nothing else changes it meanwhile.
type Target interface {
	// Load gives the present settings, and the state that was saved last.
	Load(ctx context.Context) (Settings, State, error)
	// Clock is the time, and since when the saved state is served here.
	Clock() Clock
	// Save makes a state durable, and then has it served.
	Save(ctx context.Context, s State) error
	// Generate makes a secret.
	Generate(ctx context.Context) (Secret, error)
	// Send carries out a request at Auth0.
	Send(ctx context.Context, r Request) Outcome
	// Prove makes sure that a secret that Auth0 has accepted works, and removes the one
	// that it replaces. After an error it may work or not.
	Prove(ctx context.Context, s Secret) error
}

// Request is what is sent to Auth0.
type Request struct {
	Kind RequestKind
	// Secret is the one that it is about; of ReadBack, the one from before.
	Secret Secret
	// Force: an operator has asked for this one without waiting.
	Force bool
}

// RequestKind is what a request asks of Auth0.
type RequestKind int

// The kinds.
const (
	Set  RequestKind = iota // set the secret
	Make                    // make one, and show it
	// ReadBack is Make when an earlier one had no clear answer: if another secret
	// than the one from before can be read, that is the outcome.
	ReadBack
	// Confirm: make sure that Auth0 accepts a key that it has taken. With force, that may
	// take until the key has propagated.
	Confirm
	// Retire: a key is no longer to be accepted.
	Retire
)

// ErrLater is what Generate returns if others are being made: it is tried again in
// laterPause, and is no failure.
var ErrLater = errors.New("another one is being made")

const laterPause = time.Second

// storePatience bounds the storing of an outcome.
const storePatience = 30 * time.Second

// Run is the one driver of rotations: on request, on schedule and after a crash. It
// takes the decisions of the machine and carries them out until there is nothing to
// do. What an action rests on is durable before it is taken, so a crash at any point
// loses no secret. It returns when to go on; zero: not by itself. The error of an
// attempt is part of the stored state then, and returned as well; with a zero time
// not even that could be stored.
//
// ctx should not end because a caller does not wait any longer: without Auth0's answer
// the attempt is an unclear one.
func Run(ctx context.Context, t Target, ask Ask) (wake time.Time, err error) {
	for {
		set, state, err := t.Load(ctx)
		if err != nil {
			return time.Time{}, err
		}
		clk := t.Clock()
		stored := state.r.propagated(clk)
		wanted := stored.asked(ask)
		ask = Ask{}
		d := decide(set, wanted, clk)
		if d.action == doGenerate {
			secret, err := t.Generate(ctx)
			if errors.Is(err, ErrLater) {
				return clk.Now.Add(laterPause), nil
			}
			if err != nil {
				failed := d.failed(set, Outcome{Result: NotSent, Err: err}, true, clk)
				return saveFailure(ctx, t, failed, err)
			}
			clk = t.Clock()
			if d = decide(set, d.staged(set, secret, clk.Now), clk); d.action != doSet {
				d.action = doNothing
				d.wake = clk.Now // to be decided again: it is served only now
			}
		}
		if !d.equal(stored) || d.sends() { // a repeated attempt, too, needs storage that can be written
			if err := t.Save(ctx, State{d.record}); err != nil {
				return time.Time{}, err
			}
		}
		if d.sends() {
			if wake, err := attempted(ctx, t, set, d, wanted.Attempt == notBegun); err != nil {
				return wake, err
			}
		} else if d.wake.IsZero() || d.wake.After(clk.Now) {
			return d.wake, nil
		}
	}
}

// attempted carries out an attempt that is on record, and stores the outcome, even if
// the time for the request is up.
func attempted(ctx context.Context, t Target, set Settings, d decision, first bool) (wake time.Time, err error) {
	outcome := send(ctx, t, d)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storePatience)
	defer cancel()
	clk := t.Clock()
	if d.Keys {
		next, ok := d.keyOutcome(set, d.action, outcome, first, clk)
		if ok {
			return time.Time{}, t.Save(ctx, State{next})
		}
		return saveFailure(ctx, t, next, outcome.Err)
	}
	switch outcome.Result {
	case Accepted:
		return time.Time{}, t.Save(ctx, State{d.accepted(set, outcome.Secret, clk.Now)})
	case Found:
		return time.Time{}, t.Save(ctx, State{d.found(set, outcome.Secret, clk.Now)})
	case Hidden:
		return time.Time{}, t.Save(ctx, State{d.hidden()})
	}
	return saveFailure(ctx, t, d.failed(set, outcome, first, clk), outcome.Err)
}

// saveFailure stores a failure, and returns it.
func saveFailure(ctx context.Context, t Target, failed record, cause error) (wake time.Time, err error) {
	if err := t.Save(ctx, State{failed}); err != nil {
		return time.Time{}, errors.Join(cause, err)
	}
	return failed.RetryAt, cause
}

// send sends the request that a decision asks for, and proves a secret that Auth0 has
// accepted.
func send(ctx context.Context, t Target, d decision) Outcome {
	switch {
	case d.action == doConfirm:
		return t.Send(ctx, Request{Kind: Confirm, Secret: d.Next.Value, Force: d.forced()})
	case d.action == doRetire:
		return t.Send(ctx, Request{Kind: Retire, Secret: d.Previous.Value, Force: d.forced() || d.FallbackFor == 0})
	case d.action != doSet:
		kind := Make
		if d.action == doReadBack {
			kind = ReadBack
		}
		var before Secret
		if d.Current != nil {
			before = d.Current.Value
		}
		return t.Send(ctx, Request{Kind: kind, Secret: before, Force: d.Force})
	}
	outcome := t.Send(ctx, Request{Kind: Set, Secret: d.Next.Value, Force: d.Force})
	if outcome.Result == Accepted {
		if err := t.Prove(ctx, d.Next.Value); err != nil {
			return Outcome{Result: Unclear, Err: err}
		}
	}
	return outcome
}

// Compared takes in the secret that was read in Auth0 while no request of ours was on
// its way. False: nothing follows from it.
func Compared(set Settings, s State, secret Secret, clk Clock) (State, bool) {
	r, changed := s.r.compared(set, secret, clk)
	return State{r}, changed
}
