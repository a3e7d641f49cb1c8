// Command simulated-tenant runs a simulated Auth0 tenant by hand. Nothing about
// it is real: its applications and secrets exist nowhere else, and it forgets
// them when it ends.
//
//	go run ./cmd/simulated-tenant -apps 3 -propagation 30s -mode mixed -rate 2 -burst 10
//
// It prints the tenant's domain, its CA, the credentials of its applications,
// and every few seconds a line of counts. While it runs, curl switches faults
// (see tenant.ControlHandler for all there is):
//
//	curl -X POST -d '{"endpoint":"update","kind":"timeout-after-commit","times":1}' http://127.0.0.1:PORT/_simulation/faults
//	curl -X POST -d '{"down":true}' http://127.0.0.1:PORT/_simulation/down
//
// SIGINT and SIGTERM end it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"vault-plugin-secrets-auth0/internal/tenant"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "simulated-tenant:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	addr, control, caOut string
	propagation          tenant.Propagation
	rate                 tenant.RateLimit
	apps, unfit          int
	scopes               string
	every                time.Duration
}

func readFlags(args []string) (settings, error) {
	s := settings{propagation: tenant.Propagation{Mode: tenant.Mixed}}
	f := flag.NewFlagSet("simulated-tenant", flag.ContinueOnError)
	f.StringVar(&s.addr, "addr", "127.0.0.1:0", "`host:port` of the tenant, on loopback")
	f.StringVar(&s.control, "control", "127.0.0.1:0", "`host:port` of the control API (plain HTTP), on loopback")
	f.StringVar(&s.caOut, "ca-out", "", "`file` for the tenant's CA certificate (default a temporary one)")
	f.DurationVar(&s.propagation.Delay, "propagation", 30*time.Second, "how long a new secret takes to be accepted everywhere")
	f.TextVar(&s.propagation.Mode, "mode", s.propagation.Mode, "what is accepted meanwhile: both, old, new, mixed")
	f.Float64Var(&s.rate.PerSecond, "rate", 0, "Management API requests per second; 0: unlimited")
	f.IntVar(&s.rate.Burst, "burst", 0, "Management API requests at once; 0: as -rate")
	f.IntVar(&s.apps, "apps", 3, "how many applications there are")
	f.IntVar(&s.unfit, "unfit", 0, "how many more there are that cannot be roles")
	f.StringVar(&s.scopes, "scopes", "update:client_keys read:clients read:client_keys", "`scopes` of the management application")
	f.DurationVar(&s.every, "every", 5*time.Second, "how often counts are printed; 0: never")
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

	caFile, remove, err := writeCA(s.caOut, tn.CACert())
	if err != nil {
		return err
	}
	defer remove()
	control, stop, err := serveControl(s.control, tn.ControlHandler())
	if err != nil {
		return err
	}
	defer stop()

	fmt.Fprintf(out, "SIMULATED Auth0 tenant: nothing here is real, and all is forgotten when it ends\n")
	fmt.Fprintf(out, "domain       %s\nca           %s\ncontrol      http://%s/_simulation/\n", tn.Domain(), caFile, control)
	fmt.Fprintf(out, "propagation  %s %s\n", s.propagation.Delay, s.propagation.Mode)
	show(out, "management ", tn.AddManagementApplication(strings.Fields(s.scopes)...))
	for i := range s.apps {
		show(out, "application", tn.AddApplication(tenant.Application{Name: fmt.Sprintf("application %d", i+1)}))
	}
	for i := range s.unfit {
		show(out, "unfit      ", tn.AddApplication(tenant.Application{Name: fmt.Sprintf("unfit %d", i+1), AppType: []string{"spa", "native"}[i%2]}))
	}
	report(ctx, tn, s.every, out)
	return nil
}

func show(out io.Writer, kind string, app tenant.Application) {
	fmt.Fprintf(out, "%s  client_id=%s client_secret=%s name=%q\n", kind, app.ClientID, app.ClientSecret, app.Name)
}

// writeCA writes the CA to a file, a temporary one if it has no name. remove
// removes it if it is temporary.
func writeCA(name, pem string) (file string, remove func(), err error) {
	if name != "" {
		return name, func() {}, os.WriteFile(name, []byte(pem), 0o644) //nolint:gosec // public
	}
	f, err := os.CreateTemp("", "simulated-tenant-ca-*.pem")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.Remove(f.Name()) }
	_, err = f.WriteString(pem)
	if err = errors.Join(err, f.Close()); err != nil {
		remove()
		return "", nil, err
	}
	return f.Name(), remove, nil
}

// serveControl serves the control API on a port of its own: the tenant's own
// does not answer while it is down, and curl need not know the CA.
func serveControl(addr string, handler http.Handler) (at net.Addr, stop func(), err error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, nil, fmt.Errorf("%s is not on loopback", addr)
	}
	listener, err := net.Listen("tcp", addr) //nolint:noctx // there is nothing to wait for
	if err != nil {
		return nil, nil, err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // always ends with an error, at the latest by stop
	}()
	return listener.Addr(), func() {
		_ = server.Close()
		<-ended
	}, nil
}

// report prints counts until ctx ends, and once more then.
func report(ctx context.Context, tn *tenant.Tenant, every time.Duration, out io.Writer) {
	var tick <-chan time.Time
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-tick:
			fmt.Fprintln(out, counts(tn.Stats()))
		case <-ctx.Done():
			fmt.Fprintln(out, counts(tn.Stats()))
			return
		}
	}
}

// counts gives the counts in a line.
func counts(s tenant.Stats) string {
	requests := 0
	for _, n := range s.Requests {
		requests += n
	}
	return fmt.Sprintf("logins: %d accepted (%d by a fallback), %d refused, %d undecided; management tokens: %d; requests: %d, %d of them 429",
		s.Logins.Accepted, s.Logins.FellBack, s.Logins.Refused, s.Logins.Undecided, s.ManagementTokens.Issued, requests, s.RateLimited)
}
