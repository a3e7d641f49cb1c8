package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const usage = `Usage: auth0-login-proxy -domain=... -credentials=... -local-secret-file=... [flags]

Lets an application that knows only one client secret log in at Auth0 while Vault
rotates the real one. The application is given this proxy's address in place of
Auth0's token endpoint, and a local secret that never changes in place of its client
secret. The proxy puts the present secret in its place, and falls back to another
one when Auth0 refuses it.

Which tenant and application:

  -domain=             host of the tenant, or host:port
  -credentials=        file with the data of auth0/creds/ROLE, as Vault Agent renders
                       it: {{ with secret "auth0/creds/shop" }}{{ .Data | toJSON }}{{ end }}
  -vault-path=         or where to read it in Vault, such as auth0/creds/shop; with
                       auth0/assertions/shop, Vault signs each login. Vault is found
                       and logged in at by VAULT_ADDR, VAULT_TOKEN, VAULT_CACERT and
                       so on, as the vault command does
  -vault-token-file=   file with Vault's token, read anew for each request: what
                       Vault Agent's sink writes (default VAULT_TOKEN, not renewed)
  -local-secret-file=  file with what the application has as its client secret: at
                       least 32 letters, digits and -._~. If there is none, it is
                       made, with a random secret, for this user alone
  -application=        a further application, with its own client ID and secret:
                       credentials=FILE,local-secret-file=FILE or
                       vault-path=PATH,local-secret-file=FILE; for several more than
                       once, in the environment separated by spaces

Where it listens:

  -listen=             host:port (default 127.0.0.1:8404), unix:/path, or systemd: the
                       socket that systemd passes. Without TLS on loopback or a unix
                       socket only
  -socket-mode=        of a unix socket: 0600 (default) or 0660
  -tls-cert=           PEM file of the certificate, and those above it
  -tls-key=            PEM file of its key. Both are read anew when they change
  -public-url=         how applications reach the proxy, for the discovery document
                       (default from -listen, where that says it)
  -admin=              host:port on loopback, or unix:/path, for /healthz and /metrics
                       alone (default: they are at -listen)

What it does:

  -only-login          refuse all but logins, discovery, /healthz and /metrics
  -ca-cert=            PEM file of the CAs to trust for Auth0 (default the system's)
  -log-format=         text (default) or json
  -version             print the version and exit

Each flag may be given by the environment, too: -only-login as
AUTH0_LOGIN_PROXY_ONLY_LOGIN=true. The flag comes first; another variable of that
prefix is refused. Secrets are never flags.

It looks at the files of credentials and of TLS each time it needs them; SIGTERM and
SIGINT end it, after the logins that are under way.

Exit codes: 0 it was ended, 1 it could not start or go on, 2 wrong usage.
`

// settings are what the flags and the environment say.
type settings struct {
	domain, listen, socketMode, tlsCert, tlsKey, publicURL, admin string
	caCert, logFormat, vaultTokenFile                             string
	onlyLogin, version                                            bool
	applications                                                  []application
}

// application says where its credentials and its local secret are.
type application struct{ credentials, vaultPath, localSecretFile string }

// errUsage is in the chain of errors about how the program is called.
var errUsage = errors.New("wrong usage")

func wrong(format string, values ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errUsage}, values...)...)
}

// newFlags are the flags, which write to the settings.
func newFlags(s *settings, first *application) *flag.FlagSet {
	f := flag.NewFlagSet("auth0-login-proxy", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	for name, to := range map[string]*string{
		"domain": &s.domain, "listen": &s.listen, "socket-mode": &s.socketMode, "tls-cert": &s.tlsCert, "tls-key": &s.tlsKey,
		"public-url": &s.publicURL, "admin": &s.admin, "ca-cert": &s.caCert, "log-format": &s.logFormat,
		"vault-token-file": &s.vaultTokenFile, "credentials": &first.credentials, "vault-path": &first.vaultPath,
		"local-secret-file": &first.localSecretFile,
	} {
		f.StringVar(to, name, *to, "")
	}
	f.BoolVar(&s.onlyLogin, "only-login", false, "")
	f.BoolVar(&s.version, "version", false, "")
	f.Func("application", "", func(text string) error {
		app, err := parseApplication(text)
		s.applications = append(s.applications, app)
		return err
	})
	return f
}

// variablePrefix is what the names of the program's variables begin with.
const variablePrefix = "AUTH0_LOGIN_PROXY_"

// ofKubernetes are the variables that Kubernetes sets in each pod for a service, which may
// be named auth0-login-proxy.
var ofKubernetes = regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_|$)|_PORT(_\d+_|$)`)

// readSettings takes the settings from the command line, else from the environment.
func readSettings(args []string, environment map[string]string) (*settings, error) {
	s := &settings{listen: "127.0.0.1:8404", socketMode: "0600", logFormat: "text"}
	var first application
	f := newFlags(s, &first)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, wrong("%w", err)
	}
	if f.NArg() > 0 {
		return nil, wrong("unexpected argument %q", f.Arg(0))
	}
	given := map[string]bool{}
	f.Visit(func(each *flag.Flag) { given[each.Name] = true })
	var err error
	var known []string
	f.VisitAll(func(each *flag.Flag) {
		name := variablePrefix + strings.ToUpper(strings.ReplaceAll(each.Name, "-", "_"))
		known = append(known, name)
		value := environment[name]
		if value == "" || given[each.Name] || err != nil {
			return
		}
		values := []string{value}
		if each.Name == "application" {
			values = strings.Fields(value)
		}
		for _, value := range values {
			if set := each.Value.Set(value); set != nil {
				err = wrong("%s: %w", name, set)
			}
		}
		if _, isBool := each.Value.(interface{ IsBoolFlag() bool }); isBool && err != nil {
			err = wrong("%s is neither true nor false", name)
		}
	})
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		if strings.HasPrefix(name, variablePrefix) && !slices.Contains(known, name) && !ofKubernetes.MatchString(name) && err == nil {
			err = wrong("%s is not known. Known are %s", name, strings.Join(known, ", "))
		}
	}
	if err != nil || s.version {
		return s, err
	}
	if first != (application{}) {
		s.applications = slices.Insert(s.applications, 0, first)
	}
	return s, s.check()
}

func parseApplication(text string) (app application, err error) {
	for field := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "credentials":
			app.credentials = value
		case "vault-path":
			app.vaultPath = value
		case "local-secret-file":
			app.localSecretFile = value
		default:
			return app, fmt.Errorf("%q is none of credentials=, vault-path=, local-secret-file=", name)
		}
	}
	return app, nil
}

func (s *settings) check() error {
	switch {
	case s.domain == "":
		return wrong("-domain is missing: the host of the Auth0 tenant")
	case len(s.applications) == 0:
		return wrong("-credentials (or -vault-path) and -local-secret-file are missing")
	case (s.tlsCert == "") != (s.tlsKey == ""):
		return wrong("-tls-cert and -tls-key belong together")
	case s.logFormat != "text" && s.logFormat != "json":
		return wrong("-log-format is text or json")
	case s.socketMode != "0600" && s.socketMode != "0660":
		return wrong("-socket-mode is 0600 or 0660")
	}
	for _, app := range s.applications {
		switch {
		case (app.credentials == "") == (app.vaultPath == ""):
			return wrong("each application has either credentials or vault-path, and not both")
		case app.localSecretFile == "":
			return wrong("each application has a local-secret-file, which is made if there is none")
		}
	}
	if s.admin != "" && !isLocal(s.admin) {
		return wrong("-admin %q is neither on loopback, such as 127.0.0.1:8405, nor unix:/path", s.admin)
	}
	if s.listen != "systemd" && s.tlsCert == "" && !isLocal(s.listen) {
		return wrong("-listen %q is neither on loopback, such as 127.0.0.1:8404, nor unix:/path: that wants -tls-cert and -tls-key, "+
			"or others on the network see the local secret", s.listen)
	}
	return nil
}

// isLocal says whether only this machine reaches an address.
func isLocal(listen string) bool {
	if strings.HasPrefix(listen, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func (s *settings) mode() os.FileMode {
	mode, _ := strconv.ParseUint(s.socketMode, 8, 32) // checked
	return os.FileMode(mode)
}
