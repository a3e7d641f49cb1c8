// Package tenant is a simulated Auth0 tenant, for tests and for the demo of the
// secrets engine. It is never linked into the plugin.
//
// It does what the engine needs of Auth0, as it was recorded or, failing that, is
// documented:
//
//	POST   /oauth/token                              client_credentials, by secret or private_key_jwt;
//	                                                 authorization_code, refresh_token
//	GET    /authorize                                with PKCE or without; query or form_post
//	GET    /userinfo
//	GET    /.well-known/openid-configuration
//	GET    /.well-known/jwks.json
//	GET    /api/v2/clients                           page, per_page, include_totals, fields
//	GET    /api/v2/clients/{id}                      fields, include_fields
//	PATCH  /api/v2/clients/{id}                      {"client_secret":"..."}, or what uses credentials
//	POST   /api/v2/clients/{id}/rotate-secret
//	GET    /api/v2/clients/{id}/credentials          the pool of public keys
//	POST   /api/v2/clients/{id}/credentials
//	DELETE /api/v2/clients/{id}/credentials/{id}
//	POST   /api/v2/clients                           and DELETE /api/v2/clients/{id}
//	POST   /api/v2/client-grants                     scopes of the Management API
//
// with scopes, field visibility, rate limit, the error bodies, and a new secret
// that takes time to be accepted everywhere (SetPropagation). Faults of every
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
// # Strictness
//
// Where Auth0 was seen to do several things, this does by itself the one that is
// harder for a client, and the other when it is told to:
//
//	every other application lacks app_type, the method     Application.Shape
//	  of authentication and the signing algorithm
//	a request that names a field which the token may       DropUnreadableFields
//	  not read is refused
//	two credentials in a slot, four in the pool; what is   SetCredentialAddOn, AddCredential
//	  in use cannot be deleted
//	GET /clients has a limit of its own, if there is one   RateLimit.Endpoints
//
// These it does only when told to: OmitScope (a token without its scopes),
// RateLimit.Window (refills all at once), UpgradeRequired, Echo and Headers (an
// upstream that is hostile, or in the hands of somebody who is).
//
// # Logins
//
// An application tries the secrets it has in order until one is accepted. It
// sends X-Login-Id, the same for all attempts of one login and never used
// again, and X-Login-Last: true with the last secret it has:
//
//	first attempt accepted                  Accepted
//	refused, then accepted                  Accepted, FellBack
//	the one marked last refused             Refused: an outage of the application
//	refused, and nothing has come since     Undecided
//
// So it is with all grants: a code is redeemed and a refresh token used as
// client_credentials are. An attempt without X-Login-Id is a login of its own.
// Attempts that meet a fault count neither way, unless they get the right answer
// all the same (Slow, Headers), nor do requests for a Management API token.
//
// Whatever it prints or serves, it is a simulation: its secrets are real
// nowhere. All methods may be called at any time from any goroutine.
package tenant

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultAddr          = "127.0.0.1:0"
	defaultAudience      = "https://api.example.com/"
	defaultTokenLifetime = 24 * time.Hour // Auth0's default for the Management API
)

// Options are how a tenant is started. The zero value is good.
type Options struct {
	Addr          string           // host:port on loopback; default 127.0.0.1:0, a free port
	TokenLifetime time.Duration    // of access tokens; default 24h
	RateLimit     RateLimit        // of /api/v2; zero: unlimited
	Audience      string           // the API that applications log in for; default https://api.example.com/
	Now           func() time.Time // nil: time.Now. Everything but certificates and Fault.Delay goes by it
}

// Tenant is a simulated tenant that is running.
type Tenant struct {
	domain   string
	audience string
	lifetime time.Duration
	now      func() time.Time

	certs     certificates
	transport *http.Transport // of HTTPClient
	server    *http.Server
	control   http.Handler

	closing chan struct{} // closed by Close: lets go what is held or delayed
	running sync.WaitGroup

	connMu sync.Mutex
	conns  map[net.Conn]struct{}
	down   bool
	closed bool

	mu           sync.Mutex // for what is below
	apps         map[string]*application
	order        []string // client IDs as they were added
	propagation  Propagation
	honoursScope bool
	slotSize     int // how many credentials a slot holds

	nextNode    atomic.Uint64 // for attempts without a login ID
	alternated  atomic.Uint64 // applications whose shape was left to AddApplication
	bare        atomic.Uint64 // applications that AddApplication has made bare
	omitsScope  atomic.Bool
	dropsFields atomic.Bool
	tokens      tokens
	sessions    sessions
	signing     signingKey
	faults      faults
	limits      limits
	stats       statistics
}

// Start starts a tenant with no applications, serving HTTPS on loopback with a
// certificate of a CA of its own. It runs until Close.
func Start(o Options) (*Tenant, error) {
	if o.Addr == "" {
		o.Addr = defaultAddr
	}
	if o.Audience == "" {
		o.Audience = defaultAudience
	}
	if o.TokenLifetime == 0 {
		o.TokenLifetime = defaultTokenLifetime
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	listener, err := listenOnLoopback(o.Addr)
	if err != nil {
		return nil, fmt.Errorf("simulated tenant: %w", err)
	}
	certs, err := newCertificates()
	if err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("simulated tenant: %w", err)
	}

	t := &Tenant{
		domain:   listener.Addr().String(),
		audience: o.Audience,
		lifetime: o.TokenLifetime,
		now:      o.Now,
		certs:    certs,
		closing:  make(chan struct{}),
		conns:    map[net.Conn]struct{}{},
		apps:     map[string]*application{},
		slotSize: maxSlot,
	}
	t.limits.set(o.RateLimit, t.now())
	t.control = t.newControl()
	t.transport = &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: certs.pool(), MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: 64, // the default of 2 makes a storm of logins a storm of handshakes
	}
	t.server = &http.Server{
		Handler:           http.HandlerFunc(t.serve),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certs.server}, MinVersion: tls.VersionTLS12},
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/1 only: a stream of HTTP/2 cannot be cut like a connection
		ReadHeaderTimeout: time.Minute,
		ConnState:         t.track,
		ErrorLog:          log.New(io.Discard, "", 0), // connections that are cut on purpose
	}
	t.running.Go(func() {
		if err := t.server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			panic("simulated tenant: " + err.Error())
		}
	})
	return t, nil
}

// Close stops the tenant: it cuts all connections, lets go what is held, and
// waits until nothing runs any more. It may be called more than once.
func (t *Tenant) Close() {
	t.connMu.Lock()
	first := !t.closed
	t.closed = true
	t.connMu.Unlock()
	if first {
		close(t.closing)
	}
	_ = t.server.Close()
	t.transport.CloseIdleConnections()
	t.running.Wait()
}

// Domain gives the tenant's domain as host:port.
func (t *Tenant) Domain() string { return t.domain }

// Audience gives the identifier of the Management API: https://<domain>/api/v2/.
func (t *Tenant) Audience() string { return "https://" + t.domain + "/api/v2/" }

// CACert gives the certificate of the tenant's CA as PEM.
func (t *Tenant) CACert() string { return string(t.certs.caPEM) }

// issuer is the audience of client assertions.
func (t *Tenant) issuer() string { return "https://" + t.domain + "/" }

// HTTPClient gives a client that trusts the CA. It has no timeout. All share
// their connections, which Close ends.
func (t *Tenant) HTTPClient() *http.Client { return &http.Client{Transport: t.transport} }

// SetDown makes the whole tenant unreachable: existing connections are cut, new
// ones closed at once. A request that is being handled at this moment may still
// take effect, without an answer.
func (t *Tenant) SetDown(down bool) {
	t.connMu.Lock()
	defer t.connMu.Unlock()
	t.down = down
	if !down {
		return
	}
	for c := range t.conns {
		reset(c)
	}
}

func (t *Tenant) isDown() bool {
	t.connMu.Lock()
	defer t.connMu.Unlock()
	return t.down
}

// track keeps the connections that SetDown has to cut.
func (t *Tenant) track(c net.Conn, state http.ConnState) {
	t.connMu.Lock()
	defer t.connMu.Unlock()
	switch state {
	case http.StateNew:
		t.conns[c] = struct{}{}
		if t.down {
			reset(c)
		}
	case http.StateClosed, http.StateHijacked:
		delete(t.conns, c)
	}
}

// enter has Close wait for this request; false if it is too late for that.
func (t *Tenant) enter() bool {
	t.connMu.Lock()
	defer t.connMu.Unlock()
	if t.closed {
		return false
	}
	t.running.Add(1)
	return true
}

// cut ends the connection of a request in the way of a peer that has crashed.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // closes the connection, too
	}
	reset(conn)
}

// reset closes a connection with RST, without TLS's and TCP's goodbye.
func reset(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
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

// pool gives the CA as a pool of roots.
func (c certificates) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.caPEM)
	return pool
}
