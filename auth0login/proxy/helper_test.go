package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// otherProcess is what this binary is when it is started for the benchmark.
var otherProcess func()

func TestMain(m *testing.M) {
	if os.Getenv("PROXY_LOAD") != "" {
		otherProcess()
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	local    = "local-secret-of-the-shop-0123456789-abcdefg"
	callback = "http://localhost:3000/callback"
)

// credentials are a source that is set by hand.
type credentials struct {
	mu      sync.Mutex
	domain  string
	id      string
	secrets []string
	key     string // in place of secrets
	kid     string
	err     error
	reads   int
}

// Credentials implements auth0login.Source.
func (c *credentials) Credentials(context.Context) (auth0login.Credentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	return auth0login.Credentials{Domain: c.domain, ClientID: c.id, ClientSecrets: c.secrets, PrivateKey: c.key, KID: c.kid}, c.err
}

func (c *credentials) set(secrets ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secrets = secrets
}

func (c *credentials) setKey(private string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.key = private
}

// count is how often it was asked.
func (c *credentials) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads
}

func (c *credentials) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// logs are what was logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *logs) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

// String gives what was logged.
func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// world is a tenant with an application, and a proxy before it.
type world struct {
	t      *testing.T
	tenant *tenant.Tenant
	shop   tenant.Application
	source *credentials
	proxy  *Proxy
	front  *httptest.Server
	logs   *logs
}

func newTenant(t *testing.T) *tenant.Tenant {
	t.Helper()
	tn, err := tenant.Start(tenant.Options{})
	require.NoError(t, err)
	t.Cleanup(tn.Close)
	return tn
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, tenant: newTenant(t), logs: &logs{}}
	w.shop = w.tenant.AddApplication(tenant.Application{Callbacks: []string{callback}})
	w.source = &credentials{domain: w.tenant.Domain(), id: w.shop.ClientID, secrets: []string{w.shop.ClientSecret}}
	w.start(Config{Domain: w.tenant.Domain(), CACert: w.tenant.CACert()}, change...)
	return w
}

// newKey is a private key, and its public half.
func newKey(t testing.TB) (private, public string) {
	t.Helper()
	private, err := assertion.NewPrivateKey(assertion.MinKeyBits)
	require.NoError(t, err)
	public, _, err = assertion.PublicKey(private)
	require.NoError(t, err)
	return private, public
}

// newKeyWorld is a world whose application authenticates by private_key_jwt.
func newKeyWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, tenant: newTenant(t), logs: &logs{}}
	private, public := newKey(t)
	w.shop = w.tenant.AddApplicationWithKey(tenant.Application{Callbacks: []string{callback}}, public, "RS256")
	w.source = &credentials{domain: w.tenant.Domain(), id: w.shop.ClientID, key: private}
	w.start(Config{Domain: w.tenant.Domain(), CACert: w.tenant.CACert()}, change...)
	return w
}

// newWorldBefore is a world whose Auth0 is a handler, with an application shop that has
// the secrets.
func newWorldBefore(t *testing.T, auth0 http.HandlerFunc, secrets ...string) *world {
	t.Helper()
	w := &world{t: t, logs: &logs{}}
	server := httptest.NewTLSServer(auth0)
	t.Cleanup(server.Close)
	domain := strings.TrimPrefix(server.URL, "https://")
	w.shop = tenant.Application{ClientID: "shop"}
	w.source = &credentials{domain: domain, id: "shop", secrets: secrets}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	w.start(Config{Domain: domain, CACert: string(ca)})
	return w
}

func (w *world) start(c Config, change ...func(*Config)) {
	w.t.Helper()
	c.PublicURL = "https://login.example.com:8404"
	c.Applications = []Application{{Source: w.source, LocalSecret: local}}
	c.Logger = slog.New(slog.NewTextHandler(w.logs, nil))
	for _, each := range change {
		each(&c)
	}
	p, err := New(c)
	require.NoError(w.t, err)
	w.proxy = p
	w.front = httptest.NewServer(p)
	w.t.Cleanup(func() {
		w.front.CloseClientConnections()
		w.front.Close()
		p.Close()
		assert.NotContains(w.t, w.logs.String(), local)
		for _, secret := range w.secrets() {
			assert.NotContains(w.t, w.logs.String(), secret)
		}
	})
}

// secrets are the real ones.
func (w *world) secrets() []string {
	w.source.mu.Lock()
	defer w.source.mu.Unlock()
	all := slices.Concat(w.source.secrets, linesOf(w.source.key))
	if w.tenant != nil {
		all = append(all, w.tenant.EverySecret()...)
	}
	return all
}

// linesOf are the long lines of a private key.
func linesOf(key string) []string {
	return slices.DeleteFunc(strings.Split(key, "\n"), func(line string) bool { return len(line) < 64 })
}

// answer is what the application gets.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) field(name string) string {
	var object map[string]any
	_ = json.Unmarshal([]byte(a.body), &object)
	text, _ := object[name].(string)
	return text
}

func (w *world) do(r *http.Request) answer {
	w.t.Helper()
	client := http.Client{
		Transport:     w.front.Client().Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(r)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	got := answer{resp.StatusCode, resp.Header, string(body)}
	for _, secret := range append(w.secrets(), local) {
		if secret == got.field("access_token") {
			continue // Auth0 gives the same one twice in a second
		}
		assert.NotContains(w.t, string(body), secret)
		for name, values := range resp.Header {
			assert.NotContains(w.t, name+strings.Join(values, " "), secret)
		}
	}
	return got
}

func (w *world) request(method, path, body string, header ...string) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.front.URL+path, strings.NewReader(body))
	require.NoError(w.t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func (w *world) post(path, body string, header ...string) answer {
	w.t.Helper()
	return w.do(w.request(http.MethodPost, path, body, append([]string{"Content-Type", formType}, header...)...))
}

// form is a login by client_secret_post.
func (w *world) form(secret string, more ...string) string {
	values := url.Values{"grant_type": {"client_credentials"}, "client_id": {w.shop.ClientID}, "client_secret": {secret}}
	for i := 0; i < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	return values.Encode()
}

// rotate sets another secret in Auth0.
func (w *world) rotate(secret string) {
	w.t.Helper()
	w.tenant.SetSecretInDashboard(w.shop.ClientID, secret)
}
