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
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"vault-plugin-secrets-auth0/auth0login"
)

const (
	// earliest and latest are the parts of a lease after which it is read again, as
	// Vault Agent does with leases that cannot be renewed.
	earliest, latest = 0.85, 0.95

	// patience is how long a login waits for Vault while it has credentials.
	patience = 5 * time.Second
	// readTimeout is how long one read may take, with the client's own retries.
	readTimeout = 30 * time.Second
	// pause is the least time between two reads, if Vault fails or Auth0 refuses all
	// secrets for long.
	pause = time.Second
)

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
	*state // behind a pointer, which fmt does not follow where it cannot call Format
}

type state struct {
	mu     sync.Mutex
	held   *lease
	last   *reading  // under way, or the last one
	ended  time.Time // when the last one ended
	failed error     // what came of that
}

var (
	_ auth0login.Source    = (*Source)(nil)
	_ auth0login.Refresher = (*Source)(nil)
)

// lease is credentials and until when they are good.
type lease struct {
	credentials auth0login.Credentials
	readAgain   time.Time
	end         time.Time
}

// reading is one read. All who need it share it, and it goes on when one of them leaves.
type reading struct {
	began time.Time
	done  chan struct{} // closed when it has ended
	err   error         // to be read after that
}

func (r *reading) underWay() bool {
	if r == nil {
		return false
	}
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

// New is a source that reads the path, such as auth0/creds/shop. The caller keeps the
// client's token alive: see LastError.
func New(client *api.Client, path string) *Source {
	return &Source{client: client, path: path, Patience: patience, state: &state{}}
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
	held, r := s.present(ctx)
	if r == nil || held != nil && time.Now().Before(held.end) {
		return held.credentials, nil
	}
	if held != nil {
		var enough context.CancelFunc
		ctx, enough = context.WithTimeout(ctx, s.Patience-time.Since(r.began))
		defer enough()
	}
	err := s.await(ctx, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		return s.held.credentials, nil
	}
	return auth0login.Credentials{}, err
}

// present gives what is held, and the read that is under way if it is to be read
// again. Without anything held there is always a read.
func (s *Source) present(ctx context.Context) (*lease, *reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.held == nil, s.last.underWay():
		return s.held, s.read(ctx)
	case now.Before(s.held.readAgain), s.failed != nil && now.Sub(s.ended) < pause:
		return s.held, nil
	}
	return s.held, s.read(ctx)
}

// Refresh reads ahead of time. The read begins after the call, so it sees the rotation
// for which Auth0 has refused the secrets; and at least a second after the last one
// ended, so that Vault is not asked for each login. All who wait share it. It waits no
// longer than Patience.
func (s *Source) Refresh(ctx context.Context) error {
	ctx, enough := context.WithTimeout(ctx, s.Patience)
	defer enough()
	s.mu.Lock()
	before := s.last
	s.mu.Unlock()
	for {
		s.mu.Lock()
		r, calm := s.last, time.Until(s.ended.Add(pause))
		if r == before && !r.underWay() {
			r = nil
			if calm <= 0 {
				r = s.read(ctx)
			}
		}
		s.mu.Unlock()
		if r != nil {
			if err := s.await(ctx, r); r != before || ctx.Err() != nil {
				return err
			}
			continue // it began before the call
		}
		select {
		case <-ctx.Done():
			return s.unread(ctx.Err())
		case <-time.After(calm):
		}
	}
}

// LastError is why the last read of Vault has failed, for instance because the token has
// expired; nil if it has not. Logins go on with the credentials that there are
// meanwhile.
func (s *Source) LastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// await waits for a read, as long as the context lets it.
func (s *Source) await(ctx context.Context, r *reading) error {
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return s.unread(ctx.Err())
	}
}

func (s *Source) unread(why error) error { return fmt.Errorf("read %s: %w", s.path, why) }

// read starts to read, unless it is under way. s.mu must be held. The lease counts
// from before the request, so that it is never taken to be longer than it is.
func (s *Source) read(ctx context.Context) *reading {
	if s.last.underWay() {
		return s.last
	}
	r := &reading{began: time.Now(), done: make(chan struct{})}
	s.last = r
	ctx, enough := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	go func() {
		defer enough()
		fresh, err := s.ask(ctx, r.began)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			r.err = s.unread(err)
		} else {
			s.held = fresh
		}
		s.ended, s.failed = time.Now(), r.err
		close(r.done)
	}()
	return r
}

func (s *Source) ask(ctx context.Context, asked time.Time) (*lease, error) {
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
func newLease(c auth0login.Credentials, secret *api.Secret, asked time.Time) (*lease, error) {
	if secret.LeaseID != "" {
		length := time.Duration(secret.LeaseDuration) * time.Second
		part := earliest + rand.Float64()*(latest-earliest) //nolint:gosec // spreads the load, guards nothing
		return &lease{credentials: c, readAgain: asked.Add(time.Duration(part * float64(length))), end: asked.Add(length)}, nil
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
	return &lease{credentials: c, readAgain: end, end: end}, nil
}
