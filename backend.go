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
//	keys.go            roles of private keys
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
//	token_roles.go     access tokens for applications that hold no secret
//	token_cache.go     the tokens that readers share
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
	// upstreamPatience bounds work that outlives its request: an attempt makes at
	// most so many requests to Auth0, each with its token.
	upstreamPatience = 4 * requirements.MaxRequestTimeout
	// stopPatience is how long such work may last once the engine stops.
	stopPatience = 5 * time.Second
)

// managementAPI is the part of Auth0 that the engine uses. Errors are *auth0.Error;
// their class says whether a request took effect.
type managementAPI interface {
	// Grant returns what the Management API token allows. It gets one unless a valid
	// one is at hand.
	Grant(ctx context.Context) (auth0.Grant, error)
	// Application reads an application. It hides what the token's scopes do not
	// cover.
	Application(ctx context.Context, clientID string) (*auth0.Application, error)
	// SetSecret sets an application's client secret.
	SetSecret(ctx context.Context, clientID, secret string) error
	// Applications lists one page of the tenant's applications.
	Applications(ctx context.Context, page, perPage int) (auth0.ApplicationPage, error)
	// NewToken gets a Management API token with scopes, by the engine's own application.
	// Token gets one for any API, by another application. They are handed out.
	Token(ctx context.Context, r auth0.TokenRequest) (auth0.AccessToken, error)
	NewToken(ctx context.Context, scopes []string) (auth0.AccessToken, error)
	// EnableKey registers and enables a key of an application. RetireKey disables and
	// removes one. They leave other keys alone. EnabledKeys returns the kids of those in
	// use, and AcceptsKey reports whether Auth0 accepts a key now.
	EnableKey(ctx context.Context, clientID, privateKey, algorithm string) error
	RetireKey(ctx context.Context, clientID, privateKey string) (found bool, err error)
	EnabledKeys(ctx context.Context, clientID string) (kids []string, err error)
	AcceptsKey(ctx context.Context, clientID, privateKey, algorithm string) (bool, error)
	// Accepts reports whether Auth0 lets the application log in with the secret.
	Accepts(ctx context.Context, clientID, secret string) (bool, error)
	// RotateSecret has Auth0 make a new client secret. It returns "" if Auth0 does
	// not show the secret.
	RotateSecret(ctx context.Context, clientID string) (string, error)
	// TokenExpiresAt returns when the token at hand expires. Zero: there is no token.
	TokenExpiresAt() time.Time
	// RateLimit returns the rate limit as last seen.
	RateLimit() auth0.RateLimit
	// Close closes idle connections.
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
	// newKey makes a private key of so many bits. Tests replace it.
	newKey func(bits int) (string, error)
	// makesKeys has room for one that makes a key in the background, makesKeysNow for one
	// by request: that takes a processor for seconds, and reads do not wait for it.
	makesKeys, makesKeysNow chan struct{}
	// jitter gives numbers in [0,1).
	jitter func() float64

	served *servedSets

	tokenRoles *heldTokenRoles
	tokens     *tokenCache
	// logins maps a role to its *auth0login.Application, which gets its tokens.
	logins sync.Map

	drift *driftWatch
	// due schedules the roles, the engine's own secret and the rotation of all roles:
	// see attend.
	due dueTimes

	readEvents *readEvents
	counters   counters

	// locks serialise changes of a role, a token role or the configuration. They are
	// held across calls to Auth0. commitLock is never held across calls to Auth0: it
	// keeps roles and configuration consistent while one of them is stored.
	locks      *keyedLocks
	commitLock sync.Mutex

	// connection is the client for the stored configuration. Nil: not needed yet, or
	// the configuration has changed.
	connectionLock sync.Mutex
	connection     atomic.Pointer[connection]

	// abandoned ends some time after Clean.
	abandoned context.Context // the engine's lifetime, not a call's
	abandon   context.CancelFunc

	// limits maps a domain to its *auth0.Limits. All clients of a domain share what
	// they learn of its rate limit.
	limits sync.Map

	// bulkNumber is the number of the last rotation of all roles.
	bulkNumber atomic.Int64

	// maxLease is the mount's longest lease as Vault last said. Asking is a call to
	// Vault.
	maxLease atomic.Int64
}

// dueTimes schedules keys.
type dueTimes interface {
	// Set sets when the key is attended to. Zero: not by itself.
	Set(key string, at time.Time)
	// Forget drops a key.
	Forget(key string)
	// Again has every key attended to now.
	Again()
}

var _ dueTimes = (*due.Index)(nil)

// connection is a configuration with its client.
type connection struct {
	config *configEntry
	api    managementAPI
}

// connect returns the stored configuration and its client.
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

// lock locks what is to be changed. what is how the caller is told of it.
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

// audience is the audience of the Management API: the domain's own unless configured.
func (c *configEntry) audience() string { return requirements.Audience(c.Domain, c.Audience) }

// errNotConfigured is a 400: the request needs a configuration, and there is none.
var errNotConfigured = badRequest("this mount is not configured yet: write %s, %s and %s to its path %q first",
	fieldDomain, fieldClientID, fieldClientSecret, storageConfig)

// disconnect makes the next connect read the configuration again. Calls under way
// keep the client that they have.
func (b *backend) disconnect() {
	b.connectionLock.Lock()
	defer b.connectionLock.Unlock()
	if conn := b.connection.Swap(nil); conn != nil {
		conn.api.Close()
	}
}

// clientSettings returns the client's settings for a configuration.
func (b *backend) clientSettings(c *configEntry) auth0.Config {
	return auth0.Config{
		Domain: c.Domain, ClientID: c.ClientID, Secrets: inClear(c.Rotation.Logins(b.rootClock())), SigningAlgorithm: c.SigningAlgorithm,
		Audience: c.audience(), CACert: c.CACert, RequestTimeout: c.RequestTimeout,
		UserAgent: userAgent + "/" + Version, Logger: b.Logger(), Limits: b.limitsOf(c.Domain), Counts: &b.counters.upstream,
	}
}

// limitsOf returns what is known of a domain's rate limit.
func (b *backend) limitsOf(domain string) *auth0.Limits {
	limits, _ := b.limits.LoadOrStore(domain, &auth0.Limits{})
	return limits.(*auth0.Limits) //nolint:forcetypeassert // nothing else is stored
}

// rootClock is the clock for the engine's own secret, which is served to nobody.
func (b *backend) rootClock() rotation.Clock {
	return rotation.Clock{Now: b.now(), Since: b.served.servingSince, Jitter: b.jitter()}
}

// loadMount returns the mount's settings. Without a configuration no secret can be
// sent, so the defaults do.
func (b *backend) loadMount(ctx context.Context, storage logical.Storage) (mountSettings, error) {
	conn, err := b.connect(ctx, storage)
	if err != nil && !errors.Is(err, errNotConfigured) {
		return mountSettings{}, err
	}
	settings := settingsBy(conn)
	settings.Bulk, err = b.loadBulkNumber(ctx, storage)
	return settings, err
}

// mountInMemory is loadMount without storage, for reads of credentials. Until the
// configuration is loaded it reports schedules as not paused.
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

// loadBulkNumber returns the number of the last rotation of all roles. It reads
// storage once; startBulk keeps it up to date.
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

// unknownBulkNumber means: read it from storage.
const unknownBulkNumber = -1

// maxLeaseTTL returns the longest lease that the mount allows. A read of credentials
// asks Vault only if ttl is above the last answer, which may have been raised since.
// If it was lowered, Vault caps the lease until periodic asks.
func (b *backend) maxLeaseTTL(ttl time.Duration) time.Duration {
	if known := time.Duration(b.maxLease.Load()); ttl <= known {
		return known
	}
	return b.askMaxLeaseTTL()
}

func (b *backend) askMaxLeaseTTL() time.Duration {
	asked := b.System().MaxLeaseTTL()
	if asked <= 0 { // Vault could not be asked
		return time.Duration(b.maxLease.Load())
	}
	b.maxLease.Store(int64(asked))
	return asked
}

// upstreamContext is for requests to Auth0. A forced one is sent even if the rate
// limit holds others back.
func upstreamContext(ctx context.Context, request rotation.Request) context.Context {
	if request.Force {
		return auth0.Urgent(ctx)
	}
	return ctx
}

// detached returns a context that outlives the request: if nobody waits for Auth0's
// answer, the outcome is unclear. It ends soon after the engine stops.
func (b *backend) detached(ctx context.Context, patience time.Duration) (context.Context, context.CancelFunc) {
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	ended := context.AfterFunc(b.abandoned, cancel)
	return work, func() {
		ended()
		cancel()
	}
}
