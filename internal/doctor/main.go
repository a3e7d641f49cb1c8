package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
)

// Exit codes.
const (
	ExitOK     = 0 // everything that the engine needs works
	ExitFailed = 1 // something that it needs does not
	ExitUsage  = 2 // nothing was checked: the command is wrong
)

const usage = `Usage: vault-plugin-secrets-auth0 doctor [flags]

Says what works with an Auth0 tenant and the credentials that the engine is to
have: login, scopes, the Management API, its rate limit, the clocks, and which
applications can be roles. It only reads: nothing is changed in Auth0. Run it
where Vault runs: what counts are the network, proxies and clock there.

What to check:

  -domain=             host of the tenant, or host:port (AUTH0_DOMAIN)
  -client-id=          of the machine-to-machine application (AUTH0_CLIENT_ID)
  -client-secret=      its secret (AUTH0_CLIENT_SECRET)
  -private-key=        or its private key (PEM), for private_key_jwt
  -signing-algorithm=  RS256 (default), RS384 or PS256, with -private-key
  -audience=           of the Management API (default https://<domain>/api/v2/)
  -ca-cert=            PEM of the CAs to trust (default the system's)
  -request-timeout=    of one request, 1s to 1m (default 30s)
  -config=             a JSON object with fields of the engine's path config,
                       as "vault write auth0/config -" takes it: @file, or -
  -application=        check only the application with this client ID; for
                       several more than once, or separated by commas

As with the vault command, a value @file is read from the file and - from
standard input. What no flag gives is taken from -config, then from the
environment (the names in brackets). Better not give a secret on the command
line, where others see it.

How to tell:

  -format=             table (default) or json (VAULT_FORMAT)

Exit codes: 0 everything that the engine needs works (there may be warnings),
1 something that it needs does not, or an application named by -application is
not fit to be a role, 2 wrong usage: nothing was checked.
`

// Streams are what a run reads and writes.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal says whether Stderr is one: progress is shown then.
	Terminal bool
	Getenv   func(string) string
}

// Main runs the command with its arguments, and gives the exit code.
func Main(ctx context.Context, args []string, userAgent string, s Streams) int {
	settings, err := newFlags().read(args, s.Stdin, s.Getenv)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(s.Stdout, usage) //nolint:errcheck // to a terminal
		return ExitOK
	case err != nil:
		fmt.Fprintf(s.Stderr, "doctor: %s\nvault-plugin-secrets-auth0 doctor -h tells the flags.\n", err)
		return ExitUsage
	}
	report, err := examine(ctx, settings, userAgent, newProgress(s.Stderr, s.Terminal))
	switch {
	case err != nil:
		fmt.Fprintf(s.Stderr, "doctor: %s\n", err)
		return ExitUsage
	case ctx.Err() != nil:
		fmt.Fprintln(s.Stderr, "doctor: interrupted")
		return ExitFailed
	}
	if err := print(s.Stdout, settings.format, report); err != nil {
		fmt.Fprintf(s.Stderr, "doctor: %s\n", err)
		return ExitFailed
	}
	if !report.OK {
		return ExitFailed
	}
	return ExitOK
}

// print prints a report. It is an error if not all of it could be written.
func print(to io.Writer, format string, report *Report) error {
	out := &checkedWriter{to: to}
	if format == formatJSON {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	printTable(out, report)
	return out.err
}

// checkedWriter keeps the first error.
type checkedWriter struct {
	to  io.Writer
	err error
}

// Write implements io.Writer.
func (w *checkedWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.to.Write(p)
	w.err = err
	return n, err
}
