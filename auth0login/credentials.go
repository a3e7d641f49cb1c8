package auth0login

import (
	"context"
	"encoding/json"
	"errors"
)

// Credentials are what an application logs in with: the data of creds/<role> or
// static-creds/<role>.
//
// They are printed, logged and marshalled without the secrets. But fmt cannot call their
// methods in an unexported field of another struct: do not print such a struct.
type Credentials struct {
	Domain        string   // of the tenant: a host, or host:port
	ClientID      string   // of the application
	ClientSecrets []string // one or more, in the order in which they are to be tried
}

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
}

// ParseCredentials reads the JSON of the data of creds/<role>:
//
//	{"domain": "...", "client_id": "...", "client_secrets": ["...", "..."]}
//
// or, without client_secrets, with client_secret and fallback_client_secret. Other
// fields are ignored. Errors never show the text.
func ParseCredentials(text []byte) (Credentials, error) {
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return Credentials{}, errors.New("not JSON of the data of creds/<role>") // the cause may quote a secret
	}
	c := Credentials{Domain: a.Domain, ClientID: a.ClientID}
	for _, secret := range append(a.ClientSecrets, a.ClientSecret, a.FallbackClientSecret) {
		if secret != "" && !c.has(secret) {
			c.ClientSecrets = append(c.ClientSecrets, secret)
		}
	}
	return c, c.validate()
}

func (c Credentials) validate() error {
	switch {
	case c.Domain == "":
		return errors.New("the credentials have no domain")
	case c.ClientID == "":
		return errors.New("the credentials have no client_id")
	case len(c.ClientSecrets) == 0:
		return errors.New("the credentials have no client secret")
	}
	return nil
}
