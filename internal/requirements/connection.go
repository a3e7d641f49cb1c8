package requirements

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-auth0/internal/assertion"
)

// Bounds of how long one request to Auth0 may take.
const (
	MinRequestTimeout = time.Second
	MaxRequestTimeout = time.Minute
)

// Connection is what a configuration says of how to reach a tenant, and as whom.
type Connection struct {
	Domain   string
	ClientID string
	// Secret is a client secret or, with a SigningAlgorithm, a private key in PEM.
	Secret           string `json:"-"`
	SigningAlgorithm string
	CACert           string
	RequestTimeout   time.Duration
}

// Check refuses what cannot work, before a request is sent. The error quotes no secret.
func (c Connection) Check() error {
	switch {
	case c.Domain == "":
		return errors.New("domain is missing: the host of the tenant, such as example.eu.auth0.com")
	case c.ClientID == "":
		return errors.New("client_id is missing: that of a machine-to-machine application that may use the Management API")
	case c.Secret == "":
		return fmt.Errorf("client_secret or private_key is missing: that of the application %q", c.ClientID)
	case c.RequestTimeout < MinRequestTimeout || c.RequestTimeout > MaxRequestTimeout:
		return fmt.Errorf("request_timeout must be between %s and %s", MinRequestTimeout, MaxRequestTimeout)
	case looksLikePath(c.CACert):
		return fmt.Errorf("ca_cert is to be PEM, but that is a path: write ca_cert=@%s", c.CACert)
	case c.CACert != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.CACert)):
		return errors.New("ca_cert holds no PEM certificate")
	}
	if c.SigningAlgorithm != "" {
		if _, err := assertion.ParsePrivateKey(c.Secret); err != nil {
			return fmt.Errorf("private_key cannot be used: %w", err)
		}
	}
	if err := CheckClientID(c.ClientID); err != nil {
		return err
	}
	return checkDomain(c.Domain)
}

// looksLikePath says whether a text is a file's path rather than a certificate.
func looksLikePath(text string) bool {
	if len(text) > 250 || strings.ContainsAny(text, "\r\n") || strings.HasPrefix(text, "-") {
		return false
	}
	return strings.ContainsAny(text, `/\`) || slices.Contains([]string{".pem", ".crt", ".cer"}, filepath.Ext(text))
}

// clientIDPattern is what may be part of a storage key and of a URL. Auth0's
// are 32 alphanumerics.
var clientIDPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// CheckClientID refuses what cannot be a client ID.
func CheckClientID(clientID string) error {
	if clientIDPattern.MatchString(clientID) {
		return nil
	}
	return fmt.Errorf("client_id %q is not a client ID: those are letters, digits, - and _", clientID)
}

// checkDomain refuses what is not host or host:port.
func checkDomain(domain string) error {
	u, err := url.Parse("https://" + domain)
	plain := err == nil && u.Host == domain && u.Hostname() != "" && u.User == nil && !strings.HasSuffix(domain, ":")
	if !plain || strings.ContainsAny(domain, " \t%_\\") {
		return fmt.Errorf("domain %q is not a host: give it as example.eu.auth0.com or host:port, without scheme and path", domain)
	}
	return nil
}

// CheckAlgorithm refuses a signing_algorithm that Auth0 does not know.
func CheckAlgorithm(algorithm string) error {
	if slices.Contains(assertion.Algorithms, algorithm) {
		return nil
	}
	return fmt.Errorf("signing_algorithm %q is not known to Auth0: it is one of %s", algorithm, strings.Join(assertion.Algorithms, ", "))
}

// Audience is the Management API's of a domain, unless another one is given.
func Audience(domain, given string) string {
	if given != "" {
		return given
	}
	return "https://" + domain + "/api/v2/"
}
