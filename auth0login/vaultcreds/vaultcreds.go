// Package vaultcreds lets an application read its credentials for Auth0 from Vault
// itself, without a Vault Agent beside it:
//
//	client, err := api.NewClient(api.DefaultConfig())
//	// ... log in at Vault, and renew the token: see api.LifetimeWatcher
//	app := auth0login.New(vaultcreds.New(client, "auth0/creds/shop"))
package vaultcreds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

	// pause is the time between two attempts after one that has failed.
	pause = 10 * time.Second

	// refreshPause is the time between two reads ahead of time. Credentials of which
	// Auth0 refuses all secrets may be so for long.
	refreshPause = time.Second
)

// Source reads creds/<role> or static-creds/<role>. It reads when credentials are
// asked for and most of their lease (of static-creds: all of their ttl) is over, and
// needs no goroutine. While Vault does not answer, the last credentials go on to be
// used.
type Source struct {
	client   *api.Client
	path     string
	now      func() time.Time
	patience time.Duration
	reading  chan struct{} // holds one while somebody reads
	mu       sync.Mutex
	held     *lease
	tried    time.Time // when Vault was asked last
	failed   error     // what came of that

	refreshed time.Time // when it was asked ahead of time last; guarded by reading
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

// New is a source that reads the path, such as auth0/creds/shop. The client's token
// has to be kept alive by the caller.
func New(client *api.Client, path string) *Source {
	return &Source{client: client, path: path, now: time.Now, patience: patience, reading: make(chan struct{}, 1)}
}

// Credentials gives the credentials of the present lease, or reads.
func (s *Source) Credentials(ctx context.Context) (auth0login.Credentials, error) {
	held, now := s.present(), s.now()
	if held != nil && now.Before(held.readAgain) {
		return held.credentials, nil
	}
	if held != nil && now.Before(held.end) {
		select {
		case s.reading <- struct{}{}:
		default: // somebody else reads, and there is time
			return held.credentials, nil
		}
	} else if err := s.startReading(ctx); err != nil {
		return auth0login.Credentials{}, err
	}
	defer s.endReading()
	return s.readUnlessFresh(ctx)
}

// readUnlessFresh reads unless somebody else has done so meanwhile, or Vault has
// failed just now.
func (s *Source) readUnlessFresh(ctx context.Context) (auth0login.Credentials, error) {
	held, now := s.present(), s.now()
	if held == nil {
		return s.read(ctx)
	}
	tried, failed := s.lastAttempt()
	if now.Before(held.readAgain) || (failed != nil && now.Sub(tried) < pause) {
		return held.credentials, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	if c, err := s.read(ctx); err == nil {
		return c, nil
	}
	return held.credentials, nil
}

// Refresh reads ahead of time, unless it has done so just now, and says why Vault
// could not be read last.
func (s *Source) Refresh(ctx context.Context) error {
	if err := s.startReading(ctx); err != nil {
		return err
	}
	defer s.endReading()
	if now := s.now(); now.Sub(s.refreshed) >= refreshPause {
		s.refreshed = now
		_, err := s.read(ctx)
		return err
	}
	_, failed := s.lastAttempt()
	return failed
}

// startReading waits until nobody else reads, or the context ends.
func (s *Source) startReading(ctx context.Context) error {
	select {
	case s.reading <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Source) endReading() { <-s.reading }

func (s *Source) lastAttempt() (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tried, s.failed
}

func (s *Source) present() *lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// read reads from Vault, one at a time. The lease counts from before the
// request, so that it is never taken to be longer than it is.
func (s *Source) read(ctx context.Context) (auth0login.Credentials, error) {
	asked := s.now()
	fresh, err := s.ask(ctx, asked)
	if err != nil {
		err = fmt.Errorf("read %s: %w", s.path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried, s.failed = asked, err
	if err != nil {
		return auth0login.Credentials{}, err
	}
	s.held = fresh
	return fresh.credentials, nil
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
