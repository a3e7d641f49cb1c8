//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/devvault"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// TestExampleOfLoginProxyForApache: examples/login-proxy/apache.conf in Debian's Apache with
// mod_auth_openidc, behind a real auth0-login-proxy that reads what a real Agent renders.
// Apache is configured once, with one secret that Auth0 has never seen, and is not
// restarted, nor told anything. Users log in several times a second, as browsers do.
//
// The bounds are those of auth0login, and of every reader of the Agent's file. Through a
// staged rotation no login fails. A forced one kills the secret that the file has, until
// the Agent reads again: a login fails then if all that the file has is dead on the server
// that it meets. No login may fail before or after.
func TestExampleOfLoginProxyForApache(t *testing.T) {
	t.Parallel()
	apache := findApache(t)
	s := configured(t, "inmem", map[string]any{"propagation_delay": "5s"})
	site := newSite(t)
	app := s.addApplication(func(a *tenant.Application) {
		a.Alg, a.Callbacks = "RS256", []string{site + "/oidc/callback"} // HS256 would take the real secret
	})
	s.write("roles/shop", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
	file, err := s.StartAgent(t.Context(), "shop")
	require.NoError(t, err)
	p := s.startLoginProxy("-credentials", file)
	s.startApache(apache, site, app.ClientID, p)
	u := &users{t: t, page: site + "/orders.html", transport: s.Tenant.HTTPClient().Transport, leaseEnd: devstack.LeaseEnd(file)}
	u.begin(3)
	u.awaitMore(s, 20)

	for i, mode := range []tenant.PropagationMode{tenant.Mixed, tenant.OldOnly} {
		s.Tenant.SetPropagation(tenant.Propagation{Delay: 4 * time.Second, Mode: mode})
		require.Equal(t, "staged", s.write("rotate/shop", nil).Data["phase"])
		s.awaitVersion("shop", fmt.Sprint(2+i))
		s.awaitPhase("shop", "steady")
	}
	u.awaitMore(s, 20)
	u.end()
	staged, logins := u.count(), s.Tenant.Stats().Logins
	t.Logf("two staged rotations: %s; the tenant has seen %d that fell back to another secret", staged, logins.FellBack)
	u.failedOnly(t, func(visit) bool { return false })
	assert.Positive(t, logins.FellBack, "or the test shows nothing")
	assert.Len(t, s.Tenant.SecretHistory(app.ClientID), 3)
	for _, step := range []string{"GET /authorize 302", "POST /oauth/token 200", "GET /userinfo 200"} {
		assert.GreaterOrEqual(t, s.Tenant.Stats().Requests[step], staged.in, "each has gone by it: %s", step)
	}

	s.Tenant.SetPropagation(tenant.Propagation{Delay: 4 * time.Second, Mode: tenant.Mixed})
	u.leaseEnd = nil // force breaks the promise of the leases
	beside := s.startLogins("beside", auth0login.File(file), nil)
	u.begin(3)
	u.awaitMore(s, 20)
	lease := devstack.LeaseEnd(file)
	end := lease()
	s.eventually("the Agent has just read, which is the worst moment", func() bool { return lease().After(end) })
	s.write("rotate/shop", map[string]any{"force": true})
	set := slices.MaxFunc(s.Tenant.SecretHistory(app.ClientID), func(a, b tenant.SecretChange) int { return a.At.Compare(b.At) }).At
	s.eventually("the Agent has rendered the new secret", func() bool {
		return slices.Contains(heldIn(file)(), s.Tenant.Secret(app.ClientID))
	})
	rendered := time.Now()
	u.awaitMore(s, 20)
	s.awaitPhase("shop", "steady")
	u.awaitMore(s, 20)
	u.end()
	beside()
	after := s.Tenant.Stats().Logins
	t.Logf("a forced rotation: %s in the %s until the Agent had the new secret", u.count(), rendered.Sub(set).Round(time.Millisecond))
	t.Logf("of the application with auth0login beside it: %d logins accepted, %d refused", after.Accepted-logins.Accepted-u.count().in, after.Refused)
	u.failedOnly(t, func(v visit) bool { return v.ended.After(set) && v.began.Before(rendered) })
	assert.Len(t, u.failed, after.Undecided-logins.Undecided, "a login fails only if the tenant has refused all of its attempts")

	t.Log("without Vault, the proxy is killed and started again: only what was with it at that moment is lost")
	s.Vault.Kill()
	u.begin(3)
	u.awaitMore(s, 10)
	alive := time.Now()
	p.kill()
	dead := time.Now()
	p.start()
	u.awaitMore(s, 20)
	u.end()
	t.Logf("a proxy that was killed: %s", u.count())
	u.failedOnly(t, func(v visit) bool { return v.began.Before(dead) && v.ended.After(alive) })
	assert.LessOrEqual(t, len(u.failed), 3, "there are no more at a time")
}

// TestExampleOfLoginProxyWithVault: the same without an Agent. The proxy reads from Vault, and
// again when all that it has is refused: no login fails in a forced rotation either.
func TestExampleOfLoginProxyWithVault(t *testing.T) {
	t.Parallel()
	apache := findApache(t)
	s := configured(t, "inmem", map[string]any{"propagation_delay": "5s"})
	site := newSite(t)
	app := s.addApplication(func(a *tenant.Application) {
		a.Alg, a.Callbacks = "RS256", []string{site + "/oidc/callback"}
	})
	s.write("roles/shop", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
	p := s.startLoginProxy("-vault-path", devstack.Mount+"/creds/shop")
	s.startApache(apache, site, app.ClientID, p)
	u := &users{t: t, page: site + "/orders.html", transport: s.Tenant.HTTPClient().Transport}
	u.begin(3)
	u.awaitMore(s, 20)
	s.Tenant.SetPropagation(tenant.Propagation{Delay: 4 * time.Second, Mode: tenant.Mixed})
	s.write("rotate/shop", map[string]any{"force": true})
	s.awaitPhase("shop", "steady")
	u.awaitMore(s, 20)
	u.end()
	t.Logf("a forced rotation, with -vault-path: %s", u.count())
	u.failedOnly(t, func(v visit) bool { return v.ended.Sub(v.began) >= 5*time.Second }) // Vault took as long as a login waits
	assert.Positive(t, s.Tenant.Stats().Logins.FellBack)
}

// findApache is Debian's Apache, which has mod_auth_openidc beside it.
func findApache(t *testing.T) string {
	t.Helper()
	apache := os.Getenv("APACHE")
	if apache == "" {
		t.Skip("skipped: no Apache with mod_auth_openidc (APACHE); make examples looks for it")
	}
	return apache
}

// newSite is where Apache will be.
func newSite(t *testing.T) string {
	t.Helper()
	address, err := devvault.FreeAddress()
	require.NoError(t, err)
	return "http://" + address
}

// loginProxy is an auth0-login-proxy that is running. The test holds its address, as systemd
// does: while there is no proxy, logins wait.
type loginProxy struct {
	s       *suite
	address string
	socket  *os.File
	args    []string
	dir     string
	command *exec.Cmd
	running *devvault.Program
}

// startLoginProxy starts the proxy that make build has made, until the test ends.
func (s *suite) startLoginProxy(source ...string) *loginProxy {
	s.t.Helper()
	dir := filepath.Join(s.Dir, "login-proxy")
	require.NoError(s.t, os.MkdirAll(dir, 0o750))
	program, err := filepath.Abs("../bin/auth0-login-proxy")
	require.NoError(s.t, err)
	require.FileExists(s.t, program, "make build makes it")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	socket, err := listener.(*net.TCPListener).File()
	require.NoError(s.t, err)
	require.NoError(s.t, listener.Close()) // socket goes on
	s.t.Cleanup(func() { _ = socket.Close() })
	ca := filepath.Join(dir, "ca.pem")
	writeFile(s.t, ca, s.Tenant.CACert())
	p := &loginProxy{s: s, address: listener.Addr().String(), socket: socket, dir: dir}
	p.args = append([]string{
		"-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"`, "sh", program, "-listen", "systemd",
		"-domain", s.Tenant.Domain(), "-ca-cert", ca, "-local-secret-file", filepath.Join(dir, "shop.secret"), "-only-login",
	}, source...)
	p.start()
	s.t.Cleanup(func() { _ = p.running.Stop(context.Background()) })
	return p
}

func (p *loginProxy) start() {
	p.s.t.Helper()
	p.command = exec.Command("/bin/sh", p.args...)
	p.command.Env = append(os.Environ(), "VAULT_ADDR="+p.s.Vault.Addr(), "VAULT_TOKEN="+p.s.Vault.Token())
	p.command.ExtraFiles = []*os.File{p.socket} // the file 3
	var err error
	p.running, err = devvault.StartProgram(p.command, filepath.Join(p.dir, "login-proxy.log"))
	require.NoError(p.s.t, err)
	ctx, enough := context.WithTimeout(p.s.t.Context(), patience)
	defer enough()
	client := http.Client{Timeout: time.Second}
	require.NoError(p.s.t, p.running.WaitUntil(ctx, "healthy", func() bool {
		answer, err := client.Get("http://" + p.address + "/healthz")
		return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	}))
}

// kill ends it at once.
func (p *loginProxy) kill() {
	p.s.t.Helper()
	require.NoError(p.s.t, p.command.Process.Signal(syscall.SIGKILL))
	require.NoError(p.s.t, p.running.Stop(p.s.t.Context()))
}

// localSecret is the secret that the proxy has made.
func (p *loginProxy) localSecret() string {
	text, err := os.ReadFile(filepath.Join(p.dir, "shop.secret"))
	require.NoError(p.s.t, err)
	secret := strings.TrimSpace(string(text))
	require.NotEmpty(p.s.t, secret)
	return secret
}

// apacheConf is an Apache with nothing in it but the example, as a user's process on loopback.
const apacheConf = `ServerRoot "%[1]s"
DefaultRuntimeDir "%[1]s"
PidFile "%[1]s/apache.pid"
ServerName 127.0.0.1
Listen %[2]s
LoadModule mpm_event_module %[3]s/mod_mpm_event.so
LoadModule authn_core_module %[3]s/mod_authn_core.so
LoadModule authz_core_module %[3]s/mod_authz_core.so
LoadModule authz_user_module %[3]s/mod_authz_user.so
LoadModule auth_openidc_module %[3]s/mod_auth_openidc.so
LoadModule headers_module %[3]s/mod_headers.so
User "#65534"
Group "#65534"
ErrorLog "%[1]s/error.log"
LogLevel info
DocumentRoot "%[4]s"
Header always set X-Remote-User "expr=%%{REMOTE_USER}"
OIDCCABundlePath "%[4]s/ca.pem"
Include "%[1]s/shop.conf"
`

// startApache starts an Apache with the example, until the test ends.
func (s *suite) startApache(apache, site, clientID string, p *loginProxy) {
	s.t.Helper()
	dir := filepath.Join(s.Dir, "apache")
	require.NoError(s.t, os.MkdirAll(dir, 0o750))
	// What Apache reads as the user that it becomes if root starts it.
	pages, err := os.MkdirTemp("", "apache-")
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = os.RemoveAll(pages) })
	require.NoError(s.t, os.Chmod(pages, 0o755))
	s.remember(p.localSecret())
	for file, text := range map[string]string{
		filepath.Join(pages, "orders.html"): "the orders\n",
		filepath.Join(pages, "ca.pem"):      s.Tenant.CACert(),
		filepath.Join(dir, "shop.conf"): example(s.t, "login-proxy/apache.conf",
			"http://127.0.0.1:8404", "http://"+p.address, "DifUedZ0WnJlbTqzEH6S1LSpasThJz37", clientID,
			"https://shop.example.com", site),
		filepath.Join(dir, "apache.conf"): fmt.Sprintf(apacheConf,
			dir, strings.TrimPrefix(site, "http://"), apacheModules, pages),
	} {
		require.NoError(s.t, os.WriteFile(file, []byte(text), 0o644))
	}
	command := exec.Command(apache, "-D", "FOREGROUND", "-f", filepath.Join(dir, "apache.conf"))
	command.Env = append(os.Environ(), "SHOP_SECRET="+p.localSecret())
	running, err := devvault.StartProgram(command, filepath.Join(dir, "apache.log"))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = running.Stop(context.Background()) })
	ctx, enough := context.WithTimeout(s.t.Context(), patience)
	defer enough()
	require.NoError(s.t, running.WaitUntil(ctx, "serving", func() bool {
		noRedirects := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		answer, err := noRedirects.Get(site + "/")
		return err == nil && answer.Body.Close() == nil
	}))
}

// apacheModules is where Debian has Apache's modules.
const apacheModules = "/usr/lib/apache2/modules"

// users log in at a site, each in a browser of its own.
type users struct {
	t         *testing.T
	page      string
	transport http.RoundTripper
	// leaseEnd is when the lease ends of what the proxy has; nil: it does not matter. A
	// login that fails after that is no failure of the proxy: the Agent came late, as on a
	// busy machine, and the engine has promised nothing for so long.
	leaseEnd func() time.Time

	stop   chan struct{}
	all    sync.WaitGroup
	mu     sync.Mutex
	sum    counts
	failed []visit
}

// counts are logins: users who are in, and those who are not as the Agent came late.
type counts struct{ in, late, failed int }

func (c counts) String() string {
	return fmt.Sprintf("%d users logged in, %d failed (and %d as the Agent came late)", c.in, c.failed, c.late)
}

// visit is a login that failed.
type visit struct {
	began, ended time.Time
	err          error
}

func (v visit) String() string {
	return fmt.Sprintf("%s to %s: %v", v.began.Format(time.StampMilli), v.ended.Format(time.StampMilli), v.err)
}

// begin has n at a time log in, each a few times a second, until end.
func (u *users) begin(n int) {
	u.stop, u.sum, u.failed = make(chan struct{}), counts{}, nil
	for range n {
		u.all.Go(func() {
			ticker := time.NewTicker(200 * time.Millisecond)
			defer ticker.Stop()
			for {
				u.visit()
				select {
				case <-u.stop:
					return
				case <-ticker.C:
				}
			}
		})
	}
}

// end waits for the logins under way.
func (u *users) end() {
	close(u.stop)
	u.all.Wait()
}

func (u *users) visit() {
	end := time.Now().Add(time.Hour)
	if u.leaseEnd != nil {
		end = u.leaseEnd()
	}
	began := time.Now()
	err := u.logIn()
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case err == nil:
		u.sum.in++
	case time.Now().After(end):
		u.sum.late++
	default:
		u.sum.failed++
		u.failed = append(u.failed, visit{began, time.Now(), err})
	}
}

// logIn opens the page in a new browser, and goes wherever that is sent: to the login
// page, back with a code, to the page again.
func (u *users) logIn() error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := http.Client{Jar: jar, Transport: u.transport, Timeout: time.Minute}
	request, err := http.NewRequest(http.MethodGet, u.page, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "text/html") // as browsers do: others are not sent to a login page
	answer, err := browser.Do(request)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	who := answer.Header.Get("X-Remote-User")
	if answer.StatusCode != http.StatusOK || answer.Request.URL.String() != u.page || string(text) != "the orders\n" || who != "auth0|0123456789abcdef01234567" {
		return errors.Join(err, fmt.Errorf("%s is %d for %q, and not the page", answer.Request.URL.Path, answer.StatusCode, who))
	}
	return err
}

func (u *users) count() counts {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.sum
}

// awaitMore waits until so many more have logged in.
func (u *users) awaitMore(s *suite, n int) {
	s.t.Helper()
	before := u.count().in
	s.eventually(fmt.Sprintf("%d more users are in", n), func() bool { return u.count().in >= before+n })
}

// failedOnly checks that no login has failed but such as may.
func (u *users) failedOnly(t *testing.T, may func(visit) bool) {
	t.Helper()
	others := slices.DeleteFunc(slices.Clone(u.failed), may)
	assert.Empty(t, others, "%d; the first: %s", len(others), slices.Concat(others, []visit{{}})[0])
}
