// Command auth0-login-proxy lets applications that know only one client secret log in at
// Auth0 while Vault rotates the real one. It is package auth0login/proxy with a server, and
// has nothing of the plugin in it:
//
//	auth0-login-proxy -domain=example.eu.auth0.com -credentials=/run/shop/auth0.json \
//		-local-secret-file=/var/lib/auth0-login-proxy/shop.secret
//	auth0-login-proxy -h
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/auth0login/proxy"
	"vault-plugin-secrets-auth0/auth0login/vaultcreds"
)

// version is set by the linker.
var version = "v0.1.0-dev"

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const (
	headerTime = 10 * time.Second // for the header of a request
	adminTime  = time.Minute      // for a request of /healthz or /metrics, and for its answer; others have the proxy's bounds
	idleTime   = 2 * time.Minute  // of a connection between two requests
	maxHeader  = 32 << 10
	// endTime is how long requests that are under way may take when the program is to
	// end. Kubernetes gives 30 seconds.
	endTime = 20 * time.Second
)

func main() {
	// If an answer of Auth0 is followed by more bytes, net/http prints them by the
	// standard library's log.
	log.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, environ())) //nolint:gocritic // stop has nothing left to do
}

// environ are the variables of the process's environment.
func environ() map[string]string {
	environment := map[string]string{}
	for _, each := range os.Environ() {
		name, value, _ := strings.Cut(each, "=")
		environment[name] = value
	}
	return environment
}

// run runs the program until ctx ends, and gives the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, environment map[string]string) int {
	s, err := readSettings(args, environment)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage) //nolint:errcheck // to a terminal
		return exitOK
	case err == nil && s.version:
		fmt.Fprintln(stdout, "auth0-login-proxy", version)
		return exitOK
	case err == nil:
		err = s.serve(ctx, stderr, environment)
	}
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "auth0-login-proxy: %s\nauth0-login-proxy -h lists the flags.\n", err)
		return exitUsage
	case err != nil:
		fmt.Fprintf(stderr, "auth0-login-proxy: %s\n", err)
		return exitFailed
	}
	return exitOK
}

// serve serves until ctx ends.
func (s *settings) serve(ctx context.Context, stderr io.Writer, environment map[string]string) error {
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	if s.logFormat == "json" {
		logger = slog.New(slog.NewJSONHandler(stderr, nil))
	}
	listener, err := open(s.listen, s.mode(), environment)
	if err != nil {
		return err
	}
	defer func(opened net.Listener) { _ = opened.Close() }(listener)
	if s.tlsCert == "" && !onThisMachine(listener) {
		return wrong("%s is reached from other machines: that wants -tls-cert and -tls-key", listener.Addr())
	}
	if s.publicURL == "" {
		if s.publicURL, err = publicURL(listener, s.tlsCert != ""); err != nil {
			return err
		}
	}
	if s.tlsCert != "" {
		if listener, err = withTLS(listener, s.tlsCert, s.tlsKey); err != nil {
			return err
		}
	}
	p, err := s.proxy(logger)
	if err != nil {
		return err
	}
	defer p.Close()
	admin := http.NewServeMux()
	admin.Handle("GET /healthz", p.Health())
	admin.Handle("GET /metrics", p.Metrics())
	servers := []server{{newServer(both(admin, p), logger), listener}}
	if s.admin != "" {
		l, err := open(s.admin, s.mode(), environment)
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		if !onThisMachine(l) {
			return wrong("-admin: %s is reached from other machines", l.Addr())
		}
		servers = []server{{newServer(p, logger), listener}, {newServer(admin, logger), l}}
	}
	logger.Info("auth0-login-proxy serves", "version", version, "listen", listener.Addr().String(), "public_url", s.publicURL,
		"domain", s.domain, "applications", len(s.applications))
	check, enough := context.WithCancel(ctx)
	var checking sync.WaitGroup
	checking.Go(func() { // Vault may take its time
		if err := p.CheckCredentials(check); err != nil && check.Err() == nil {
			logger.Warn("there are no credentials to log in with yet", "cause", err)
		}
	})
	defer checking.Wait()
	defer enough()
	return serveAll(ctx, logger, servers)
}

// proxy makes the proxy of the settings.
func (s *settings) proxy(logger *slog.Logger) (*proxy.Proxy, error) {
	config := proxy.Config{Domain: s.domain, PublicURL: s.publicURL, OnlyLogin: s.onlyLogin, Logger: logger, Version: version}
	if s.caCert != "" {
		pem, err := os.ReadFile(s.caCert) //nolint:gosec // the user says which file
		if err != nil {
			return nil, fmt.Errorf("-ca-cert: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return nil, wrong("-ca-cert: no certificate is in %s", s.caCert)
		}
		config.CACert = string(pem)
	}
	for _, app := range s.applications {
		secret, made, err := localSecret(app.localSecretFile)
		if err != nil {
			return nil, err
		}
		if made {
			logger.Info("a local secret was made: give it to the application as its client secret", "file", app.localSecretFile)
		}
		source := auth0login.File(app.credentials)
		if app.vaultPath != "" {
			if source, err = s.vault(app.vaultPath); err != nil {
				return nil, err
			}
		}
		config.Applications = append(config.Applications, proxy.Application{Source: source, LocalSecret: secret})
	}
	p, err := proxy.New(config)
	if err != nil {
		return nil, wrong("%w", err)
	}
	return p, nil
}

// vault is a path of the Vault that the environment says.
func (s *settings) vault(vaultPath string) (auth0login.Source, error) {
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		return nil, fmt.Errorf("the client of Vault: %w", err)
	}
	read := vaultcreds.New
	if ofAssertions(vaultPath) {
		read = vaultcreds.NewAssertions
	}
	if s.vaultTokenFile == "" {
		return read(client, vaultPath), nil
	}
	client = client.WithRequestCallbacks(func(r *api.Request) {
		if token, err := s.vaultToken(); err == nil { // else Vault says that there is none, and withTokenFile why
			r.ClientToken = token
		}
	})
	return withTokenFile{read(client, vaultPath), s}, nil
}

// ofAssertions says whether a path is MOUNT/assertions/ROLE.
func ofAssertions(vaultPath string) bool {
	return path.Base(path.Dir(path.Clean(vaultPath))) == "assertions"
}

// vaultToken reads the file of Vault's token.
func (s *settings) vaultToken() (string, error) {
	token, err := os.ReadFile(s.vaultTokenFile) //nolint:gosec // the user says which file
	if err != nil {
		return "", fmt.Errorf("-vault-token-file: %w", err)
	}
	return strings.TrimSpace(string(token)), nil
}

// withTokenFile is a source whose errors say that the token cannot be read, if so.
type withTokenFile struct {
	*vaultcreds.Source
	settings *settings
}

// Credentials implements auth0login.Source.
func (w withTokenFile) Credentials(ctx context.Context) (auth0login.Credentials, error) {
	c, err := w.Source.Credentials(ctx)
	return c, w.because(err)
}

// LastError is that of the source.
func (w withTokenFile) LastError() error { return w.because(w.Source.LastError()) }

func (w withTokenFile) because(err error) error {
	if err == nil {
		return nil
	}
	if _, unread := w.settings.vaultToken(); unread != nil {
		return fmt.Errorf("%w: %w", unread, err)
	}
	return err
}

// both has the first handler answer what it knows of.
func both(admin *http.ServeMux, p http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked := r.URL.EscapedPath(); asked == "/healthz" || asked == "/metrics" {
			admin.ServeHTTP(w, r)
			return
		}
		p.ServeHTTP(w, r)
	})
}

// server is a server and where it listens.
type server struct {
	*http.Server
	net.Listener
}

func newServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTime, ReadTimeout: adminTime, WriteTimeout: adminTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn), // bad handshakes, and the like
	}
}

// serveAll serves until ctx ends, or one of the servers does. Then no request is taken,
// and those that are under way have some time.
func serveAll(ctx context.Context, logger *slog.Logger, servers []server) error {
	ended := make(chan error, len(servers))
	for _, each := range servers {
		go func() { ended <- each.Serve(each.Listener) }()
	}
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		logger.Info("auth0-login-proxy ends")
	}
	enough, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	for _, each := range servers {
		if each.Shutdown(enough) != nil {
			_ = each.Server.Close()
		}
	}
	return err
}
