// Package tenant is a simulated Auth0 tenant, for tests and for the demo of the
// secrets engine. It is never linked into the plugin.
//
// It does what the engine needs of Auth0, as it was recorded or, failing that, is
// documented: the token endpoint for client credentials, codes and refresh tokens,
// a login without a page, and the endpoints of the Management API for applications,
// their credentials and grants (routes has all of them),
// with scopes, field visibility, rate limits, the error bodies, and new secrets and
// keys that take time to be accepted everywhere (SetPropagation). Faults of every
// sort can be switched on (Inject, SetDown), and it measures what matters in
// the end: how many logins of applications were accepted and refused (Stats).
//
//	tn, err := tenant.Start(tenant.Options{})
//	defer tn.Close()
//	engine := tn.AddManagementApplication("update:client_keys", "read:clients")
//	app := tn.AddApplication(tenant.Application{Name: "shop"})
//	tn.SetPropagation(tenant.Propagation{Delay: 30 * time.Second, Mode: tenant.Mixed})
//	tn.Inject(tenant.Fault{Endpoint: tenant.UpdateApplication, Kind: tenant.TimeoutAfterCommit, Times: 1})
//
// Where Auth0 was seen to do several things, this does by itself the one that is
// harder for a client: every other application lacks what API and Terraform leave out
// (Application.Shape), a request that names a field which the token may not read is
// refused (DropUnreadableFields), a slot has room for two credentials
// (SetCredentialAddOn). These it does only when told to: OmitScope, RateLimit.Window,
// UpgradeRequired, Echo and Headers.
//
// # Logins
//
// An application tries the secrets it has in order until one is accepted. Stats
// counts such logins, not attempts:
//
//	first attempt accepted                  Accepted
//	refused, then accepted                  Accepted, FellBack
//	all refused                             Refused: an outage of the application
//	refused, and nothing has come since     Undecided
//
// X-Login-Id, the same for all attempts of one login and never used again, says
// what belongs together; X-Login-Last: true comes with the last secret that there
// is. Without X-Login-Id the authorization code says it, if there is one: a login
// whose attempts are all refused stays undecided then. Other attempts without
// X-Login-Id belong to one login until one is accepted. One with a secret that this
// login has tried before begins the next login, so the one before was refused. That
// is exact as long as an application makes one login at a time. With private_key_jwt a
// secret is a key here, as the kid of the assertion names it: all without a kid are one.
//
// So it is with all grants: a code is redeemed and a refresh token used as
// client_credentials are. Attempts that meet a fault count neither way, unless
// they get the right answer all the same (Headers), nor do requests for a
// Management API token.
//
// # Access tokens
//
// Those for the Management API are opaque, those for other APIs JWTs (AddAPI,
// SetGrant) that any API can check; Protect makes such a one.
//
// Whatever it prints or serves, it is a simulation: its secrets are real
// nowhere. All methods may be called at any time from any goroutine.
package tenant

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"
)

// Options are how a tenant is started. The zero value is good.
type Options struct {
	Addr          string           // host:port on loopback; default 127.0.0.1:0, a free port
	TokenLifetime time.Duration    // of access tokens; default 24h, Auth0's
	RateLimit     RateLimit        // of /api/v2; zero: unlimited
	TokenLimit    RateLimit        // of /oauth/token; zero: unlimited
	Now           func() time.Time // nil: time.Now. Everything but certificates goes by it
}

// Tenant is a simulated tenant that is running.
type Tenant struct {
	domain   string
	lifetime time.Duration
	now      func() time.Time
	caPEM    []byte
	server   *httptest.Server

	down    atomic.Bool
	closing chan struct{} // closed by Close: lets go what is held
	close   func()

	mu           sync.Mutex     // for all below; whoever handles a request has it
	apis         map[string]API // by audience
	apps         map[string]*application
	order        []string // client IDs as they were added
	alternated   int      // applications whose shape was left to AddApplication
	bare         int      // applications that AddApplication has made bare
	propagation  Propagation
	nextNode     uint64                 // for attempts without a login ID
	tokens       map[string]issuedToken // for the Management API
	apiTokens    map[string]string      // for other APIs, by their claims
	sessions     sessions
	buckets      []*bucket // of the rate limit of /api/v2
	tokenBuckets []*bucket // of that of /oauth/token
	faults       []*activeFault
	stats        statistics
	addOn        bool
	honoursScope bool
	omitsScope   bool
	dropsFields  bool
	spendsCodes  bool
}

// Start starts a tenant with no applications, serving HTTPS on loopback with a
// certificate of a CA of its own. It runs until Close.
func Start(o Options) (*Tenant, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.TokenLifetime == 0 {
		o.TokenLifetime = 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	listener, err := listenOnLoopback(o.Addr)
	if err != nil {
		return nil, fmt.Errorf("simulated tenant: %w", err)
	}
	caPEM, certificate, err := newCertificates()
	if err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("simulated tenant: %w", err)
	}

	t := &Tenant{
		domain:    listener.Addr().String(),
		lifetime:  o.TokenLifetime,
		now:       o.Now,
		caPEM:     caPEM,
		closing:   make(chan struct{}),
		apis:      map[string]API{},
		apps:      map[string]*application{},
		tokens:    map[string]issuedToken{},
		apiTokens: map[string]string{},
		sessions:  newSessions(),
		stats:     newStatistics(),
	}
	t.AddAPI(API{Audience: t.Audience()})
	t.AddAPI(API{Audience: DefaultAPI, Scopes: []string{"read:orders", "write:orders"}})
	t.close = sync.OnceFunc(func() { close(t.closing) })
	t.buckets, t.tokenBuckets = newBuckets(o.RateLimit, t.now()), newBuckets(o.TokenLimit, t.now())
	t.server = &httptest.Server{
		Listener: gate{listener, &t.down},
		TLS:      &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		Config: &http.Server{
			Handler:           t.newHandler(),
			ReadHeaderTimeout: time.Minute,
			ErrorLog:          log.New(io.Discard, "", 0), // connections that are cut on purpose
		},
	}
	t.server.StartTLS()
	// The default of 2 makes a storm of logins a storm of handshakes.
	t.server.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	return t, nil
}

// Close stops the tenant: it cuts all connections, lets go what is held, and
// waits until nothing runs any more. It may be called more than once.
func (t *Tenant) Close() {
	t.close()
	t.server.CloseClientConnections()
	t.server.Close()
}

// Domain gives the tenant's domain as host:port.
func (t *Tenant) Domain() string { return t.domain }

// Audience gives the identifier of the Management API: https://<domain>/api/v2/.
func (t *Tenant) Audience() string { return t.issuer() + "api/v2/" }

// CACert gives the certificate of the tenant's CA as PEM.
func (t *Tenant) CACert() string { return string(t.caPEM) }

// issuer is the audience of client assertions.
func (t *Tenant) issuer() string { return "https://" + t.domain + "/" }

// HTTPClient gives a client that trusts the tenant. It has no timeout. All share
// their connections, which Close ends.
func (t *Tenant) HTTPClient() *http.Client {
	return &http.Client{Transport: t.server.Client().Transport}
}

// SetDown makes the whole tenant unreachable: existing connections are cut, new
// ones closed at once. A request that is being handled at this moment may still
// take effect, without an answer.
func (t *Tenant) SetDown(down bool) {
	t.down.Store(down)
	if down {
		t.server.CloseClientConnections()
	}
}

// gate closes connections at once while the tenant is down.
type gate struct {
	net.Listener
	down *atomic.Bool
}

// Accept gives the next connection that may come in.
func (g gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil || !g.down.Load() {
			return conn, err
		}
		_ = conn.Close()
	}
}

// listenOnLoopback refuses every other address: the certificate would not be
// good for it, and a simulation is nobody else's business.
func listenOnLoopback(addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s is not on loopback", addr)
	}
	return net.Listen("tcp", addr) //nolint:noctx // there is nothing to wait for
}

// set sets a switch of the tenant.
func (t *Tenant) set(field *bool, on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*field = on
}
