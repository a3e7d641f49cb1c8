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
	"io"
	"slices"
	"strings"
	"time"
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

	// check says in a few words what was seen, and whether it is as assumed.
	check func(*trial) (seen string, ok bool)
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
	t := &trial{Run: r, ctx: ctx}
	seen, ok := a.check(t)
	switch {
	case t.err != nil:
		seen = t.err.Error()
	case ok:
		result.Outcome = Agrees
	default:
		result.Outcome = Differs
	}
	result.Seen = r.clean(seen)
	return result
}

// trial is one check, or another thing that is done with the tenant. After the first
// error nothing is sent any more: what a check says it has seen is not looked at, for
// it could not be tried.
type trial struct {
	*Run
	ctx context.Context
	err error
}

// fail makes this the error of the trial, if it is the first.
func (t *trial) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// expect fails unless an answer has a status.
func (t *trial) expect(status int, got answer, otherwise string) {
	if got.status != status {
		t.fail(fmt.Errorf("%s: %s", otherwise, got))
	}
}

func (t *trial) sleep(d time.Duration) {
	if t.err != nil {
		return
	}
	select {
	case <-t.ctx.Done():
		t.err = t.ctx.Err()
	case <-time.After(d):
	}
}

// once is made when it is first wanted, and only tried once.
type once[T any] struct {
	done  bool
	value T
	err   error
}

// get gives what begin has made. Where that could not be tried, this trial can't be
// either.
func (o *once[T]) get(t *trial, begin func(*trial) T) T {
	if !o.done && t.err == nil {
		o.value = begin(t)
		o.done, o.err = true, t.err
	}
	t.fail(o.err)
	return o.value
}

// byHand makes a check that cannot be tried by a program.
func byHand(why string) func(*trial) (string, bool) {
	return func(t *trial) (string, bool) {
		t.fail(errors.New(why))
		return "", false
	}
}

// Report is what a run has shown, to be pasted into an issue.
type Report struct {
	At      time.Time
	Version string // of the engine
	Results []Result
	Missing []string // scopes that the credential lacks
}

// Count is how many results have an outcome.
func (r Report) Count(o Outcome) int {
	return len(r.Results) - len(slices.DeleteFunc(slices.Clone(r.Results), func(result Result) bool { return result.Outcome == o }))
}

// Write writes it as Markdown.
func (r Report) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### What the engine assumes of Auth0, and what this tenant does\n\n")
	fmt.Fprintf(&b, "%s, engine %s: %d agree, %d differ, %d not tried.\n", r.At.UTC().Format(time.RFC3339), r.Version,
		r.Count(Agrees), r.Count(Differs), r.Count(NotTried))
	if len(r.Missing) > 0 {
		fmt.Fprintf(&b, "The credential lacked %s.\n", strings.Join(r.Missing, ", "))
	}
	b.WriteString("\n| | assumed | seen | which document says so |\n|---|---|---|---|\n")
	cell := strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ", "\r", " ")
	for _, result := range r.Results {
		outcome := string(result.Outcome)
		if result.Outcome == Differs {
			outcome = "**differs**"
		}
		fmt.Fprintf(&b, "| %s: %s | %s | %s | %s: %s |\n", result.Name, outcome,
			cell.Replace(result.Assumed), cell.Replace(result.Seen), result.Evidence, cell.Replace(result.Source))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
