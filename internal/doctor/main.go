package doctor

import (
	"bufio"
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
applications can be roles. It only reads: it changes nothing in Auth0. Run it
where Vault runs, for the network, proxies and clock there are what counts.

What to check, by the names that the fields of the engine's config have:

  -domain=             host of the tenant, or host:port (AUTH0_DOMAIN)
  -client_id=          of the machine-to-machine application (AUTH0_CLIENT_ID)
  -client_secret=      its secret (AUTH0_CLIENT_SECRET)
  -private_key=        or its private key (PEM), for private_key_jwt
  -signing_algorithm=  RS256 (default), RS384 or PS256, with -private_key
  -audience=           of the Management API (default https://<domain>/api/v2/)
  -ca_cert=            PEM of the CAs to trust (default the system's)
  -request_timeout=    of one request, 1s to 1m (default 30s)
  -config=             a JSON object with fields of the engine's config, as
                       "vault write auth0/config -" takes it: @file, or -
  -application=        check only the application with this client ID; for
                       several more than once, or separated by commas

As with the vault command, -name=@file reads the value from a file and -name=-
from standard input. What no flag gives is taken from -config, then from the
environment (the names in brackets). Do not give a secret on the command line:
others see it there.

How to print it:

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
	settings, err := readSettings(args, s.Stdin, s.Getenv)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(s.Stdout, usage) //nolint:errcheck // to a terminal
		return ExitOK
	case err != nil:
		fmt.Fprintf(s.Stderr, "doctor: %s\nvault-plugin-secrets-auth0 doctor -h lists the flags.\n", err)
		return ExitUsage
	}
	progress := io.Discard
	if s.Terminal {
		progress = s.Stderr
	}
	report, err := examine(ctx, settings, userAgent, progress)
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
	out := bufio.NewWriter(to) // keeps the first error
	if format == formatJSON {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(report); err != nil {
			return err
		}
	} else {
		printTable(out, report)
	}
	return out.Flush()
}
