package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// goal is what a figure should be.
type goal struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Low   float64 `json:"low,omitempty"`  // of the 95 % interval, if there is one
	High  float64 `json:"high,omitempty"` // of the 95 % interval, if there is one
	Bound float64 `json:"bound"`
	Above bool    `json:"above"` // whether the value should be at least the bound, or at most
	Met   bool    `json:"met"`
	// Unclear: it is not met, but the bound is within the interval.
	Unclear bool `json:"unclear,omitempty"`
}

// The bounds.
const (
	wantReading    = 0.97
	wantRateUsed   = 0.95
	wantTurnedAway = 0.01
	wantBeside     = 0.95
	wantBytes      = 2048
	wantSize       = 1.25
	// noise is by how much figures that should be the same may differ.
	noise = 1.5
)

func (r *report) judge() {
	for _, what := range []string{credsOne, credsMany, staticOne, staticMany} {
		for _, storage := range []string{inMemory, raft} {
			i := ratio(r.pairs(what, storage)...)
			r.Goals = append(r.Goals, goal{
				What: what + ", " + storage + ": requests a second, of the baseline's", Value: i.Value, Low: i.Low, High: i.High, Bound: wantReading, Above: true,
			})
		}
	}
	x := &r.Rotation
	figure := r.InProcess.median
	r.Goals = append(r.Goals,
		goal{What: "forced rotation: requests to the Management API", Value: x.PerRotation, Bound: 1 + wantTurnedAway},
		goal{What: "staged rotation: requests, no check being due", Value: figure("Rotation/staged", "requests/rotation"), Bound: 1},
		goal{What: "staged rotation: requests, with its check for drift", Value: figure("Rotation/staged-and-checked-for-drift", "requests/rotation"), Bound: 2},
		goal{What: "rotation: token requests while one is valid", Value: float64(x.Tokens), Bound: 0},
		goal{What: "rotation: share of the tenant's rate used", Value: x.RateUsed, Bound: wantRateUsed, Above: true},
		goal{What: "rotation: share of requests answered 429", Value: x.TurnedAway, Bound: wantTurnedAway},
		goal{What: "rotation: the same at a paid tenant's own rate", Value: x.BesideTurnedAway, Bound: wantTurnedAway},
		goal{What: "rotation: roles lost", Value: float64(x.Lost), Bound: 0},
		goal{What: "reads meanwhile, of what they are without", Value: x.ReadsBeside.Value, Low: x.ReadsBeside.Low, High: x.ReadsBeside.High, Bound: wantBeside, Above: true},
		goal{What: "memory for a role of 100,000, bytes", Value: figure("Rebuild/roles=100000", "B/role"), Bound: wantBytes},
		r.growth("first read after a start, 100,000 roles to 1,000", "FirstRead"),
		r.growth("idle tick, 100,000 roles to 1,000", "IdleTick"),
		goal{What: "storage writes of a rotation", Value: figure("Rotation/staged", "puts/rotation"), Bound: 3},
		goal{What: "size of the plugin, of the baseline's", Value: float64(r.Size.Plugin) / float64(r.Size.Baseline), Bound: wantSize},
	)
	for i := range r.Goals {
		g := &r.Goals[i]
		g.Met = g.Above && g.Value >= g.Bound || !g.Above && g.Value <= g.Bound
		g.Unclear = !g.Met && g.Low < g.High && g.Low <= g.Bound && g.Bound <= g.High
	}
}

// growth is the goal that a benchmark takes as long with many roles as with few.
func (r *report) growth(what, benchmark string) goal {
	i := ratioOfMedians(r.InProcess[benchmark+"/roles=100000"]["sec/op"], r.InProcess[benchmark+"/roles=1000"]["sec/op"])
	return goal{What: what, Value: i.Value, Low: i.Low, High: i.High, Bound: noise}
}

// pairs are the rates of a way of reading beside those of its baseline, in all
// settings with that storage.
func (r *report) pairs(what, storage string) []pair {
	var pairs []pair
	baselines := map[string][]float64{}
	for _, row := range r.Reading {
		if row.What == baselineOf[what] {
			baselines[row.setting()] = row.rates
		}
	}
	for _, row := range r.Reading {
		if row.What == what && row.Storage == storage {
			pairs = append(pairs, pair{row.rates, baselines[row.setting()]})
		}
	}
	return pairs
}

// missed is how many goals are missed beyond doubt.
func (r *report) missed() int {
	n := 0
	for _, g := range r.Goals {
		if !g.Met && !g.Unclear {
			n++
		}
	}
	return n
}

func (r *report) printGoals(to io.Writer) {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, g := range r.Goals {
		verdict, relation := "met", "<="
		if g.Above {
			relation = ">="
		}
		if !g.Met {
			verdict = fmt.Sprintf("MISSED by %.3f", max(g.Value-g.Bound, g.Bound-g.Value))
		}
		if g.Unclear {
			verdict += ", which is within the interval"
		}
		interval := ""
		if g.High > 0 {
			interval = fmt.Sprintf("%.3f-%.3f", g.Low, g.High)
		}
		fmt.Fprintf(table, "%s\t%.4g\t%s\t%s %.4g\t%s\n", g.What, g.Value, interval, relation, g.Bound, verdict)
	}
	_ = table.Flush()
}
