//go:build integration

package integration

import (
	"context"
	"errors"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/reread"
)

// ruleReader reads from the suite's Vault as another program does, and is the
// source of an application's credentials.
type ruleReader struct {
	s    *suite
	path string

	mu       sync.Mutex
	held     *auth0login.Credentials
	restarts int
	errors   []error

	refused atomic.Int64 // logins for which all secrets were refused

	// For readers with leases. Only Run's goroutine reads.
	began, ends time.Time // of the last read, and of the lease that it gave
	late        int       // reads that came after the end of the lease before
}

var (
	_ reread.Vault      = (*ruleReader)(nil)
	_ auth0login.Source = (*ruleReader)(nil)
)

// startLogins has an application log in with what the reader holds.
func (r *ruleReader) startLogins(name string) (stop func()) {
	client := *r.s.Tenant.HTTPClient()
	client.Transport = lastAttempts{next: client.Transport, count: &r.refused}
	app := &devstack.Application{Source: r, Domain: r.s.Tenant.Domain(), Every: 40 * time.Millisecond, HTTP: &client, Prefix: name + "-"}
	return startLoggingIn(app)
}

// lastAttempts counts logins that the application gives up.
type lastAttempts struct {
	next  http.RoundTripper
	count *atomic.Int64
}

func (l lastAttempts) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("X-Login-Last") == "true" {
		l.count.Add(1)
	}
	return l.next.RoundTrip(req)
}

func (r *ruleReader) Read(ctx context.Context) (reread.Answer, error) {
	r.began = time.Now()
	answer, err := r.s.Vault.Client().Logical().ReadWithContext(ctx, devstack.Mount+"/"+r.path)
	if err != nil {
		return reread.Answer{}, err
	}
	return reread.FromSecret(answer), nil
}

func (r *ruleReader) Deliver(a reread.Answer, changed bool) {
	domain, _ := a.Data["domain"].(string)
	clientID, _ := a.Data["client_id"].(string)
	for _, secret := range a.Secrets() {
		r.s.remember(secret)
	}
	if !r.ends.IsZero() && time.Now().After(r.ends) {
		r.late++
	}
	if a.LeaseID != "" {
		r.ends = r.began.Add(a.LeaseDuration)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = &auth0login.Credentials{Domain: domain, ClientID: clientID, ClientSecrets: a.Secrets()}
	if changed {
		r.restarts++
	}
}

func (r *ruleReader) Failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !errors.Is(err, context.Canceled) {
		r.errors = append(r.errors, err)
	}
}

func (r *ruleReader) Credentials(context.Context) (auth0login.Credentials, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil {
		return auth0login.Credentials{}, errors.New("not read yet")
	}
	return *r.held, nil
}

// TestReadersByOtherRules: applications that get their credentials by the rules of
// the Vault Secrets Operator, of consul-template, and at an interval, through a
// rotation by hand and one by schedule, on a real Vault. No login is refused.
//
// A lease is read again as late as at 95 % of it, which leaves a short lease half a
// second. Whoever has been kept from reading until his lease has ended has no promise
// of the engine: then, and only then, his logins may be refused.
func TestReadersByOtherRules(t *testing.T) {
	t.Parallel()
	s := configured(t, "inmem", map[string]any{"propagation_delay": "2s"})
	app := s.addApplication(nil)
	s.write("roles/shop", map[string]any{"client_id": app.ClientID, "ttl": "10s", "rotation_period": "25s"})
	readers := map[string]*ruleReader{}
	running, stop := context.WithCancel(context.Background())
	defer stop()
	var all sync.WaitGroup
	var stops []func()
	for name, kind := range map[string]struct {
		reader reread.Reader
		path   string
	}{
		"vso":        {reread.VSO{AllowStaticCreds: true}, "static-creds/shop"},
		"vso-leases": {reread.VSO{}, "creds/shop"},
		"ct":         {reread.Template{}, "static-creds/shop"},
		"ct-leases":  {reread.Template{}, "creds/shop"},
		"interval":   {reread.Interval{Every: 5 * time.Second, Late: time.Second}, "static-creds/shop"},
	} {
		reader := &ruleReader{s: s, path: kind.path}
		readers[name] = reader
		all.Go(func() { kind.reader.Run(running, reader) })
		stops = append(stops, reader.startLogins(name))
	}
	s.eventually("logins", func() bool { return s.Tenant.Stats().Logins.Accepted > 20 })
	s.write("rotate/shop", nil)
	s.awaitVersion("shop", "3")
	s.awaitPhase("shop", "steady")
	for _, end := range stops {
		end()
	}
	stop()
	all.Wait()
	logins := s.Tenant.Stats().Logins
	t.Logf("logins: %d, refused: %d, fell back: %d", logins.Accepted, logins.Refused, logins.FellBack)
	assert.Positive(t, logins.FellBack, "or the test shows nothing")
	refused := 0
	for name, reader := range readers {
		refused += int(reader.refused.Load())
		if reader.late > 0 {
			t.Logf("%s: %d reads came after the end of a lease: this machine is too slow for it", name, reader.late)
		} else {
			assert.Zero(t, reader.refused.Load(), name)
		}
		assert.Empty(t, reader.errors, name)
	}
	assert.Equal(t, logins.Refused, refused, "each refusal is a reader's")
	rotations := len(s.Tenant.SecretHistory(app.ClientID)) - 1
	assert.LessOrEqual(t, readers["vso"].restarts, 3*rotations+1, "staged, propagating and steady of each, and one that may be staged")
}

// TestConsulTemplate: the program itself, without leases.
func TestConsulTemplate(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("consul-template")
	if err != nil {
		t.Skip("skipped: consul-template is not installed; make examples builds it")
	}
	s, app := shop(t, "10s")
	dir := s.agentDir()
	file := filepath.Join(dir, "auth0.json")
	source := filepath.Join(dir, "auth0.ctmpl")
	writeFile(t, source, `{{ with secret "auth0/static-creds/shop" }}{{ .Data | toJSON }}{{ end }}`)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cmd := exec.CommandContext(ctx, program, "-template", source+":"+file, "-vault-addr", s.Vault.Addr(), "-vault-renew-token=false")
	cmd.Env = []string{"VAULT_TOKEN=" + s.Vault.Token(), "HOME=" + dir}
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	defer stop()
	held := heldIn(file)
	s.eventually("it is rendered", func() bool { return len(held()) == 1 })
	end := s.startLogins("shop", auth0login.File(file))
	s.rotateShop(app, held)
	s.eventually("the new one alone", func() bool { return len(held()) == 1 && held()[0] == s.Tenant.Secret(app.ClientID) })
	end()
	assert.Zero(t, s.Tenant.Stats().Logins.Refused)
}
