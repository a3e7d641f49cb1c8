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
	"strings"

	"golang.org/x/perf/benchfmt"
)

// inProcess are the Go benchmarks' samples: of benchmarks by name, of values by
// unit.
type inProcess map[string]map[string][]float64

// median of the samples, and not a number without any: no goal is met by what
// was not measured.
func (p inProcess) median(benchmark, unit string) float64 {
	return median(p[benchmark][unit])
}

// benchRuns are how many samples there are of each quick benchmark.
const benchRuns = 6

// measureInProcess runs the Go benchmarks: the quick ones many times, those of
// scale a few times.
func measureInProcess(ctx context.Context, o options, r *report) error {
	file := filepath.Join(o.dir, "go-bench.txt")
	out, err := os.Create(file) //nolint:gosec // the user's choice
	if err != nil {
		return err
	}
	for _, run := range [][]string{
		{"-bench", "^(BenchmarkRead|BenchmarkIdleTick)$", "-benchtime", "300ms", "-count", fmt.Sprint(benchRuns)},
		{"-bench", "^BenchmarkFirstRead$", "-benchtime", "20x", "-count", fmt.Sprint(3 * benchRuns)},
		{"-bench", "^BenchmarkRotation$", "-benchtime", "50x", "-count", fmt.Sprint(benchRuns)},
		{"-bench", "^BenchmarkRebuild$", "-benchtime", "1x", "-count", "3"},
	} {
		say("  go test %s", strings.Join(run, " "))
		cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-run", "^$", "-timeout", "20m", ".", "./internal/due"}, run...)...) //nolint:gosec // see above
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
	r.InProcess, err = samples(bytes.NewReader(text))
	return err
}

// samples reads the output of go test -bench.
func samples(text io.Reader) (inProcess, error) {
	found := inProcess{}
	reader := benchfmt.NewReader(text, "bench")
	for reader.Scan() {
		result, ok := reader.Result().(*benchfmt.Result)
		if !ok {
			if broken, is := reader.Result().(*benchfmt.SyntaxError); is {
				return nil, fmt.Errorf("a benchmark has failed: %w", broken)
			}
			continue
		}
		name := string(result.Name.Full())
		if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of CPUs
			name = name[:i]
		}
		if found[name] == nil {
			found[name] = map[string][]float64{}
		}
		for _, value := range result.Values {
			found[name][value.Unit] = append(found[name][value.Unit], value.Value)
		}
	}
	return found, reader.Err()
}
