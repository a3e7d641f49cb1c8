package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/tenant"
)

func TestMain(m *testing.M) {
	if os.Getenv("RUN_THE_PROGRAM") != "" { // this binary as the program: with its signals and sockets
		main()
	}
	goleak.VerifyTestMain(m)
}

// output is what a run prints, to be read while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(text)
}

// String gives what was printed.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// world is a tenant with an application, and the files that the program has.
type world struct {
	t       *testing.T
	tenant  *tenant.Tenant
	shop    tenant.Application
	dir     string
	printed *output
	end     func() int // ends the run, and gives the exit code
}

func newWorld(t *testing.T) *world {
	t.Helper()
	tn, err := tenant.Start(tenant.Options{})
	require.NoError(t, err)
	t.Cleanup(tn.Close)
	w := &world{t: t, tenant: tn, shop: tn.AddApplication(tenant.Application{}), dir: t.TempDir()}
	w.write("ca.pem", tn.CACert(), 0o600)
	w.render("shop.json", w.shop)
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string, mode os.FileMode) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(w.path(name), []byte(text), mode))
	require.NoError(w.t, os.Chmod(w.path(name), mode))
}

func (w *world) read(name string) string {
	w.t.Helper()
	text, err := os.ReadFile(w.path(name))
	require.NoError(w.t, err)
	return strings.TrimSpace(string(text))
}

// render writes credentials as Vault Agent does.
func (w *world) render(name string, app tenant.Application) {
	w.t.Helper()
	text, err := json.Marshal(map[string]any{
		"domain": w.tenant.Domain(), "client_id": app.ClientID, "client_secret": w.tenant.Secret(app.ClientID),
	})
	require.NoError(w.t, err)
	w.write(name, string(text), 0o600)
}

// args are those of a usual run.
func (w *world) args(more ...string) []string {
	return append([]string{
		"-domain=" + w.tenant.Domain(), "-ca-cert=" + w.path("ca.pem"), "-listen=127.0.0.1:0",
		"-credentials=" + w.path("shop.json"), "-local-secret-file=" + w.path("local"),
	}, more...)
}

// start runs the program until it serves, and gives what it says of where.
func (w *world) start(args ...string) (listen string) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w.printed = &output{}
	code := make(chan int, 1)
	go func() { code <- run(ctx, args, io.Discard, w.printed, nil) }()
	w.end = sync.OnceValue(func() int { cancel(); return <-code })
	w.t.Cleanup(func() {
		w.end()
		for _, secret := range w.tenant.EverySecret() {
			assert.NotContains(w.t, w.printed.String(), secret)
		}
	})
	serves := regexp.MustCompile(`msg="auth0-login-proxy serves" .* listen=(\S+)`)
	require.Eventually(w.t, func() bool { return serves.MatchString(w.printed.String()) }, 10*time.Second, 5*time.Millisecond, w.printed.String())
	return serves.FindStringSubmatch(w.printed.String())[1]
}

// warns waits for the one warning at start that there is something without credentials.
func (w *world) warns(why string) {
	w.t.Helper()
	const what = `level=WARN msg="there are no credentials to log in with yet"`
	require.Eventually(w.t, func() bool { return strings.Contains(w.printed.String(), what) }, 10*time.Second, 5*time.Millisecond)
	assert.Equal(w.t, 1, strings.Count(w.printed.String(), what))
	for line := range strings.Lines(w.printed.String()) {
		if strings.Contains(line, what) {
			assert.Contains(w.t, line, why)
		}
	}
}

// logIn logs in at the proxy, and gives the status.
func (w *world) logIn(client *http.Client, base, id, secret string) int {
	w.t.Helper()
	resp, err := client.PostForm(base+"/oauth/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret},
	})
	require.NoError(w.t, err)
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	client.CloseIdleConnections()
	return resp.StatusCode
}

func get(t *testing.T, client *http.Client, address string) (int, string) {
	t.Helper()
	resp, err := client.Get(address)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	_ = resp.Body.Close()
	client.CloseIdleConnections()
	return resp.StatusCode, string(body)
}

// TestTheProgramLogsIn, through a rotation, with a local secret that it makes itself, and
// that stays when it is started again.
func TestTheProgramLogsIn(t *testing.T) {
	w := newWorld(t)
	base := "http://" + w.start(w.args()...)
	made := w.read("local")
	assert.Len(t, made, 43)
	assert.Contains(t, w.printed.String(), "a local secret was made")
	assert.NotContains(t, w.printed.String(), made)
	info, err := os.Stat(w.path("local"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	assert.Equal(t, 200, w.logIn(http.DefaultClient, base, w.shop.ClientID, made))
	assert.Equal(t, 401, w.logIn(http.DefaultClient, base, w.shop.ClientID, "wrong"))

	w.tenant.SetSecretInDashboard(w.shop.ClientID, "rotated-by-force")
	assert.Equal(t, 401, w.logIn(http.DefaultClient, base, w.shop.ClientID, made))
	w.render("shop.json", w.shop)
	assert.Equal(t, 200, w.logIn(http.DefaultClient, base, w.shop.ClientID, made), "the file is read again")

	status, text := get(t, http.DefaultClient, base+"/healthz")
	assert.Equal(t, 200, status)
	assert.Equal(t, "ok\n", text)
	require.EventuallyWithT(t, func(c *assert.CollectT) { // an answer is sent before its request is counted
		_, text := get(t, http.DefaultClient, base+"/metrics")
		assert.Contains(c, text, `auth0_login_proxy_requests_total{kind="login",status="4xx"} 2`)
	}, 10*time.Second, 5*time.Millisecond)
	status, text = get(t, http.DefaultClient, base+"/metrics")
	assert.Equal(t, 200, status)
	for _, want := range []string{
		`auth0_login_proxy_logins_total{outcome="accepted"} 2`, `auth0_login_proxy_logins_total{outcome="refused"} 1`,
		`auth0_login_proxy_logins_total{outcome="wrong_local_secret"} 1`, `auth0_login_proxy_credentials_readable 1`,
	} {
		assert.Contains(t, text, want)
	}
	_, text = get(t, http.DefaultClient, base+"/.well-known/openid-configuration")
	assert.Contains(t, text, `"`+base+`/oauth/token"`)

	require.NoError(t, os.Remove(w.path("shop.json")))
	status, text = get(t, http.DefaultClient, base+"/healthz")
	assert.Equal(t, 200, status, "it goes on with what it has read")
	assert.Contains(t, text, "goes on with earlier credentials")
	_, text = get(t, http.DefaultClient, base+"/metrics")
	assert.Contains(t, text, `auth0_login_proxy_credentials_readable 0`)
	assert.Equal(t, exitOK, w.end())
	assert.NotContains(t, w.printed.String(), "there are no credentials to log in with yet")

	base = "http://" + w.start(w.args()...) // without credentials
	assert.NotContains(t, w.printed.String(), "a local secret was made")
	w.warns("application 1 has no credentials: open " + w.path("shop.json") + ": no such file")
	status, text = get(t, http.DefaultClient, base+"/healthz")
	assert.Equal(t, 503, status)
	assert.Contains(t, text, "no such file")
	assert.Equal(t, 503, w.logIn(http.DefaultClient, base, w.shop.ClientID, made))
	w.render("shop.json", w.shop)
	assert.Equal(t, 200, w.logIn(http.DefaultClient, base, w.shop.ClientID, made))
	assert.Equal(t, exitOK, w.end())
}

// TestWhatHasNoCredentialsIsSaidAtStart, once and for each application; it serves all the same.
func TestWhatHasNoCredentialsIsSaidAtStart(t *testing.T) {
	w := newWorld(t)
	w.write("shop.json", `{"domain":"another.eu.auth0.com","client_id":"shop","client_secret":"a"}`, 0o600)
	w.start(w.args("-application=credentials=" + w.path("other.json") + ",local-secret-file=" + w.path("other"))...)
	w.warns("application 1 has no credentials: the credentials are for \\\"another.eu.auth0.com\\\"")
	w.warns("application 2 has no credentials: open " + w.path("other.json"))
	assert.Equal(t, exitOK, w.end())

	asked, answer := make(chan struct{}), make(chan struct{})
	vault := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		rw.WriteHeader(403)
	}))
	defer vault.Close()
	defer close(answer)
	t.Setenv("VAULT_ADDR", vault.URL)
	w.start(w.args("-credentials=", "-vault-path=auth0/creds/shop")...)
	<-asked
	assert.Equal(t, exitOK, w.end(), "it does not wait for Vault")
	assert.NotContains(t, w.printed.String(), "level=WARN", "the end is no cause")
}

// TestSeveralApplicationsByFlagAndEnvironment.
func TestSeveralApplicationsByFlagAndEnvironment(t *testing.T) {
	w := newWorld(t)
	other := w.tenant.AddApplication(tenant.Application{})
	w.render("other.json", other)
	base := "http://" + w.start(w.args("-only-login", "-log-format=text",
		"-application=credentials="+w.path("other.json")+",local-secret-file="+w.path("other"))...)
	assert.Equal(t, 200, w.logIn(http.DefaultClient, base, other.ClientID, w.read("other")))
	assert.Equal(t, 200, w.logIn(http.DefaultClient, base, w.shop.ClientID, w.read("local")))
	assert.Equal(t, 401, w.logIn(http.DefaultClient, base, w.shop.ClientID, w.read("other")))
	status, _ := get(t, http.DefaultClient, base+"/authorize")
	assert.Equal(t, 403, status, "-only-login")

	environment := map[string]string{
		"AUTH0_LOGIN_PROXY_DOMAIN": "from.the.environment", "AUTH0_LOGIN_PROXY_ONLY_LOGIN": "true",
		"AUTH0_LOGIN_PROXY_APPLICATION": "credentials=a,local-secret-file=b vault-path=c,local-secret-file=d",
		"AUTH0_LOGIN_PROXY_LISTEN":      "unix:/not/used",
		// What Kubernetes sets for services of these names.
		"AUTH0_LOGIN_PROXY_SERVICE_HOST": "10.0.0.1", "AUTH0_LOGIN_PROXY_SERVICE_PORT_HTTP": "80", "AUTH0_LOGIN_PROXY_PORT": "tcp://10.0.0.1:80",
		"AUTH0_LOGIN_PROXY_PORT_80_TCP_ADDR": "10.0.0.1", "AUTH0_LOGIN_PROXY_ADMIN_SERVICE_PORT": "81",
	}
	s, err := readSettings([]string{"-listen=[::1]:80"}, environment)
	require.NoError(t, err)
	assert.Equal(t, "from.the.environment", s.domain)
	assert.Equal(t, "[::1]:80", s.listen, "the flag comes first")
	assert.True(t, s.onlyLogin)
	assert.Equal(t, []application{{"a", "", "b"}, {"", "c", "d"}}, s.applications)
}

// TestUnixSocket: its mode, and one that was left behind.
func TestUnixSocket(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has no modes of files")
	}
	w := newWorld(t)
	socket := w.path("s")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	require.NoError(t, err)
	left.SetUnlinkOnClose(false)
	require.NoError(t, left.Close())
	args := w.args("-listen=unix:"+socket, "-public-url=http://login.internal", "-socket-mode=0660", "-admin=127.0.0.1:0")
	w.start(args...)
	info, err := os.Stat(socket)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o660), info.Mode().Perm())
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	assert.Equal(t, 200, w.logIn(client, "http://any", w.shop.ClientID, w.read("local")))
	status, _ := get(t, client, "http://any/healthz")
	assert.Equal(t, 404, status, "it is at -admin alone: this is Auth0's answer")

	var told bytes.Buffer
	assert.Equal(t, exitFailed, run(t.Context(), args, io.Discard, &told, nil))
	assert.Contains(t, told.String(), "another process listens")
	w.end()
	assert.NoFileExists(t, socket)
}

// TestTLS: on any address, and a certificate that is replaced takes effect.
func TestTLS(t *testing.T) {
	w := newWorld(t)
	first := w.certificate()
	base := "https://" + w.start(w.args("-tls-cert="+w.path("cert.pem"), "-tls-key="+w.path("key.pem"))...)
	trusting := func(roots *x509.CertPool) *http.Client {
		return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	}
	assert.Equal(t, 200, w.logIn(trusting(first), base, w.shop.ClientID, w.read("local")))
	_, text := get(t, trusting(first), base+"/.well-known/openid-configuration")
	assert.Contains(t, text, `"`+base+`/oauth/token"`)
	second := w.certificate()
	assert.Equal(t, 200, w.logIn(trusting(second), base, w.shop.ClientID, w.read("local")))
	w.write("key.pem", "half wri", 0o600)
	assert.Equal(t, 200, w.logIn(trusting(second), base, w.shop.ClientID, w.read("local")), "the last one goes on")
}

// certificate writes a certificate for loopback, and gives what trusts it.
func (w *world) certificate() *x509.CertPool {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(w.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "proxy"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(w.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(w.t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	w.write("cert.pem", string(text), 0o600)
	w.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), 0o600)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return roots
}

// TestVaultItself is where credentials come from, with a token that a file has.
func TestVaultItself(t *testing.T) {
	w := newWorld(t)
	vault := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != "the-second-token" || r.URL.Path != "/v1/auth0/creds/shop" {
			rw.WriteHeader(403)
			return
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{"lease_id": "a", "lease_duration": 60, "data": map[string]any{
			"domain": w.tenant.Domain(), "client_id": w.shop.ClientID, "client_secret": w.tenant.Secret(w.shop.ClientID),
		}})
	}))
	defer vault.Close()
	t.Setenv("VAULT_ADDR", vault.URL)
	w.write("token", "the-first-token\n", 0o600)
	base := "http://" + w.start("-domain="+w.tenant.Domain(), "-ca-cert="+w.path("ca.pem"), "-listen=127.0.0.1:0",
		"-vault-path=auth0/creds/shop", "-vault-token-file="+w.path("token"), "-local-secret-file="+w.path("local"))
	w.warns("Code: 403")
	assert.Equal(t, 503, w.logIn(http.DefaultClient, base, w.shop.ClientID, w.read("local")))
	assert.NoError(t, os.Remove(w.path("token")))
	assert.Equal(t, 503, w.logIn(http.DefaultClient, base, w.shop.ClientID, w.read("local")))
	missing := "-vault-token-file: open " + w.path("token") + ": no such file or directory"
	assert.Contains(t, w.printed.String(), missing)
	_, text := get(t, http.DefaultClient, base+"/healthz")
	assert.Contains(t, text, missing)
	w.write("token", "the-second-token\n", 0o600)
	assert.Equal(t, 200, w.logIn(http.DefaultClient, base, w.shop.ClientID, w.read("local")))
	w.tenant.SetSecretInDashboard(w.shop.ClientID, "rotated-by-force")
	assert.Equal(t, 200, w.logIn(http.DefaultClient, base, w.shop.ClientID, w.read("local")), "Vault is read again within the login")
	assert.NoError(t, os.Remove(w.path("token")))
	w.tenant.SetSecretInDashboard(w.shop.ClientID, "rotated-by-force-again")
	assert.Equal(t, 401, w.logIn(http.DefaultClient, base, w.shop.ClientID, w.read("local")))
	_, text = get(t, http.DefaultClient, base+"/healthz")
	assert.Contains(t, text, "goes on with earlier credentials: "+missing)
	assert.NotContains(t, w.printed.String(), "the-first-token")
	assert.NotContains(t, w.printed.String(), "the-second-token")
}

// TestAnApplicationOfPrivateKeyJWT logs in by its key in a file or in Vault, or by assertions
// that Vault signs.
func TestAnApplicationOfPrivateKeyJWT(t *testing.T) {
	w := newWorld(t)
	key, err := assertion.NewPrivateKey(assertion.MinKeyBits)
	require.NoError(t, err)
	public, kid, err := assertion.PublicKey(key)
	require.NoError(t, err)
	w.shop = w.tenant.AddApplicationWithKey(tenant.Application{}, public, "PS256")
	signer, err := assertion.NewSigner(key, "PS256", kid)
	require.NoError(t, err)
	exported := map[string]any{"domain": w.tenant.Domain(), "client_id": w.shop.ClientID, "private_key": key, "kid": kid, "signing_algorithm": "PS256", "ttl": 60}
	vault := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		data := exported
		if r.URL.Path == "/v1/auth0/assertions/shop" {
			text, err := signer.Sign(w.shop.ClientID, "https://"+w.tenant.Domain()+"/", time.Now(), time.Minute)
			assert.NoError(t, err)
			data = map[string]any{"domain": w.tenant.Domain(), "client_id": w.shop.ClientID, "client_assertion": text, "kid": kid}
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{"data": data})
	}))
	defer vault.Close()
	t.Setenv("VAULT_ADDR", vault.URL)
	rendered, err := json.Marshal(exported)
	require.NoError(t, err)
	w.write("shop.json", string(rendered), 0o600)
	w.write("token", "a-token", 0o600)
	for _, source := range [][]string{
		{"-credentials=" + w.path("shop.json")}, {"-vault-path=auth0/static-creds/shop"}, {"-vault-path=auth0/assertions/shop"},
		{"-vault-path=auth0/assertions/shop", "-vault-token-file=" + w.path("token")},
	} {
		base := "http://" + w.start(append(source, "-domain="+w.tenant.Domain(), "-ca-cert="+w.path("ca.pem"), "-listen=127.0.0.1:0", "-local-secret-file="+w.path("local"))...)
		for range 2 {
			assert.Equal(t, 200, w.logIn(http.DefaultClient, base, w.shop.ClientID, w.read("local")), source)
		}
		assert.Equal(t, 401, w.logIn(http.DefaultClient, base, w.shop.ClientID, "wrong"))
		status, text := get(t, http.DefaultClient, base+"/healthz")
		assert.Equal(t, 200, status, text)
		w.end()
		assert.NotContains(t, w.printed.String(), key[100:150])
		assert.NotContains(t, w.printed.String(), "eyJhbGci") // how an assertion begins
	}
	assert.Zero(t, w.tenant.Stats().Logins.Attempts.Refused)
	for path, is := range map[string]bool{
		"auth0/assertions/shop": true, "/team/auth0/assertions/shop/": true, "auth0/creds/assertions": false, "assertions/creds/shop": false, "assertions": false, "": false,
	} {
		assert.Equal(t, is, ofAssertions(path), path)
	}
}

// TestWrongUsage is refused before anything is done, with a text that says what to do.
func TestWrongUsage(t *testing.T) {
	w := newWorld(t)
	w.write("open", strings.Repeat("x", 40), 0o604)
	w.write("short", strings.Repeat("x", 31), 0o600)
	w.write("odd", strings.Repeat("x", 40)+"/+", 0o600)
	w.write("empty", "", 0o600)
	for want, args := range map[string][]string{
		"-domain is missing":                                     {"-credentials=a", "-local-secret-file=b"},
		"-credentials (or -vault-path)":                          {"-domain=d"},
		"either credentials or vault-path":                       w.args("-vault-path=x"),
		"-tls-cert and -tls-key belong together":                 w.args("-tls-cert=x"),
		"that wants -tls-cert and -tls-key":                      w.args("-listen=0.0.0.0:8404"),
		"neither on loopback":                                    w.args("-listen=:8404"),
		"-admin":                                                 w.args("-admin=192.0.2.1:80"),
		"-public-url is missing":                                 w.args("-listen=unix:" + w.path("s")),
		"is no host":                                             w.args("-domain=https://example.eu.auth0.com"),
		"-socket-mode":                                           w.args("-socket-mode=0777"),
		"-log-format":                                            w.args("-log-format=xml"),
		"-surprise":                                              w.args("-surprise"),
		`unexpected argument "extra"`:                            w.args("extra"),
		"none of credentials=":                                   w.args("-application=shop.json"),
		"has a local-secret-file":                                w.args("-application=credentials=x"),
		"not of the form https://HOST":                           w.args("-public-url=ftp://x"),
		"can be read or written by other users":                  w.args("-local-secret-file=" + w.path("open")),
		"short: the local secret has less than":                  w.args("-local-secret-file=" + w.path("short")),
		"odd: the local secret has other":                        w.args("-local-secret-file=" + w.path("odd")),
		"empty is empty: remove it":                              w.args("-local-secret-file=" + w.path("empty")),
		"make the local secret":                                  w.args("-local-secret-file=" + w.path("missing/local")),
		"-ca-cert: open":                                         w.args("-ca-cert=" + w.path("missing")),
		"-ca-cert: no certificate is in":                         w.args("-ca-cert=" + w.path("shop.json")),
		"no certificate is in " + w.path("empty"):                {"-domain=d", "-credentials=c", "-local-secret-file=" + w.path("local"), "-listen=127.0.0.1:0", "-ca-cert=" + w.path("empty")},
		"the certificate of the proxy":                           w.args("-tls-cert="+w.path("missing"), "-tls-key="+w.path("missing")),
		"systemd has not passed one socket":                      w.args("-listen=systemd"),
		"AUTH0_LOGIN_PROXY_ONLY_LOGIN is neither true nor false": {"AUTH0_LOGIN_PROXY_ONLY_LOGIN", "maybe"},
		"AUTH0_LOGIN_PROXY_ONLYLOGIN is not known. Known are AUTH0_LOG": {"AUTH0_LOGIN_PROXY_ONLYLOGIN", "true"},
		"AUTH0_LOGIN_PROXY_APPLICATION: \"shop\" is none of":            {"AUTH0_LOGIN_PROXY_APPLICATION", "shop"},
	} {
		t.Run(want, func(t *testing.T) {
			var environment map[string]string
			if strings.HasPrefix(args[0], "AUTH0") {
				environment, args = map[string]string{args[0]: args[1]}, nil
			}
			var told bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			assert.NotEqual(t, exitOK, run(ctx, args, io.Discard, &told, environment))
			assert.Contains(t, told.String(), want)
			assert.NotContains(t, told.String(), "xxxxxxxx")
		})
	}
}

// TestHelpAndDocument have each flag, with what it is.
func TestHelpAndDocument(t *testing.T) {
	var out bytes.Buffer
	assert.Equal(t, exitOK, run(t.Context(), []string{"-h"}, &out, io.Discard, nil))
	assert.Equal(t, usage, out.String())
	document, err := os.ReadFile("../../docs/login-proxy.md")
	require.NoError(t, err)
	newFlags(&settings{}, &application{}).VisitAll(func(f *flag.Flag) {
		assert.Regexp(t, `(?m)^  -`+f.Name+`(=| )`, usage)
		assert.Contains(t, string(document), "`-"+f.Name+"`")
	})
	out.Reset()
	assert.Equal(t, exitOK, run(t.Context(), []string{"-version"}, &out, io.Discard, nil))
	assert.Equal(t, "auth0-login-proxy "+version+"\n", out.String())
}

// TestABodyThatDoesNotCome ends a request that needs none, too.
func TestABodyThatDoesNotCome(t *testing.T) {
	server := newServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }), slog.New(slog.DiscardHandler))
	require.Equal(t, adminTime, server.ReadTimeout)
	require.Equal(t, adminTime, server.WriteTimeout)
	server.ReadTimeout = 50 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Contains(t, string(got), "200 OK")
	_ = conn.Close()
	_ = server.Close()
	serving.Wait()
}

// TestItEndsGracefully: the login that is under way is answered, another one is not taken.
func TestItEndsGracefully(t *testing.T) {
	w := newWorld(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	auth0 := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		_, _ = io.WriteString(rw, "{}")
	}))
	defer auth0.Close()
	domain := strings.TrimPrefix(auth0.URL, "https://")
	w.write("shop.json", `{"domain":"`+domain+`","client_id":"shop","client_secret":"a-secret"}`, 0o600)
	w.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: auth0.Certificate().Raw})), 0o600)
	base := "http://" + w.start(w.args("-domain="+domain)...)
	local := w.read("local")
	status := make(chan int)
	go func() { status <- w.logIn(&http.Client{Transport: &http.Transport{}}, base, "shop", local) }()
	<-asked
	code := make(chan int)
	go func() { code <- w.end() }()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, 10*time.Second, time.Millisecond, "it takes no more")
	close(answer)
	assert.Equal(t, 200, <-status)
	assert.Equal(t, exitOK, <-code)
}

// TestTheProcess: with a socket as systemd passes it, and ended by SIGTERM.
func TestTheProcess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it has no such sockets and signals")
	}
	w := newWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	file, err := listener.(*net.TCPListener).File()
	require.NoError(t, err)
	base := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	// The shell knows the number of its process, which is then the program's.
	command := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, os.Args[0]}, w.args("-listen=systemd")...)...)
	command.Env = append(os.Environ(), "RUN_THE_PROGRAM=1", "LISTEN_FDS=1")
	command.ExtraFiles = []*os.File{file}
	var printed output
	command.Stderr = &printed
	require.NoError(t, command.Start())
	require.NoError(t, file.Close())
	require.Eventually(t, func() bool { return strings.Contains(printed.String(), "serves") }, 10*time.Second, 5*time.Millisecond, printed.String())
	assert.Equal(t, 200, w.logIn(http.DefaultClient, base, w.shop.ClientID, w.read("local")))
	require.NoError(t, command.Process.Signal(syscall.SIGTERM))
	assert.NoError(t, command.Wait(), printed.String())
}

// TestTheProgramHasNothingOfThePlugin.
func TestTheProgramHasNothingOfThePlugin(t *testing.T) {
	list, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for _, each := range strings.Fields(string(list)) {
		assert.False(t, each == "vault-plugin-secrets-auth0" || strings.HasPrefix(each, "github.com/hashicorp/vault/sdk") ||
			strings.HasPrefix(each, "vault-plugin-secrets-auth0/internal/") && each != "vault-plugin-secrets-auth0/internal/assertion" || strings.HasPrefix(each, "github.com/hashicorp/go-plugin"), each)
	}
	assert.Contains(t, string(list), "vault-plugin-secrets-auth0/auth0login/proxy")
}
