// Package vaultcreds lets an application read its credentials for Auth0 from Vault
// itself, without a Vault Agent beside it:
//
//	client, err := api.NewClient(api.DefaultConfig())
//	// ... log in at Vault, and renew the token: see api.LifetimeWatcher
//	app := auth0login.New(vaultcreds.New(client, "auth0/creds/shop"), auth0login.Domain("example.eu.auth0.com"))
//
// An application of private_key_jwt whose role is exportable reads its key in the same way. Where
// the key is to stay in Vault, it reads assertions/:
//
//	source := vaultcreds.NewAssertions(client, "auth0/assertions/shop")
//
// Each of these is good for one attempt. So every login reads Vault, and none succeeds
// while Vault does not answer. An application that cannot have that reads creds/ of an
// exportable role, or tokens/ (package vaulttokens).
//
// The client follows one redirect, with its token, as standby nodes of Vault need it. It
// refuses one from HTTPS to HTTP. [api.Config.DisableRedirects] switches that off.
package vaultcreds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/hashicorp/vault/api"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/auth0login/internal/lease"
)

// patience is how long a login waits for Vault while it has credentials.
const patience = 5 * time.Second

// Source reads creds/<role> or static-creds/<role>. It reads when credentials are
// asked for and most of their lease (of static-creds: all of their ttl) is over:
// nothing runs while nobody logs in. While Vault does not answer, the source goes on
// with the last credentials.
//
// One of [NewAssertions] reads assertions/<role> whenever credentials are asked for, and
// keeps nothing.
type Source struct {
	// Patience is how long a login waits for Vault while it has credentials, and always
	// for an assertion. Set it before the source is used, to more than a second. New sets
	// it to 5 seconds.
	Patience time.Duration

	client *api.Client
	path   string
	kept   *lease.Keeper[auth0login.Credentials] // behind a pointer, which fmt does not follow where it cannot call Format; nil: of assertions
}

var (
	_ auth0login.Source    = (*Source)(nil)
	_ auth0login.Refresher = (*Source)(nil)
)

// New is a source that reads the path, such as auth0/creds/shop. The caller keeps the
// client's token alive: see LastError.
func New(client *api.Client, path string) *Source {
	s := &Source{client: client, path: path, Patience: patience}
	s.kept = lease.NewKeeper(path, s.ask)
	return s
}

// NewAssertions is a source that reads the path, such as auth0/assertions/shop, for each
// attempt: an assertion is good once. The key never leaves Vault, so that no rotation
// refuses anything, forced ones included. But a login fails if Vault does not answer within
// Patience.
func NewAssertions(client *api.Client, path string) *Source {
	return &Source{client: client, path: path, Patience: patience}
}

// String is the path; a source is printed, logged and marshalled without the secrets
// and Vault's token.
func (s Source) String() string { return s.path + " in Vault" }

// Format is String, for each verb.
func (s Source) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, s.String()) }

// MarshalJSON is String.
func (s Source) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// LogValue is String, for package slog.
func (s Source) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Credentials gives the credentials of the present lease, or reads. No login waits for
// that before the lease's end.
func (s *Source) Credentials(ctx context.Context) (auth0login.Credentials, error) {
	if err := ctx.Err(); err != nil {
		return auth0login.Credentials{}, err
	}
	if s.kept == nil {
		return s.assertion(ctx)
	}
	held, r := s.kept.Present(ctx)
	if r == nil || held != nil && !lease.Past(held.End) {
		return held.Value, nil
	}
	if held != nil {
		var enough context.CancelFunc
		ctx, enough = context.WithTimeout(ctx, s.Patience-time.Since(r.Began))
		defer enough()
	}
	err := s.kept.Await(ctx, r)
	if held = s.kept.Held(); held != nil {
		return held.Value, nil
	}
	return auth0login.Credentials{}, err
}

// Refresh reads ahead of time. The read begins after the call, so it sees the rotation
// for which Auth0 has refused the secrets; and at least a second after the last one
// ended, so that Vault is not asked for each login. All who wait share it. It waits no
// longer than Patience. With assertions there is nothing to do: each is read when it is asked for.
func (s *Source) Refresh(ctx context.Context) error {
	if s.kept == nil {
		return nil
	}
	ctx, enough := context.WithTimeout(ctx, s.Patience)
	defer enough()
	return s.kept.Refresh(ctx)
}

// LastError is why the last read of Vault has failed, for instance because the token has
// expired; nil if it has not. Logins go on with the credentials that there are
// meanwhile. With assertions it is nil: they fail with that error themselves.
func (s *Source) LastError() error {
	if s.kept == nil {
		return nil
	}
	return s.kept.LastError()
}

// assertion reads one.
func (s *Source) assertion(ctx context.Context) (auth0login.Credentials, error) {
	ctx, enough := context.WithTimeout(ctx, s.Patience)
	defer enough()
	c, _, err := s.read(ctx)
	if err == nil && c.ClientAssertion == "" {
		err = errors.New("the answer is no client assertion: New is for creds/ and static-creds/")
	}
	if err != nil {
		return auth0login.Credentials{}, fmt.Errorf("read %s: %w", s.path, err)
	}
	return c, nil
}

func (s *Source) ask(ctx context.Context, asked time.Time) (*lease.Held[auth0login.Credentials], error) {
	c, secret, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	if c.ClientAssertion != "" {
		return nil, errors.New("the answer is a client assertion, which is good once: NewAssertions is for these")
	}
	return newLease(c, secret, asked)
}

func (s *Source) read(ctx context.Context) (c auth0login.Credentials, secret *api.Secret, err error) {
	secret, err = s.client.Logical().ReadWithContext(ctx, s.path)
	if err != nil {
		return c, nil, err
	}
	if secret == nil {
		return c, nil, errors.New("there is nothing at this path")
	}
	text, err := json.Marshal(secret.Data)
	if err != nil {
		return c, nil, err
	}
	c, err = auth0login.ParseCredentials(text)
	return c, secret, err
}

// newLease says how long an answer is good. One without a lease is good for its ttl,
// at the end of which it may change: it is not read before.
func newLease(c auth0login.Credentials, secret *api.Secret, asked time.Time) (*lease.Held[auth0login.Credentials], error) {
	if secret.LeaseID != "" {
		length := time.Duration(secret.LeaseDuration) * time.Second
		again := asked.Add(time.Duration(lease.Part() * float64(length)))
		return &lease.Held[auth0login.Credentials]{Value: c, ReadAgain: again, End: asked.Add(length)}, nil
	}
	ttl, ok := secret.Data["ttl"].(json.Number)
	if !ok {
		return nil, errors.New("the answer has neither a lease nor a ttl")
	}
	seconds, err := ttl.Int64()
	if err != nil {
		return nil, errors.New("the answer's ttl is not a number of seconds")
	}
	end := asked.Add(time.Duration(seconds) * time.Second)
	return &lease.Held[auth0login.Credentials]{Value: c, ReadAgain: end, End: end}, nil
}
