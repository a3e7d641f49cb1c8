// Command bench measures the engine and prints a table of what it found beside its
// goals, for docs/internals/performance.md. It fails if a goal is missed.
//
// It has to be right on a machine that others use, too. So its goals are counts
// (writes, requests, bytes), and the CPU time of the plugin's process beside that of a
// plugin that does nothing: CPU time does not grow because a process has to wait for a
// CPU. Rates and latencies are printed without a goal.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute) // it takes six
	defer cancel()
	began := time.Now()
	var t table
	for _, part := range []func(context.Context, *table) error{measureSize, measureCounts, measureTokens, measureRole, measureOnVault} {
		if err := part(ctx, &t); err != nil {
			return err
		}
	}
	say("done in %s", time.Since(began).Round(time.Second))
	fmt.Print("\n", t.text())
	if t.missed > 0 {
		return fmt.Errorf("goals missed: %d", t.missed)
	}
	return nil
}

// say tells what is going on.
func say(format string, a ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, a...))
}
