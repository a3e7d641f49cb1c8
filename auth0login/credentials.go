package auth0login

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-auth0/internal/assertion"
)

// assertionLifetime is how long a client assertion is good that is made for an attempt.
const assertionLifetime = time.Minute

// Credentials are what an application logs in with: the data of creds/<role>,
// static-creds/<role> or assertions/<role>. Of ClientSecrets, PrivateKey and
// ClientAssertion exactly one is there.
//
// They are printed, logged and marshalled without the secrets. But fmt cannot call their
// methods in an unexported field of another struct: do not print such a struct.
type Credentials struct {
	Domain   string // of the tenant: a host, or host:port
	ClientID string // of the application

	ClientSecrets []string // one or more, in the order in which they are to be tried

	// PrivateKey is that of an application of private_key_jwt: an RSA key in PEM, of
	// PKCS #8 or PKCS #1. Each attempt is made with a new client assertion of it.
	PrivateKey       string
	KID              string // of the key; "": its thumbprint by RFC 7638, as the engine registers keys
	SigningAlgorithm string // RS256, RS384 or PS256; "": RS256

	// ClientAssertion was signed elsewhere, with the key KID. It is good for one attempt.
	ClientAssertion string
}

// ByAssertion reports whether the application authenticates by client assertions
// (private_key_jwt), and not by a client secret.
func (c Credentials) ByAssertion() bool { return c.PrivateKey != "" || c.ClientAssertion != "" }

// Source knows an application's present credentials. It is asked for each login,
// by several goroutines, and answers from memory where reading takes long.
type Source interface {
	Credentials(ctx context.Context) (Credentials, error)
}

// Refresher is a [Source] that can read ahead of time. A login asks for that when Auth0
// has refused all of the secrets, as it does after a rotation that did not wait for
// leases. So Refresh has to read what was written before it was called.
type Refresher interface {
	Refresh(ctx context.Context) error
}

// SourceFunc makes a [Source] of a function.
type SourceFunc func(ctx context.Context) (Credentials, error)

// Credentials calls f.
func (f SourceFunc) Credentials(ctx context.Context) (Credentials, error) { return f(ctx) }

// answer is what creds/<role> answers, as far as it matters here. Templates that
// render single fields may leave out client_secrets.
type answer struct {
	Domain               string   `json:"domain"`
	ClientID             string   `json:"client_id"`
	ClientSecret         string   `json:"client_secret"`
	FallbackClientSecret string   `json:"fallback_client_secret"`
	ClientSecrets        []string `json:"client_secrets"`
	PrivateKey           string   `json:"private_key"`
	KID                  string   `json:"kid"`
	SigningAlgorithm     string   `json:"signing_algorithm"`
	ClientAssertion      string   `json:"client_assertion"`
}

// ParseCredentials reads the JSON of the data of creds/<role>:
//
//	{"domain": "...", "client_id": "...", "client_secrets": ["...", "..."]}
//
// or, without client_secrets, with client_secret and fallback_client_secret. Of a role of
// keys, in place of these:
//
//	{..., "private_key": "-----BEGIN PRIVATE KEY-----\n...", "kid": "...", "signing_algorithm": "RS256"}
//
// or, of assertions/<role>, {..., "client_assertion": "eyJ...", "kid": "..."}. Other
// fields are ignored. Errors never show the text.
func ParseCredentials(text []byte) (Credentials, error) {
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return Credentials{}, errors.New("not JSON of the data of creds/<role>") // the cause may quote a secret
	}
	c := Credentials{
		Domain: a.Domain, ClientID: a.ClientID,
		PrivateKey: a.PrivateKey, KID: a.KID, SigningAlgorithm: a.SigningAlgorithm, ClientAssertion: a.ClientAssertion,
	}
	for _, secret := range append(a.ClientSecrets, a.ClientSecret, a.FallbackClientSecret) {
		if secret != "" && !c.has(secret) {
			c.ClientSecrets = append(c.ClientSecrets, secret)
		}
	}
	return c.checked()
}

// checked are the credentials if an attempt can be made with them, with the KID of the key.
func (c Credentials) checked() (Credentials, error) {
	err := c.validate()
	if err != nil || c.PrivateKey == "" {
		return c, err
	}
	signer, err := c.signer()
	if err == nil {
		c.KID = signer.KID()
	}
	return c, err
}

// validate looks at everything but the private key, which signer does.
func (c Credentials) validate() error {
	kinds := 0
	for _, is := range []bool{len(c.ClientSecrets) > 0, c.PrivateKey != "", c.ClientAssertion != ""} {
		if is {
			kinds++
		}
	}
	switch {
	case c.Domain == "":
		return errors.New("the credentials have no domain")
	case c.ClientID == "":
		return errors.New("the credentials have no client_id")
	case kinds == 0:
		return errors.New("the credentials have no client secret, private key or client assertion")
	case kinds > 1:
		return errors.New("the credentials have more than one of client secrets, a private key and a client assertion")
	}
	return nil
}

// signer signs with the private key. Errors show nothing of it.
func (c Credentials) signer() (*assertion.Signer, error) {
	algorithm := cmp.Or(c.SigningAlgorithm, assertion.Algorithms[0])
	if c.KID == "" {
		return assertion.NewOwnSigner(c.PrivateKey, algorithm)
	}
	return assertion.NewSigner(c.PrivateKey, algorithm, c.KID)
}

// assertion is the one for the next attempt.
func (c Credentials) assertion() (string, error) {
	if c.ClientAssertion != "" {
		return c.ClientAssertion, nil
	}
	signer, err := c.signer()
	if err != nil {
		return "", err
	}
	return signer.Sign(c.ClientID, "https://"+strings.ToLower(c.Domain)+"/", time.Now(), assertionLifetime)
}

func (c Credentials) has(secret string) bool { return slices.Contains(c.ClientSecrets, secret) }

// addsTo says whether there is a secret or a key that the earlier credentials have not.
func (c Credentials) addsTo(earlier Credentials) bool {
	return c.PrivateKey != earlier.PrivateKey || c.KID != earlier.KID ||
		slices.ContainsFunc(c.ClientSecrets, func(s string) bool { return !earlier.has(s) })
}
