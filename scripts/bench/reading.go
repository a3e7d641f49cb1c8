package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"
)

// Ways of reading. Each but the KV is compared with the plugin that does nothing.
const (
	baselineLeased = "baseline, with a lease"
	credsOne       = "creds/, 1 role"
	credsMany      = "creds/, many roles"
	baselinePlain  = "baseline, no lease"
	staticOne      = "static-creds/, 1 role"
	staticMany     = "static-creds/, many roles"
	kv             = "KV v2"
)

// baselineOf is what a way of reading is compared with.
var baselineOf = map[string]string{
	baselineLeased: baselineLeased, credsOne: baselineLeased, credsMany: baselineLeased,
	baselinePlain: baselinePlain, staticOne: baselinePlain, staticMany: baselinePlain, kv: baselinePlain,
}

// Storages of Vault.
const (
	inMemory = "in-memory"
	raft     = "raft"
)

var connectionCounts = []int{1, 16, 64}

// reading is what one way of reading has shown in one setting.
type reading struct {
	Storage     string        `json:"storage"`
	Audit       bool          `json:"audit"`
	Connections int           `json:"connections"`
	What        string        `json:"what"`
	PerSecond   float64       `json:"per_second"`
	P50         time.Duration `json:"p50_ns"`
	P99         time.Duration `json:"p99_ns"`
	Ratio       interval      `json:"ratio_to_baseline"`     // of requests a second
	CPURatio    float64       `json:"cpu_ratio_to_baseline"` // of the CPU time of Vault and its plugins for a request

	rates []float64 // of each round
}

// setting is what is the same for readings that are compared.
func (r *reading) setting() string {
	audit := "no audit"
	if r.Audit {
		audit = "audit"
	}
	return fmt.Sprintf("%s, %s, %d conn.", r.Storage, audit, r.Connections)
}

func (s *stack) targets(roles int) []target {
	one := func(path string) func(int) string {
		url := s.Vault.Addr() + "/v1/" + path + roleName(0)
		return func(int) string { return url }
	}
	many := func(path string) func(int) string {
		urls := make([]string, roles)
		for i := range urls {
			urls[i] = s.Vault.Addr() + "/v1/" + path + roleName(i*7919%roles) // in no order
		}
		return func(n int) string { return urls[n%roles] }
	}
	return []target{
		{baselineLeased, one(mountBaseline + "/leased/")},
		{credsOne, one(mountOne + "/creds/")},
		{credsMany, many(mountMany + "/creds/")},
		{baselinePlain, one(mountBaseline + "/plain/")},
		{staticOne, one(mountOne + "/static-creds/")},
		{staticMany, many(mountMany + "/static-creds/")},
		{kv, one(mountKV + "/data/")},
	}
}

// measureReading reads in all ways, without and with an audit log, over few and
// many connections.
func measureReading(ctx context.Context, o options, s *stack, storage string, r *report) error {
	targets := s.targets(o.roles)
	for _, audit := range []bool{false, true} {
		if audit {
			if err := s.Vault.EnableAudit(ctx, filepath.Join(s.Dir, "audit.log")); err != nil {
				return err
			}
		}
		for _, connections := range connectionCounts {
			readings, err := compare(ctx, o, s, targets, connections)
			if err != nil {
				return err
			}
			for _, reading := range readings {
				reading.Storage, reading.Audit, reading.Connections = storage, audit, connections
				r.Reading = append(r.Reading, reading)
			}
			say("  %s: creds/ %.3f of the baseline, static-creds/ %.3f", readings[0].setting(), readings[1].Ratio.Value, readings[4].Ratio.Value)
		}
	}
	return nil
}

// compare measures each target for a slice in each round. Their order is drawn
// anew each time, so that none always follows the same, and the first round only
// warms up.
func compare(ctx context.Context, o options, s *stack, targets []target, connections int) ([]*reading, error) {
	l := newLoad(s.Vault.Token(), connections)
	defer l.close()
	type total struct {
		requests int
		took     time.Duration
		cpu      time.Duration
		all      []time.Duration
	}
	totals, readings := map[string]*total{}, map[string]*reading{}
	for _, t := range targets {
		totals[t.name], readings[t.name] = &total{}, &reading{What: t.name}
	}
	for round := range o.rounds + 1 {
		for _, i := range rand.Perm(len(targets)) { //nolint:gosec // an order
			t := targets[i]
			cpu := s.cpuTime()
			slice, err := l.run(ctx, t, o.slice)
			if err != nil {
				return nil, err
			}
			if round == 0 {
				continue
			}
			sum := totals[t.name]
			sum.requests += len(slice.latencies)
			sum.took += slice.took
			sum.cpu += s.cpuTime() - cpu
			sum.all = append(sum.all, slice.latencies...)
			readings[t.name].rates = append(readings[t.name].rates, slice.rate())
		}
	}
	inOrder := make([]*reading, len(targets))
	for i, t := range targets {
		r, sum, baseline := readings[t.name], totals[t.name], totals[baselineOf[t.name]]
		r.PerSecond = float64(sum.requests) / sum.took.Seconds()
		r.P50, r.P99 = percentile(sum.all, 0.5), percentile(sum.all, 0.99)
		r.Ratio = ratio(pair{r.rates, readings[baselineOf[t.name]].rates})
		r.CPURatio = (sum.cpu.Seconds() / float64(sum.requests)) / (baseline.cpu.Seconds() / float64(baseline.requests))
		inOrder[i] = r
	}
	return inOrder, nil
}
