// Package auth0secrets is a Vault secrets engine that rotates the client
// secrets of Auth0 applications without downtime.
//
// An Auth0 application has exactly one client secret; the moment a new one is
// set, the old one dies. The engine makes the next secret itself and hands it
// out as a fallback ahead of the rotation. Credentials are read with leases of
// at most a role's ttl, so one ttl later every holder has the next secret, and
// only then is it set in Auth0 (a staged rotation).
//
// Where to find what:
//
//	factory.go         how a mount is put together: its paths, and what is due
//	path_*.go          the paths of the mount: parse, call, answer
//	internal/rotation  the rotation: what is stored of it, what is decided, and the
//	                   one driver
//	internal/due       when something is to be looked at
//	rotation.go        roles as targets of rotation
//	root.go            the engine's own secret or key as a target
//	bulk.go            the rotation of all roles
//	drift.go           secrets that were changed outside Vault
//	serving.go         what creds/ and static-creds/ hand out, from memory
//	status.go          how the whole mount is doing
//	metrics.go         the same, and what was counted, for Prometheus
//	config.go          what a configuration is and how it is verified
//	schedule.go        when something rotates by itself
//	application.go     whether an application can be a role
//	roles.go           making, changing and deleting roles
//	roles_import.go    making many at once
//	token_roles.go     Management API tokens with few scopes
//	storage.go         what is stored
//	events.go          what those who listen are told
//	backend.go         what all of these share
package auth0secrets

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/due"
	"vault-plugin-secrets-auth0/internal/requirements"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// Version is the version that the plugin reports, semver with a leading v. Set
// when the binary is linked.
var Version = "v0.0.0-dev"

const userAgent = "vault-plugin-secrets-auth0"

const (
	// upstreamPatience bounds work that goes on beyond its request: the requests
	// to Auth0 that an attempt consists of at most, with a token for each.
	upstreamPatience = 4 * requirements.MaxRequestTimeout
	// stopPatience is how long such work may go on when the engine stops.
	stopPatience = 5 * time.Second
)

// managementAPI is what the engine needs of Auth0. Errors are *auth0.Error,
// whose class says whether a request took effect.
type managementAPI interface {
	// Grant gets a Management API token, unless a valid one is at hand, and
	// says what it allows.
	Grant(ctx context.Context) (auth0.Grant, error)
	// Application reads an application. What the token's scopes do not cover is
	// hidden.
	Application(ctx context.Context, clientID string) (*auth0.Application, error)
	// SetSecret sets an application's client secret.
	SetSecret(ctx context.Context, clientID, secret string) error
	// Applications lists the tenant's applications, a page of them.
	Applications(ctx context.Context, page, perPage int) (auth0.ApplicationPage, error)
	// NewToken gets a Management API token to hand out, and asks for scopes.
	NewToken(ctx context.Context, scopes []string) (auth0.AccessToken, error)
	// EnableKey registers and enables a key of an application; RetireKey disables
	// and removes one. Others stay as they are.
	EnableKey(ctx context.Context, clientID, privateKey, algorithm string) error
	RetireKey(ctx context.Context, clientID, privateKey string) (found bool, err error)
	// Accepts says whether Auth0 accepts a client secret as an application's.
	Accepts(ctx context.Context, clientID, secret string) (bool, error)
	// RotateSecret has Auth0 make a new client secret. It is empty if Auth0 did
	// not show it.
	RotateSecret(ctx context.Context, clientID string) (string, error)
	// TokenExpiresAt is when the token at hand expires; zero: there is none.
	TokenExpiresAt() time.Time
	// RateLimit is the rate limit as last seen.
	RateLimit() auth0.RateLimit
	// Close gives back idle connections.
	Close()
}

var _ managementAPI = (*auth0.Client)(nil)

// backend is one mount of the engine.
type backend struct {
	*framework.Backend

	// now is the clock, and wait lets time pass. Tests replace them.
	now  func() time.Time
	wait func(ctx context.Context, d time.Duration) error
	// newAPI makes the client for a configuration. Tests replace it.
	newAPI func(auth0.Config) (managementAPI, error)
	// newKey makes a private key. Tests replace it.
	newKey func() (string, error)
	// jitter gives numbers in [0,1).
	jitter func() float64

	served *servedSets
	drift  *driftWatch
	// due has the roles, the engine's own secret and the rotation of all roles
	// attended to when it is time: see attend.
	due dueTimes

	readEvents *readEvents
	counters   counters

	// locks serialise what changes a role, a token role or the configuration. They are
	// held across calls to Auth0. commitLock is never held across one: it is held
	// while something is stored on which roles and the configuration have to agree.
	locks      *keyedLocks
	commitLock sync.Mutex

	// connection is the client of the stored configuration, nil until needed
	// and after the configuration has changed.
	connectionLock sync.Mutex
	connection     atomic.Pointer[connection]

	// abandoned ends some time after the engine is cleaned up.
	abandoned context.Context // the engine's lifetime, not a call's
	abandon   context.CancelFunc

	// limits is what is known of each domain's rate limit, whichever client has
	// learned it: domain to *auth0.Limits.
	limits sync.Map

	// bulkNumber is that of the last rotation of all roles. Negative: not read yet.
	bulkNumber atomic.Int64

	// maxLease is the mount's longest lease, as last asked: asking is a call
	// to Vault.
	maxLease atomic.Int64
}

// dueTimes is what the engine tells of when it is to look at something.
type dueTimes interface {
	// Set sets when the key is attended to next; zero: not by itself.
	Set(key string, at time.Time)
	// Forget drops a key.
	Forget(key string)
	// Again has every key attended to now.
	Again()
}

var _ dueTimes = (*due.Index)(nil)

// connection is a configuration and its client.
type connection struct {
	config *configEntry
	api    managementAPI
}

// connect is the stored configuration and the client for it.
func (b *backend) connect(ctx context.Context, storage logical.Storage) (*connection, error) {
	if conn := b.connection.Load(); conn != nil {
		return conn, nil
	}
	b.connectionLock.Lock()
	defer b.connectionLock.Unlock()
	if conn := b.connection.Load(); conn != nil {
		return conn, nil
	}
	config, err := readConfig(ctx, storage)
	if err != nil {
		return nil, err
	}
	if config == nil {
		return nil, errNotConfigured
	}
	api, err := b.newAPI(b.clientSettings(config))
	if err != nil {
		return nil, err
	}
	conn := &connection{config: config, api: api}
	b.connection.Store(conn)
	return conn, nil
}

// lock takes the lock of what is to be changed, by what a caller is told that it is.
func (b *backend) lock(ctx context.Context, what string) (unlock func(), err error) {
	if unlock, err = b.locks.lock(ctx, what); err != nil {
		return nil, logical.CodedError(http.StatusServiceUnavailable, what+" is being changed by another request, which waits for Auth0: try again")
	}
	return unlock, nil
}

func (b *backend) lockConfig(ctx context.Context) (unlock func(), err error) {
	return b.lock(ctx, "the configuration")
}

func (b *backend) lockRole(ctx context.Context, name string) (unlock func(), err error) {
	return b.lock(ctx, fmt.Sprintf("role %q", name))
}

// audience is the Management API's, the domain's own unless told otherwise.
func (c *configEntry) audience() string { return requirements.Audience(c.Domain, c.Audience) }

// errNotConfigured is the 400 of whatever needs a configuration while there is none.
var errNotConfigured = badRequest("this mount is not configured yet: write %s, %s and %s to its path %q first",
	fieldDomain, fieldClientID, fieldClientSecret, storageConfig)

// disconnect makes the next connect read the configuration anew. Calls under
// way end on the client they have.
func (b *backend) disconnect() {
	b.connectionLock.Lock()
	defer b.connectionLock.Unlock()
	if conn := b.connection.Swap(nil); conn != nil {
		conn.api.Close()
	}
}

// clientSettings are those of the client for a configuration.
func (b *backend) clientSettings(c *configEntry) auth0.Config {
	return auth0.Config{
		Domain: c.Domain, ClientID: c.ClientID, Secrets: inClear(c.Rotation.Logins(b.rootClock())), SigningAlgorithm: c.SigningAlgorithm,
		Audience: c.audience(), CACert: c.CACert, RequestTimeout: c.RequestTimeout,
		UserAgent: userAgent + "/" + Version, Logger: b.Logger(), Limits: b.limitsOf(c.Domain), Counts: &b.counters.upstream,
	}
}

// limitsOf is what is known of a domain's rate limit.
func (b *backend) limitsOf(domain string) *auth0.Limits {
	limits, _ := b.limits.LoadOrStore(domain, &auth0.Limits{})
	return limits.(*auth0.Limits) //nolint:forcetypeassert // nothing else is stored
}

// rootClock is the rotation's view of time for the engine's own secret, which nobody
// else is served.
func (b *backend) rootClock() rotation.Clock {
	return rotation.Clock{Now: b.now(), Since: b.served.servingSince, Jitter: b.jitter()}
}

// loadMount is what the mount's configuration says. Without one no secret can be
// sent, so its defaults serve.
func (b *backend) loadMount(ctx context.Context, storage logical.Storage) (mountSettings, error) {
	conn, err := b.connect(ctx, storage)
	if err != nil && !errors.Is(err, errNotConfigured) {
		return mountSettings{}, err
	}
	settings := settingsBy(conn)
	settings.Bulk, err = b.loadBulkNumber(ctx, storage)
	return settings, err
}

// mountInMemory is loadMount without storage, for reads of credentials. A reader
// that comes before anything has loaded the configuration is told of schedules as
// if none were paused.
func (b *backend) mountInMemory() mountSettings { return settingsBy(b.connection.Load()) }

func settingsBy(conn *connection) mountSettings {
	if conn == nil {
		return mountSettings{PropagationDelay: defaultPropagationDelay}
	}
	return mountSettings{
		Configured: true, PropagationDelay: conn.config.PropagationDelay, Paused: conn.config.Disabled,
		DriftCheckPeriod: conn.config.DriftCheckPeriod,
	}
}

// loadBulkNumber is the number of the last rotation of all roles. It is read once:
// who orders one sets it.
func (b *backend) loadBulkNumber(ctx context.Context, storage logical.Storage) (int, error) {
	if known := b.bulkNumber.Load(); known >= 0 {
		return int(known), nil
	}
	last, err := readBulk(ctx, storage)
	if err != nil {
		return 0, err
	}
	number := 0
	if last != nil {
		number = last.Number
	}
	b.bulkNumber.CompareAndSwap(unknownBulkNumber, int64(number))
	return number, nil
}

// unknownBulkNumber: it is to be read from storage.
const unknownBulkNumber = -1

// maxLeaseTTL is the longest lease that the mount allows, for a role's ttl. A read of
// credentials does not wait for Vault to say it, unless the ttl is above what was
// last said: that may have been raised. If it was lowered, Vault itself caps the
// lease until periodic asks.
func (b *backend) maxLeaseTTL(ttl time.Duration) time.Duration {
	if known := time.Duration(b.maxLease.Load()); ttl <= known {
		return known
	}
	return b.askMaxLeaseTTL()
}

func (b *backend) askMaxLeaseTTL() time.Duration {
	asked := b.System().MaxLeaseTTL()
	b.maxLease.Store(int64(asked))
	return asked
}

// upstreamContext is a context for requests to Auth0. Where the operator has asked
// not to wait, one is sent though the rate limit holds requests back.
func upstreamContext(ctx context.Context, request rotation.Request) context.Context {
	if request.Force {
		return auth0.Urgent(ctx)
	}
	return ctx
}

// detached is a context for work that goes on even if the caller has gone: an
// answer of Auth0 that nobody waits for is an unclear one. It ends soon after the
// engine stops.
func (b *backend) detached(ctx context.Context, patience time.Duration) (context.Context, context.CancelFunc) {
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	ended := context.AfterFunc(b.abandoned, cancel)
	return work, func() {
		ended()
		cancel()
	}
}
