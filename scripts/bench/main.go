// Command bench measures the engine on a real Vault beside a plugin that does
// nothing, and against a simulated tenant with Auth0's rate limit. It prints
// what it finds, writes it as JSON and as a plot, and fails if a goal is missed.
//
// All comparisons are ratios within one run: rounds of short slices, in each of
// which one thing is measured, one after the other.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"vault-plugin-secrets-auth0/internal/devvault"
)

// options are the command's flags.
type options struct {
	vault  string        // Vault's binary
	dir    string        // for results
	rounds int           // of slices, for each way of reading
	slice  time.Duration // how long one thing is measured at a time
	roles  int           // of the mount with many roles
}

func main() {
	var o options
	flag.StringVar(&o.dir, "out", ".bench", "folder for the results")
	flag.IntVar(&o.rounds, "rounds", 24, "rounds of each comparison of reads")
	flag.DurationVar(&o.slice, "slice", 100*time.Millisecond, "how long one thing is measured at a time")
	flag.IntVar(&o.roles, "roles", 10_000, "roles of the mount that has many")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	began := time.Now()
	if err := os.MkdirAll(o.dir, 0o750); err != nil {
		return err
	}
	var err error
	if o.vault, err = devvault.Binary(ctx); err != nil {
		return err
	}
	r := newReport(o)
	for _, part := range []struct {
		name string
		do   func(context.Context, options, *report) error
	}{
		{"size and start of the plugin", measureSize},
		{"in process (go test -bench)", measureInProcess},
		{"reading and rotation in a Vault with in-memory storage", measureInMemory},
		{"reading in a Vault with raft storage", measureRaft},
	} {
		say("%s ...", part.name)
		if err := part.do(ctx, o, r); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	r.judge()
	r.print(os.Stdout)
	if err := r.write(filepath.Join(o.dir, "results.json")); err != nil {
		return err
	}
	if err := r.plot(filepath.Join(o.dir, "reading.svg")); err != nil {
		return err
	}
	fmt.Printf("\nwritten to %s after %s\n", o.dir, time.Since(began).Round(time.Second))
	if missed := r.missed(); missed > 0 {
		return errors.New("goals missed: see above")
	}
	return nil
}

// say tells what is going on.
func say(format string, a ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, a...))
}
