package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// report is all that was measured.
type report struct {
	At        time.Time      `json:"at"`
	CPUs      int            `json:"cpus"`
	Go        string         `json:"go"`
	Roles     int            `json:"roles"` // of the mount that has many
	Rounds    int            `json:"rounds"`
	Reading   []*reading     `json:"reading"`
	InProcess inProcess      `json:"in_process"`
	Rotation  rotationResult `json:"rotation"`
	Size      sizeResult     `json:"size"`
	Goals     []goal         `json:"goals"`

	benchstat []byte
}

func newReport(o options) *report {
	return &report{At: time.Now().UTC(), CPUs: runtime.NumCPU(), Go: runtime.Version(), Roles: o.roles, Rounds: o.rounds}
}

func (r *report) write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}

func (r *report) print(to io.Writer) {
	fmt.Fprintf(to, "\n%d CPUs, %s; \"many roles\" are %d; ratios with their 95 %% intervals\n", r.CPUs, r.Go, r.Roles)
	fmt.Fprintln(to, "\nREADING, requests a second and latency through a real Vault")
	r.printReading(to)
	fmt.Fprintln(to, "\nIN PROCESS, by go test -bench and benchstat")
	fmt.Fprintf(to, "%s", r.benchstat)
	r.printRotation(to)
	fmt.Fprintf(to, "\nSIZE AND START\nplugin %d bytes, starts in %s; baseline %d bytes, starts in %s\n",
		r.Size.Plugin, short(r.Size.Start), r.Size.Baseline, short(r.Size.BaselineStart))
	fmt.Fprintf(to, "reload of the plugin and first credentials, in a real Vault: 1 role %s, many roles %s\n",
		short(r.Rotation.FirstOne), short(r.Rotation.FirstMany))
	fmt.Fprintln(to, "\nGOALS")
	r.printGoals(to)
}

func (r *report) printReading(to io.Writer) {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "setting\twhat\treq/s\tp50\tp99\tof the baseline\t\tCPU of the baseline's")
	last := ""
	for _, row := range r.Reading {
		setting := row.setting()
		if setting == last {
			setting = ""
		} else {
			last = setting
		}
		against := fmt.Sprintf("%.3f\t%.3f-%.3f\t%.3f", row.Ratio.Value, row.Ratio.Low, row.Ratio.High, row.CPURatio)
		if baselineOf[row.What] == row.What {
			against = "\t\t"
		}
		fmt.Fprintf(table, "%s\t%s\t%.0f\t%s\t%s\t%s\n", setting, row.What, row.PerSecond, short(row.P50), short(row.P99), against)
	}
	_ = table.Flush()
}

func (r *report) printRotation(to io.Writer) {
	x := &r.Rotation
	fmt.Fprintf(to, "\nROTATION of %d roles at once, forced; the tenant's limit is %.0f requests a second and %d at once, %d times a paid tenant's\n",
		x.Roles, x.RateLimit, x.Burst, x.Scale)
	fmt.Fprintf(to, "took %s: %.1f %% of the rate used, %.2f %% of the requests answered 429, %d roles lost; %s of CPU time of Vault and the plugin for each\n",
		x.Took.Round(10*time.Millisecond), 100*x.RateUsed, 100*x.TurnedAway, x.Lost, short(x.CPU))
	fmt.Fprintf(to, "%.4f requests to the Management API for a rotation, %d token requests in all:\n", x.PerRotation, x.Tokens)
	for _, kind := range slices.Sorted(maps.Keys(x.Requests)) {
		fmt.Fprintf(to, "  %6d  %s\n", x.Requests[kind], kind)
	}
	fmt.Fprintf(to, "at a paid tenant's own rate: %.1f rotations a second, %.2f %% of the requests answered 429;\n", x.BesideRate, 100*x.BesideTurnedAway)
	fmt.Fprintf(to, "reads of the roles that are rotated meanwhile: %.0f a second, %.3f (%.3f-%.3f) of what they are without\n",
		x.BesideReads, x.ReadsBeside.Value, x.ReadsBeside.Low, x.ReadsBeside.High)
}

// short is a duration with three digits.
func short(d time.Duration) string {
	for unit := time.Nanosecond; unit < time.Second; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit).String()
		}
	}
	return d.Round(10 * time.Millisecond).String()
}
