package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vault-plugin-secrets-auth0/auth0login"
)

const (
	// maxLoginBody is how long the body of a login may be. One that is longer is no login.
	maxLoginBody = 64 << 10
	// maxLogins is how many logins may wait for Auth0 at the same time.
	maxLogins = 256
	// queueTime is how long a login waits for its turn, if there are so many.
	queueTime = 5 * time.Second

	bodyTime    = 15 * time.Second // for the body of a login
	loginTime   = 90 * time.Second // for a login, with all its attempts
	requestTime = 5 * time.Minute  // for any other request
	answerTime  = 30 * time.Second // until Auth0 begins to answer
	pingTime    = 10 * time.Second // of silence on an HTTP/2 connection before a ping, and then until its answer

	askPause = time.Second // at least, between requests of others for whose sake a source is asked

	maxShown = 256 // of a method or a path in the log

	// MinLocalSecret is how long a local secret has to be.
	MinLocalSecret = 32
)

// Application is an application that logs in through the proxy.
type Application struct {
	// Source has the application's credentials: its client ID and present secrets, or a
	// private key or client assertions.
	Source auth0login.Source
	// LocalSecret is what the application has in place of its client secret. Letters,
	// digits and -._~ are all that it may consist of: others are written in more than one
	// way, and so could not be told from other text.
	LocalSecret string
}

// Config says what a [Proxy] does.
type Config struct {
	Domain       string // of the tenant: a host, or host:port
	PublicURL    string // of the proxy, as applications reach it; such as http://127.0.0.1:8404
	Applications []Application
	OnlyLogin    bool         // refuse all but what carries client authentication, and discovery
	CACert       string       // PEM of the CAs of the tenant's certificate; "": the system's
	Logger       *slog.Logger // nil: nothing is logged
	Version      string       // for metrics
}

// Proxy is an [http.Handler] between applications and Auth0. Make one by [New].
type Proxy struct {
	domain, publicURL string
	onlyLogin         bool
	applications      []*application
	local             secrets
	reverse           *httputil.ReverseProxy
	upstream          *http.Transport
	logins            chan struct{} // has room for those that wait for Auth0
	patience          time.Duration // of those that wait for room
	askPause          time.Duration // see the constant
	bodyTime          time.Duration // for the body of a login, or of a request that is refused
	logger            *slog.Logger
	version           string
	counts            counts
}

// application is an application as the proxy knows it.
type application struct {
	login    *auth0login.Application
	domain   string
	source   auth0login.Source
	local    [sha256.Size]byte // the hash of its local secret: hashes have one length
	clientID atomic.Pointer[string]
	asked    atomic.Int64 // when find asked the source, in Unix nanoseconds
}

// is compares in constant time.
func (a *application) is(localSecret string) bool {
	hash := sha256.Sum256([]byte(localSecret))
	return subtle.ConstantTimeCompare(hash[:], a.local[:]) == 1
}

// learn notes the application's client ID.
func (a *application) learn(ctx context.Context) error {
	c, err := a.source.Credentials(ctx)
	if err == nil && !strings.EqualFold(c.Domain, a.domain) {
		err = fmt.Errorf("the credentials are for %q, not for %q", c.Domain, a.domain)
	}
	if err == nil {
		a.clientID.Store(&c.ClientID)
	}
	return err
}

// New is a proxy. It reads no credentials yet.
func New(c Config) (*Proxy, error) {
	p := &Proxy{
		domain: c.Domain, publicURL: strings.TrimRight(c.PublicURL, "/"), onlyLogin: c.OnlyLogin,
		logins: make(chan struct{}, maxLogins), patience: queueTime, askPause: askPause, bodyTime: bodyTime, logger: c.Logger, version: c.Version,
	}
	if p.logger == nil {
		p.logger = slog.New(slog.DiscardHandler)
	}
	if host, err := url.Parse("https://" + c.Domain); err != nil || c.Domain == "" || host.Host != c.Domain {
		return nil, fmt.Errorf("the domain %q is no host and no host:port: it has no https:// and no path", c.Domain)
	}
	public, err := url.Parse(p.publicURL)
	if err != nil || public.Host == "" || public.Scheme != "http" && public.Scheme != "https" || public.RawQuery != "" || public.Fragment != "" {
		return nil, errors.New("the public URL is not of the form https://HOST or http://HOST")
	}
	if len(c.Applications) == 0 {
		return nil, errors.New("there is no application")
	}
	for _, each := range c.Applications {
		if err := CheckLocalSecret(each.LocalSecret); err != nil {
			return nil, err
		}
		p.local = append(p.local, each.LocalSecret)
		p.applications = append(p.applications, &application{
			login:  auth0login.New(each.Source, auth0login.Domain(c.Domain)),
			domain: c.Domain, source: each.Source, local: sha256.Sum256([]byte(each.LocalSecret)),
		})
	}
	if p.upstream, err = newTransport(c.CACert); err != nil {
		return nil, err
	}
	p.reverse = &httputil.ReverseProxy{
		Rewrite: p.rewrite, Transport: transport{p.upstream}, ModifyResponse: p.modify, ErrorHandler: p.failed,
		FlushInterval: -1, BufferPool: &buffers{}, ErrorLog: log.New(io.Discard, "", 0), // it could quote an answer
	}
	return p, nil
}

// CheckLocalSecret says what is wrong with a local secret, without showing it.
func CheckLocalSecret(secret string) error {
	if len(secret) < MinLocalSecret {
		return fmt.Errorf("the local secret has less than %d characters", MinLocalSecret)
	}
	for _, c := range secret {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", c) {
			return errors.New("the local secret has other characters than letters, digits and -._~")
		}
	}
	return nil
}

func newTransport(caCert string) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caCert != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(caCert)) {
			return nil, errors.New("there is no certificate in the CA's PEM")
		}
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  answerTime,
		IdleConnTimeout:        50 * time.Second, // below what servers have: a POST is not repeated
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    256, // there is one host
		MaxResponseHeaderBytes: 256 << 10,
		ForceAttemptHTTP2:      true,
		// Else a connection that has died silently would take all logins until TCP gives up.
		HTTP2:              &http.HTTP2Config{SendPingTimeout: pingTime, PingTimeout: pingTime},
		DisableCompression: true, // answers are passed on as they are
	}, nil
}

// Close ends the connections to Auth0 that are idle.
func (p *Proxy) Close() { p.upstream.CloseIdleConnections() }

// ServeHTTP answers, counts and logs a request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	answer := &recorder{ResponseWriter: w}
	// net/http reads what is left of a refused request's body before it sends the answer.
	connection := http.NewResponseController(w) // a handler without a connection has no deadlines
	_ = connection.SetReadDeadline(began.Add(p.bodyTime))
	_ = connection.SetWriteDeadline(began.Add(loginTime + bodyTime))
	kind, method, shown := kindRefused, r.Method, r.URL.EscapedPath()
	defer func() { p.note(r, kind, method, shown, answer, time.Since(began)) }() // also if the answer is cut off
	if p.local.encodedIn(r.RequestURI) || p.local.encodedIn(r.URL.String()) || p.local.in(r.Method) {
		method, shown = "(not shown)", "(not shown)"
		misplaced.write(answer)
		return
	}
	kind = p.serve(answer, r)
}

// note counts and logs a request.
func (p *Proxy) note(r *http.Request, kind kind, method, path string, answer *recorder, took time.Duration) {
	p.counts.request(kind, answer.status)
	method, path = method[:min(len(method), maxShown)], path[:min(len(path), maxShown)]
	fields := []slog.Attr{slog.String("method", method), slog.String("path", path), slog.Int("status", answer.status), slog.Duration("time", took)}
	if answer.own { // else a 401 of Auth0 and one of the proxy look the same
		fields = append(fields, slog.String("by", "proxy"))
	}
	p.logger.LogAttrs(r.Context(), slog.LevelInfo, "request", fields...)
}

// kind is what a request is, for the counts.
type kind int

const (
	kindRefused kind = iota
	kindLogin
	kindDiscovery
	kindOther
)

// loginPaths are what carries client authentication.
var loginPaths = map[string]string{ // with the field of the discovery document
	"/oauth/token":  "token_endpoint",
	"/oauth/revoke": "revocation_endpoint",
	"/oauth/par":    "pushed_authorization_request_endpoint",
	"/bc-authorize": "backchannel_authentication_endpoint",
}

func isDiscovery(path string) bool {
	return path == "/.well-known/openid-configuration" || path == "/.well-known/oauth-authorization-server"
}

func (p *Proxy) serve(w *recorder, r *http.Request) kind {
	asked := r.URL.EscapedPath()
	_, isLogin := loginPaths[asked]
	switch {
	case !strings.HasPrefix(asked, "/") || r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		notForUs.write(w)
	case isLogin && r.Method == http.MethodPost:
		p.serveLogin(w, r)
		return kindLogin
	case isLogin && r.Method != http.MethodOptions:
		w.Header().Set("Allow", http.MethodPost)
		wrongMethod.write(w)
	case !isLogin && disguisedPath(r.URL.Path):
		notForUs.write(w)
	case p.local.inHeader(r.Header, true):
		misplaced.write(w)
	case isDiscovery(asked) && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		p.passOn(w, r, discovering)
		return kindDiscovery
	case p.onlyLogin:
		onlyLogin.write(w)
	default:
		p.passOn(w, r, nil)
		return kindOther
	}
	return kindRefused
}

// disguisedPath says whether another server may take a path for one that carries client
// authentication: //oauth/token is one to some.
func disguisedPath(asked string) bool {
	asked, _, _ = strings.Cut(strings.ReplaceAll(asked, `\`, "/"), ";")
	_, is := loginPaths[strings.ToLower(path.Clean(asked))]
	return is
}

// passOn sends a request to Auth0, with what there is to know about it.
func (p *Proxy) passOn(w *recorder, r *http.Request, about any) {
	limit := requestTime
	if _, ok := about.(*login); ok {
		limit = loginTime
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(limit + bodyTime)) // for net/http's look at whether the client is there, too
	_ = connection.SetWriteDeadline(time.Now().Add(limit + bodyTime))
	if l, ok := about.(*login); ok {
		l.ctx = ctx
	} else if r.Body != nil && r.ContentLength != 0 {
		r.Body = p.local.guard(r.Body)
	}
	if about != nil {
		ctx = context.WithValue(ctx, aboutKey{}, about)
	}
	p.reverse.ServeHTTP(w, r.WithContext(ctx))
}

// aboutKey is the key of what there is to know about a request, in its context.
type aboutKey struct{}

// rewrite makes the request to Auth0. Where it goes is up to the configuration alone.
func (p *Proxy) rewrite(r *httputil.ProxyRequest) {
	in := r.In.URL
	r.Out.URL = &url.URL{Scheme: "https", Host: p.domain, Path: in.Path, RawPath: in.RawPath, RawQuery: in.RawQuery, ForceQuery: in.ForceQuery}
	r.Out.Host = p.domain
	r.Out.Trailer = nil
	for _, name := range []string{"Connection", "Upgrade", "X-Forwarded-Port", "X-Forwarded-Server", "X-Real-Ip"} {
		r.Out.Header.Del(name)
	}
	if r.In.Context().Value(aboutKey{}) == discovering {
		r.Out.Header.Set("Accept-Encoding", "identity")
		for _, name := range []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since"} {
			r.Out.Header.Del(name)
		}
	}
}

// transport sends requests to Auth0: logins with one secret after the other.
type transport struct{ upstream *http.Transport }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if l, ok := r.Context().Value(aboutKey{}).(*login); ok {
		return l.roundTrip(t.upstream, r)
	}
	return t.upstream.RoundTrip(r)
}

func (p *Proxy) modify(answer *http.Response) error {
	if answer.Request != nil && answer.Request.Context().Value(aboutKey{}) == discovering {
		return p.rewriteDiscovery(answer)
	}
	return nil
}

// failed answers a request to which Auth0 gave no answer that can be passed on.
func (p *Proxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	var own refusal
	var timeout net.Error
	switch {
	case errors.As(err, &own):
	case errors.Is(err, errForbidden):
		own = misplaced
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		own = tooSlow
	default:
		own = unreachable
	}
	if r.Context().Err() == nil || errors.Is(r.Context().Err(), context.DeadlineExceeded) { // the client is still there
		p.logger.LogAttrs(r.Context(), slog.LevelWarn, "no answer of Auth0 to pass on",
			slog.Int("status", own.status), slog.String("cause", cause(err)))
	}
	own.write(w)
}

// cause is why Auth0 gave no answer, without text that came from there: it could quote
// the request.
func cause(err error) string {
	var own refusal
	var dns *net.DNSError
	var op *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &own) && own.cause != nil:
		return own.cause.Error()
	case errors.As(err, &own):
		return own.description
	case errors.As(err, &dns):
		return dns.Error()
	case errors.As(err, &certificate):
		return certificate.Error()
	case errors.As(err, &op) && op.Op == "dial":
		return op.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long"
	case errors.Is(err, errForbidden):
		return "the request has a local secret where none belongs"
	}
	return "the connection broke, or the answer is not HTTP"
}

// refusal is an answer of the proxy's own.
type refusal struct {
	status            int
	code, description string
	cause             error // for the log
}

// Error implements error.
func (r refusal) Error() string { return r.description }

// write answers in the form of OAuth 2.0's errors.
func (r refusal) write(w http.ResponseWriter) {
	if answer, ok := w.(*recorder); ok {
		answer.own = true
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if r.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(r.status)
	_, _ = fmt.Fprintf(w, `{"error":%q,"error_description":%q}`, r.code, r.description)
}

// The answers of the proxy's own.
var (
	// unauthorized is what Auth0 answers to a wrong secret.
	unauthorized = refusal{status: 401, code: "access_denied", description: "Unauthorized"}

	ambiguous     = refusal{status: 400, code: "invalid_request", description: "auth0-login-proxy: the client authentication can be read in more than one way"}
	notUnderstood = refusal{status: 400, code: "invalid_request", description: "auth0-login-proxy: the body is neither a form nor JSON"}
	misplaced     = refusal{status: 400, code: "invalid_request", description: "auth0-login-proxy: there is a local secret where none belongs"}
	notForUs      = refusal{status: 400, code: "invalid_request", description: "auth0-login-proxy: this is not how an endpoint of Auth0 is called"}
	wrongMethod   = refusal{status: 405, code: "invalid_request", description: "auth0-login-proxy: this endpoint wants POST"}
	tooLong       = refusal{status: 413, code: "invalid_request", description: "auth0-login-proxy: the body is too long"}
	tooSlowBody   = refusal{status: 408, code: "invalid_request", description: "auth0-login-proxy: the body did not come"}
	encodedBody   = refusal{status: 415, code: "invalid_request", description: "auth0-login-proxy: the body is compressed"}
	onlyLogin     = refusal{status: 403, code: "access_denied", description: "auth0-login-proxy: only logins are passed on (-only-login)"}
	foreign       = refusal{status: 403, code: "unauthorized_client", description: "auth0-login-proxy: only configured applications are passed on (-only-login)"}
	unreachable   = refusal{status: 502, code: "temporarily_unavailable", description: "auth0-login-proxy: Auth0 gave no answer that could be passed on"}
	busy          = refusal{status: 503, code: "temporarily_unavailable", description: "auth0-login-proxy: there are too many logins at the same time"}
	noCredentials = refusal{status: 503, code: "temporarily_unavailable", description: "auth0-login-proxy: there are no credentials to log in with"}
	tooSlow       = refusal{status: 504, code: "temporarily_unavailable", description: "auth0-login-proxy: Auth0 did not answer in time"}
)

// recorder notes the status of an answer, and whether it is the proxy's own.
type recorder struct {
	http.ResponseWriter
	status int
	own    bool
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if status >= 200 && r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// buffers are those that answers are copied with.
type buffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32<<10)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }
