// Command simulated-tenant runs a simulated Auth0 tenant by hand. Nothing about
// it is real: its applications and secrets exist nowhere else, and it forgets
// them when it ends.
//
//	go run ./cmd/simulated-tenant -apps 3 -propagation 30s -mode mixed -rate 2 -burst 10
//
// It prints the tenant's domain, its CA, its API with the scope that its
// applications have of it, their credentials, and every few seconds a line of
// counts: of logins, how many fell back to another secret than the first, how many
// were refused; of access tokens for the API. SIGINT and SIGTERM end it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"vault-plugin-secrets-auth0/internal/tenant"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "simulated-tenant:", err)
		os.Exit(1)
	}
}

// scope is what the applications may do with the API.
const scope = "read:orders"

// settings are what the flags say.
type settings struct {
	addr, caOut string
	propagation tenant.Propagation
	rate        tenant.RateLimit
	apps        int
	scopes      string
	every       time.Duration
}

func readFlags(args []string) (settings, error) {
	s := settings{propagation: tenant.Propagation{Mode: tenant.Mixed}}
	f := flag.NewFlagSet("simulated-tenant", flag.ContinueOnError)
	f.StringVar(&s.addr, "addr", "127.0.0.1:0", "`host:port` of the tenant, on loopback")
	f.StringVar(&s.caOut, "ca-out", "", "`file` for the tenant's CA certificate (default a temporary one)")
	f.DurationVar(&s.propagation.Delay, "propagation", 30*time.Second, "how long a new secret takes to be accepted everywhere")
	f.Func("mode", "what is accepted meanwhile: both, old, new, mixed (default mixed)", func(mode string) error {
		s.propagation.Mode = tenant.PropagationMode(mode)
		if !slices.Contains([]string{"both", "old", "new", "mixed"}, mode) {
			return errors.New("there is no such mode")
		}
		return nil
	})
	f.Float64Var(&s.rate.PerSecond, "rate", 0, "Management API requests per second; 0: unlimited")
	f.IntVar(&s.rate.Burst, "burst", 0, "Management API requests at once; 0: as -rate")
	f.IntVar(&s.apps, "apps", 3, "how many applications there are")
	f.StringVar(&s.scopes, "scopes", "update:client_keys read:clients read:client_keys", "`scopes` of the management application")
	f.DurationVar(&s.every, "every", 5*time.Second, "how often counts are printed; 0: only at the end")
	if err := f.Parse(args); err != nil {
		return settings{}, err
	}
	if f.NArg() > 0 {
		return settings{}, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return s, nil
}

// run runs a tenant until ctx ends.
func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := readFlags(args)
	if err != nil {
		return err
	}
	tn, err := tenant.Start(tenant.Options{Addr: s.addr, RateLimit: s.rate})
	if err != nil {
		return err
	}
	defer tn.Close()
	tn.SetPropagation(s.propagation)
	if s.caOut == "" {
		dir, err := os.MkdirTemp("", "simulated-tenant-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		s.caOut = filepath.Join(dir, "ca.pem")
	}
	if err := os.WriteFile(s.caOut, []byte(tn.CACert()), 0o644); err != nil { //nolint:gosec // public
		return err
	}

	fmt.Fprintln(out, "SIMULATED Auth0 tenant: nothing here is real, and all is forgotten when it ends")
	fmt.Fprintf(out, "domain       %s\nca           %s\n", tn.Domain(), s.caOut)
	fmt.Fprintf(out, "propagation  %s %s\n", s.propagation.Delay, s.propagation.Mode)
	fmt.Fprintf(out, "api          %s scope=%s\n", tenant.DefaultAPI, scope)
	show(out, "management ", tn.AddManagementApplication(strings.Fields(s.scopes)...))
	for i := range s.apps {
		app := tn.AddApplication(tenant.Application{Name: fmt.Sprintf("application %d", i+1)})
		tn.SetGrant(app.ClientID, tenant.DefaultAPI, tenant.Grant{Scopes: []string{scope}})
		show(out, "application", app)
	}
	report(ctx, tn, s.every, out)
	return nil
}

func show(out io.Writer, kind string, app tenant.Application) {
	fmt.Fprintf(out, "%s  client_id=%s client_secret=%s name=%q\n", kind, app.ClientID, app.ClientSecret, app.Name)
}

// report prints counts until ctx ends, and once more then.
func report(ctx context.Context, tn *tenant.Tenant, every time.Duration, out io.Writer) {
	var tick <-chan time.Time
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		tick = ticker.C
	}
	for ctx.Err() == nil {
		select {
		case <-tick:
		case <-ctx.Done():
		}
		fmt.Fprintln(out, counts(tn.Stats()))
	}
}

// counts gives the counts in a line.
func counts(s tenant.Stats) string {
	requests, tokens := 0, 0
	for _, n := range s.Requests {
		requests += n
	}
	for of, n := range s.Tokens {
		if strings.HasSuffix(of, " "+tenant.DefaultAPI) {
			tokens += n
		}
	}
	return fmt.Sprintf("logins: %d accepted (%d of them with a fallback), %d refused, %d undecided; tokens: %d for the API, %d for management; requests: %d, %d of them 429",
		s.Logins.Accepted, s.Logins.FellBack, s.Logins.Refused, s.Logins.Undecided, tokens, s.ManagementTokens.Issued, requests, s.RateLimited)
}
