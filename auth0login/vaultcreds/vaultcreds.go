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
	// pause is the time between two reads after one that has failed, and between two
	// ahead of time: all secrets may be refused for long.
	pause = time.Second
)

// Source reads creds/<role> or static-creds/<role>. It reads when credentials are
// asked for and most of their lease (of static-creds: all of their ttl) is over:
// nothing runs while nobody logs in. While Vault does not answer, the last
// credentials go on to be used.
type Source struct {
	// Patience is how long a login waits for Vault while it has credentials; to be
	// set before the source is used. New sets it to 5 seconds.
	Patience time.Duration

	client *api.Client
	path   string
	now    func() time.Time
	*state // behind a pointer, which fmt does not follow where it cannot call Format
}

type state struct {
	mu      sync.Mutex
	held    *lease
	last    *reading  // under way, or the last one
	ended   time.Time // when the last one ended
	failed  error     // what came of that
	refresh time.Time // when the last one ended that was ahead of time
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

// reading is one read. It is not of the one who has asked for it first: whoever
// needs it waits for it, and his leaving ends it for nobody.
type reading struct {
	number int
	began  time.Time
	done   chan struct{} // closed when it has ended
	err    error         // to be read after that
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

// New is a source that reads the path, such as auth0/creds/shop. The client's token
// has to be kept alive by the caller: see LastError.
func New(client *api.Client, path string) *Source {
	return &Source{client: client, path: path, now: time.Now, Patience: patience, state: &state{}}
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

// Credentials gives the credentials of the present lease, or reads. Before the
// lease's end nobody waits for that.
func (s *Source) Credentials(ctx context.Context) (auth0login.Credentials, error) {
	if err := ctx.Err(); err != nil {
		return auth0login.Credentials{}, err
	}
	held, r := s.present(ctx)
	if r == nil || held != nil && s.now().Before(held.end) {
		return held.credentials, nil
	}
	if held != nil {
		var enough context.CancelFunc
		ctx, enough = context.WithTimeout(ctx, s.Patience-s.now().Sub(r.began))
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
	now := s.now()
	switch {
	case s.held == nil, s.last.underWay():
		return s.held, s.read(ctx)
	case now.Before(s.held.readAgain), s.failed != nil && now.Sub(s.ended) < pause:
		return s.held, nil
	}
	return s.held, s.read(ctx)
}

// Refresh reads ahead of time, unless that was done just now, and says why Vault
// could not be read last.
func (s *Source) Refresh(ctx context.Context) error {
	s.mu.Lock()
	if !s.last.underWay() && !s.refresh.IsZero() && s.now().Sub(s.refresh) < pause {
		defer s.mu.Unlock()
		return s.failed
	}
	// A read that is under way may have begun before the rotation.
	need := 1
	if s.last != nil {
		need = s.last.number + 1
	}
	s.mu.Unlock()
	ctx, enough := context.WithTimeout(ctx, s.Patience)
	defer enough()
	for {
		s.mu.Lock()
		r := s.last
		if r == nil || r.number < need {
			r = s.read(ctx)
		}
		s.mu.Unlock()
		if err := s.await(ctx, r); r.number >= need || ctx.Err() != nil {
			s.mu.Lock()
			s.refresh = s.now()
			s.mu.Unlock()
			return err
		}
	}
}

// LastError is why the last read of Vault has failed, such as for want of a token
// that is still good; nil if it has not. Logins go on with the credentials that
// there are meanwhile.
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
		return fmt.Errorf("read %s: %w", s.path, ctx.Err())
	}
}

// read starts to read, unless it is under way. s.mu must be held. The lease counts
// from before the request, so that it is never taken to be longer than it is.
func (s *Source) read(ctx context.Context) *reading {
	if s.last.underWay() {
		return s.last
	}
	r := &reading{number: 1, began: s.now(), done: make(chan struct{})}
	if s.last != nil {
		r.number = s.last.number + 1
	}
	s.last = r
	ctx, enough := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	go func() {
		defer enough()
		fresh, err := s.ask(ctx, r.began)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			r.err = fmt.Errorf("read %s: %w", s.path, err)
		} else {
			s.held = fresh
		}
		s.ended, s.failed = s.now(), r.err
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
