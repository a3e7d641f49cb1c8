package auth0

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/go-uuid"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const (
	// assertionLifetime is that of a client assertion; Auth0 allows 5 minutes.
	// It covers a request that takes its whole time-out.
	assertionLifetime = 2 * time.Minute
	assertionType     = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

	minKeyBits = 2048
)

// SigningAlgorithms are those that Auth0 knows for private_key_jwt.
var SigningAlgorithms = []string{string(jose.RS256), string(jose.RS384), string(jose.PS256)}

// login is one way to log in: with a client secret, or by private_key_jwt with
// a key.
type login struct {
	secret string // the client secret, or the key as it was given: to keep it out of messages
	oauth  clientcredentials.Config
	signer jose.Signer // nil: client_secret_post
	issuer string      // the audience of assertions
}

func newLogin(cfg Config, base, secret string) (*login, error) {
	l := &login{secret: secret, issuer: base + "/", oauth: clientcredentials.Config{
		ClientID:       cfg.ClientID,
		TokenURL:       base + endpointToken.Path,
		EndpointParams: url.Values{"audience": {cfg.Audience}},
		AuthStyle:      oauth2.AuthStyleInParams,
	}}
	if cfg.SigningAlgorithm == "" {
		l.oauth.ClientSecret = secret
		return l, nil
	}
	if !slices.Contains(SigningAlgorithms, cfg.SigningAlgorithm) {
		return nil, errors.New("auth0: the signing algorithm must be one of " + strings.Join(SigningAlgorithms, ", "))
	}
	key, err := ParsePrivateKey(secret)
	if err != nil {
		return nil, err
	}
	// Without a kid Auth0 tries each of the application's keys. The kid of a key
	// that was registered by hand is Auth0's own, and is not known here.
	l.signer, err = jose.NewSigner(
		jose.SigningKey{Algorithm: jose.SignatureAlgorithm(cfg.SigningAlgorithm), Key: key},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, errors.New("auth0: the private key cannot sign")
	}
	return l, nil
}

// ParsePrivateKey reads an RSA key of at least 2048 bits, in PEM of PKCS #8 or
// PKCS #1. The error quotes nothing of it.
func ParsePrivateKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("auth0: the private key is not in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	rsaKey, isRSA := key.(*rsa.PrivateKey)
	switch {
	case err != nil:
		return nil, errors.New(`auth0: the private key is neither a "PRIVATE KEY" (PKCS #8) nor an "RSA PRIVATE KEY" (PKCS #1), unencrypted`)
	case !isRSA:
		return nil, errors.New("auth0: the private key is not an RSA key")
	case rsaKey.N.BitLen() < minKeyBits:
		return nil, errors.New("auth0: the private key is too short: Auth0 wants at least 2048 bits")
	}
	return rsaKey, nil
}

// Accepts says whether Auth0 accepts a client secret as an application's, by a login
// with it. False is Auth0's own refusal of the secret. All else is an *Error, also
// that the application may not have a token for the Management API.
func (c *Client) Accepts(ctx context.Context, clientID, secret string) (bool, error) {
	turn, err := c.limits.token.admit(ctx)
	if err != nil {
		return false, err
	}
	defer turn.done()
	// The application's own method may not be known.
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInParams, oauth2.AuthStyleInHeader} {
		attempt := clientcredentials.Config{
			ClientID: clientID, ClientSecret: secret, AuthStyle: style,
			TokenURL: c.base + endpointToken.Path, EndpointParams: url.Values{"audience": {c.audience}},
		}
		_, err = attempt.Token(context.WithValue(ctx, oauth2.HTTPClient, c.retrying))
		if err == nil {
			return true, nil
		}
		if err := c.tokenError(ctx, turn, quotaOf(attempt), err); !SecretRefused(err) {
			return false, err
		}
	}
	return false, nil
}

// token asks for a token, again after a failure that may pass. An assertion is good
// for one request only.
func (l *login) token(ctx context.Context, c *Client, scopes []string) (*oauth2.Token, error) {
	oauth := l.oauth
	oauth.Scopes = scopes
	if l.signer == nil {
		return oauth.Token(context.WithValue(ctx, oauth2.HTTPClient, c.retrying))
	}
	for attempt := 0; ; attempt++ {
		assertion, err := l.assertion()
		if err != nil {
			return nil, err
		}
		oauth.EndpointParams = url.Values{
			"audience":              l.oauth.EndpointParams["audience"],
			"client_assertion_type": {assertionType},
			"client_assertion":      {assertion},
		}
		t, err := oauth.Token(context.WithValue(ctx, oauth2.HTTPClient, c.once))
		if err == nil || attempt == retryMax || !mayPass(ctx, err) {
			return t, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(retryWaitMin):
		}
	}
}

// mayPass says whether a token request that failed is worth another attempt.
func mayPass(ctx context.Context, err error) bool {
	if said, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return said.Response.StatusCode >= http.StatusInternalServerError
	}
	again, _ := checkRetry(ctx, nil, err)
	return again
}

// assertion is the JWT that proves that the key is at hand.
func (l *login) assertion() (string, error) {
	id, err := uuid.GenerateUUID()
	if err != nil {
		return "", err
	}
	now := time.Now()
	return jwt.Signed(l.signer).Claims(struct {
		Issuer   string           `json:"iss"`
		Subject  string           `json:"sub"`
		Audience string           `json:"aud"`
		ID       string           `json:"jti"`
		IssuedAt *jwt.NumericDate `json:"iat"`
		Expiry   *jwt.NumericDate `json:"exp"`
	}{
		l.oauth.ClientID, l.oauth.ClientID, l.issuer, id,
		jwt.NewNumericDate(now), jwt.NewNumericDate(now.Add(assertionLifetime)),
	}).Serialize()
}
