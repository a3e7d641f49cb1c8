package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
)

// inProcess are the Go benchmarks' medians: of benchmarks by name, of values by
// unit.
type inProcess map[string]map[string]float64

// benchRuns are how many samples there are of each quick benchmark.
const benchRuns = 6

// measureInProcess runs the Go benchmarks: the quick ones many times, those of
// scale a few times.
func measureInProcess(ctx context.Context, o options, _ string, r *report) error {
	file := filepath.Join(o.dir, "go-bench.txt")
	out, err := os.Create(file) //nolint:gosec // the user's choice
	if err != nil {
		return err
	}
	for _, run := range [][]string{
		{"-bench", "^(BenchmarkRead|BenchmarkIdleTick)$", "-benchtime", "300ms", "-count", fmt.Sprint(benchRuns)},
		{"-bench", "^(BenchmarkFirstRead|BenchmarkRotation)$", "-benchtime", "50x", "-count", fmt.Sprint(benchRuns)},
		{"-bench", "^BenchmarkRebuild$", "-benchtime", "1x", "-count", "3"},
	} {
		say("  go test %s", strings.Join(run, " "))
		cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-run", "^$", "-timeout", "20m", "."}, run...)...) //nolint:gosec // see above
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		if err := cmd.Run(); err != nil {
			return errors.Join(fmt.Errorf("go test: %w; what it printed is in %s", err, file), out.Close())
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	stat := exec.CommandContext(ctx, "go", "tool", "benchstat", file) //nolint:gosec // see above
	stat.Stderr = os.Stderr
	if r.benchstat, err = stat.Output(); err != nil {
		return fmt.Errorf("benchstat: %w", err)
	}
	text, err := os.ReadFile(file) //nolint:gosec // written above
	if err != nil {
		return err
	}
	r.InProcess, err = medians(bytes.NewReader(text))
	return err
}

// medians reads the output of go test -bench.
func medians(text io.Reader) (inProcess, error) {
	samples := map[string]map[string][]float64{}
	reader := benchfmt.NewReader(text, "bench")
	for reader.Scan() {
		result, ok := reader.Result().(*benchfmt.Result)
		if !ok {
			continue
		}
		name := string(result.Name.Full())
		if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of CPUs
			name = name[:i]
		}
		if samples[name] == nil {
			samples[name] = map[string][]float64{}
		}
		for _, value := range result.Values {
			samples[name][value.Unit] = append(samples[name][value.Unit], value.Value)
		}
	}
	found := inProcess{}
	for name, units := range samples {
		found[name] = map[string]float64{}
		for unit, values := range units {
			slices.Sort(values)
			found[name][unit] = benchmath.AssumeNothing.Summary(benchmath.NewSample(values, &benchmath.DefaultThresholds), 0.95).Center
		}
	}
	return found, reader.Err()
}
