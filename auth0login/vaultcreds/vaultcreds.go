// Package vaultcreds lets an application read its credentials for Auth0 from Vault
// itself, without a Vault Agent beside it:
//
//	client, err := api.NewClient(api.DefaultConfig())
//	// ... log in at Vault, and renew the token: see api.LifetimeWatcher
//	app := auth0login.New(vaultcreds.New(client, "auth0/creds/shop"), auth0login.Domain("example.eu.auth0.com"))
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
type Source struct {
	// Patience is how long a login waits for Vault while it has credentials. Set it
	// before the source is used, to more than a second. New sets it to 5 seconds.
	Patience time.Duration

	client *api.Client
	path   string
	kept   *lease.Keeper[auth0login.Credentials] // behind a pointer, which fmt does not follow where it cannot call Format
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
// longer than Patience.
func (s *Source) Refresh(ctx context.Context) error {
	ctx, enough := context.WithTimeout(ctx, s.Patience)
	defer enough()
	return s.kept.Refresh(ctx)
}

// LastError is why the last read of Vault has failed, for instance because the token has
// expired; nil if it has not. Logins go on with the credentials that there are
// meanwhile.
func (s *Source) LastError() error { return s.kept.LastError() }

func (s *Source) ask(ctx context.Context, asked time.Time) (*lease.Held[auth0login.Credentials], error) {
	secret, err := s.client.Logical().ReadWithContext(ctx, s.path)
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return nil, errors.New("there is nothing at this path")
	}
	text, err := json.Marshal(secret.Data)
	if err != nil {
		return nil, err
	}
	c, err := auth0login.ParseCredentials(text)
	if err != nil {
		return nil, err
	}
	return newLease(c, secret, asked)
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
