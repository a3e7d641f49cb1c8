// Command conformance compares a real Auth0 tenant with what the engine assumes of
// Auth0, and prints a table that is fit to be pasted into an issue:
//
//	export AUTH0_DOMAIN=example.eu.auth0.com AUTH0_CLIENT_ID=... AUTH0_CLIENT_SECRET=...
//	go run ./scripts/conformance
//
// The credential is that of a machine-to-machine application with the scopes of
// conformance.Scopes; what those that it lacks are for is not tried. AUTH0_AUDIENCE
// is the Management API's where the domain is a custom one, AUTH0_CA_CERT a file with
// the CA to trust.
//
// It touches no application but those that it makes, and removes these, also after
// Ctrl-C. The exit code is 0 if all that could be tried is as assumed, 1 if something
// differs, 2 if the run could not be carried out or has left something over.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	auth0secrets "vault-plugin-secrets-auth0"
	"vault-plugin-secrets-auth0/internal/conformance"
)

// bound is how long a run takes at most, without what it then removes.
const bound = 10 * time.Minute

const (
	exitAgrees  = 0
	exitDiffers = 1
	exitFailed  = 2
)

func main() {
	t, err := conformance.FromEnvironment(os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(exitFailed)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, t, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run prints the table to out, and how it goes to told.
func run(ctx context.Context, t conformance.Tenant, out, told io.Writer) int {
	t.Say = func(line string) { fmt.Fprintln(told, line) }
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	r, err := conformance.Open(ctx, t)
	if err != nil {
		fmt.Fprintln(told, "conformance:", err)
		return exitFailed
	}
	fmt.Fprintf(told, "trying what the engine assumes, with applications named %s...: about two minutes\n", conformance.NamePrefix)
	report := conformance.Report{At: time.Now(), Version: auth0secrets.Version, Missing: r.Missing()}
	report.Results = r.Check(ctx)
	ended := ctx.Err()
	if ended != nil {
		fmt.Fprintln(told, "ended before it was through: removing what was made")
	}
	closed := r.Close(ctx)
	fmt.Fprintln(told)
	written := report.Write(out)
	if err := errors.Join(ended, closed, written); err != nil {
		fmt.Fprintln(told, "conformance:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return exitFailed
	}
	if report.Count(conformance.Differs) > 0 {
		return exitDiffers
	}
	return exitAgrees
}
