// Package conformance compares an Auth0 tenant with what the engine assumes of
// Auth0. It is never linked into the plugin.
//
// Each assumption has a name, a sentence, the evidence for it, and a check that
// asks the tenant. The list runs against the simulated tenant in the unit tests,
// and against a real one by make conformance:
//
//	run, err := conformance.Open(ctx, conformance.Tenant{Domain: "example.eu.auth0.com", ClientID: id, ClientSecret: secret})
//	...
//	results := run.Check(ctx)
//	err = run.Close(ctx) // removes what it made, also after ctx has ended
//
// A run touches no application but those that it makes itself. Their names begin
// with NamePrefix, and their description is fixed: what a run that was killed has
// left is found by both, and removed by the next one. So there must not be two
// runs on one tenant at the same time.
//
// It speaks HTTP itself, to see what is really sent.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Evidence is what an assumption rests on.
type Evidence string

// The kinds of evidence. Where it is from is in Assumption.Source.
const (
	Recorded   Evidence = "recorded"   // in recorded traffic of Auth0's own tools, or quoted in a public report
	Documented Evidence = "documented" // by Auth0
	Unknown    Evidence = "unknown"    // the engine is ready for more than one answer, or has taken a guess
)

// Outcome is what became of a check.
type Outcome string

// The outcomes.
const (
	Agrees   Outcome = "agrees"
	Differs  Outcome = "differs"
	NotTried Outcome = "not tried" // Result.Seen says why
)

// Assumption is something that the engine assumes of Auth0.
type Assumption struct {
	Name     string // such as token-wrong-secret
	Assumed  string // one sentence
	Evidence Evidence
	Source   string   // of the evidence
	Scopes   []string // of the Management API that the check needs, on top of those that every run needs

	// check says in a few words what was seen, and whether it is as assumed. With
	// an error it could not be tried.
	check func(context.Context, *Run) (seen string, ok bool, err error)
}

// Result is an assumption and what a tenant has shown.
type Result struct {
	Assumption
	Outcome Outcome
	Seen    string // without secrets, IDs and the tenant's domain
}

// Assumptions are all of them, in the order in which they are tried.
func Assumptions() []Assumption {
	return slices.Concat(tokenAssumptions, applicationAssumptions, secretAssumptions, keyAssumptions, limitAssumptions)
}

// Check tries all assumptions. When ctx ends, those that are left are not tried.
func (r *Run) Check(ctx context.Context) []Result {
	all := Assumptions()
	results := make([]Result, len(all))
	for i, a := range all {
		results[i] = r.try(ctx, a)
		r.say("%2d/%d %-26s %s", i+1, len(all), a.Name, results[i].Outcome)
	}
	return results
}

func (r *Run) try(ctx context.Context, a Assumption) Result {
	result := Result{Assumption: a, Outcome: NotTried}
	if ctx.Err() != nil {
		result.Seen = "the run was ended before"
		return result
	}
	if missing := r.missing(a.Scopes); len(missing) > 0 {
		result.Seen = "the credential lacks " + strings.Join(missing, ", ")
		return result
	}
	seen, ok, err := a.check(ctx, r)
	switch {
	case err != nil:
		seen = err.Error()
	case ok:
		result.Outcome = Agrees
	default:
		result.Outcome = Differs
	}
	result.Seen = r.clean(seen)
	return result
}

// unexpected is the error of a check that could not be prepared.
func unexpected(what string, a answer) error { return fmt.Errorf("%s: %s", what, a) }

var (
	errByHand   = errors.New("a person has to log in with a browser to get a code")
	errNoSecret = errors.New("the secret of a new application was not shown")
)
