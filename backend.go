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
//	path_*.go          the paths of the mount: parse, call, answer
//	state_machine.go   the rotation's state machine, pure: with its state
//	                   (rotation_state.go) and its times (rotation_times.go)
//	rotation.go        the one procedure that rotates, with rotation_stage.go
//	                   and rotation_send.go
//	rotation_plan.go   when something rotates by itself
//	rotate_all.go      the order to rotate all roles
//	root_rotation.go   the engine's own secret
//	drift.go           secrets that were changed outside Vault
//	scheduler.go       calls them when something is due
//	serving.go         what creds/ and static-creds/ hand out, from memory
//	application.go     whether an application can be a role
//	token_roles.go     Management API tokens with few scopes
//	config.go          what a configuration is and how it is verified
//	roles.go           making, changing and deleting roles
//	roles_import.go    making many at once
//	storage.go         what is stored
package auth0secrets

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/errutil"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// Version is the version that the plugin reports, semver with a leading v. Set
// when the binary is linked.
var Version = "v0.0.0-dev"

const (
	operationPrefix = "auth0"
	userAgent       = "vault-plugin-secrets-auth0"
)

// managementAPI is what the engine needs of Auth0. Errors are *auth0.Error,
// whose class says whether a request took effect.
type managementAPI interface {
	// Grant gets a Management API token, unless a valid one is at hand, and
	// says what it allows.
	Grant(ctx context.Context) (auth0.Grant, error)
	// Application reads an application. What the token's scopes do not cover is
	// absent.
	Application(ctx context.Context, clientID string) (*auth0.Application, error)
	// SetSecret sets an application's client secret.
	SetSecret(ctx context.Context, clientID, secret string) error
	// Applications lists the tenant's applications, a page of them.
	Applications(ctx context.Context, page, perPage int) (auth0.ApplicationPage, error)
	// NewToken gets a Management API token to hand out, and asks for scopes.
	NewToken(ctx context.Context, scopes []string) (auth0.AccessToken, error)
	// EnableKey registers and enables a key of an application; RetireKeys removes
	// all others.
	EnableKey(ctx context.Context, clientID, privateKey, algorithm string) error
	RetireKeys(ctx context.Context, clientID, privateKey string) error
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

	// now is the clock. Tests replace it.
	now func() time.Time
	// newAPI makes the client for a configuration. Tests replace it.
	newAPI func(auth0.Config) (managementAPI, error)
	// newKey makes a private key. Tests replace it.
	newKey func() (string, error)
	// jitter gives numbers in [0,1).
	jitter func() float64

	served    *servedSets
	scheduler *scheduler
	drift     *driftWatch

	readEvents *readEvents

	// roleLocks serialise what changes a role, and configLock what changes the
	// configuration; they are held across calls to Auth0. commitLock guards the
	// moments at which roles and configuration have to agree, and never is.
	roleLocks  *keyedLocks
	configLock *keyedLocks
	commitLock sync.Mutex

	// connection is the client of the stored configuration, nil until needed
	// and after the configuration has changed.
	connectionLock sync.Mutex
	connection     atomic.Pointer[connection]

	// running ends when the engine is cleaned up.
	running context.Context // the engine's lifetime, not a call's
	stop    context.CancelFunc

	// limits is what is known of each domain's rate limit, whichever client has
	// learned it: domain to *auth0.Limits.
	limits sync.Map

	// lastOrder is the number of the last order to rotate all roles, as far as
	// this process has seen.
	lastOrder atomic.Int64

	// maxLease is the mount's longest lease, as last asked: asking is a call
	// to Vault.
	maxLease atomic.Int64
}

// connection is a configuration and its client.
type connection struct {
	config *configEntry
	api    managementAPI
}

// Factory makes the backend of one mount.
func Factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	b := newBackend(time.Now)
	if err := b.Setup(ctx, conf); err != nil {
		return nil, err
	}
	return b, nil
}

func newBackend(now func() time.Time) *backend {
	b := &backend{
		now:        now,
		newAPI:     func(c auth0.Config) (managementAPI, error) { return auth0.New(c) },
		newKey:     auth0.NewPrivateKey,
		jitter:     rand.Float64,
		served:     newServedSets(now),
		drift:      newDriftWatch(),
		readEvents: newReadEvents(),
		roleLocks:  newKeyedLocks(),
		configLock: newKeyedLocks(),
	}
	b.running, b.stop = context.WithCancel(context.Background())
	b.scheduler = newScheduler(b, now)
	b.Backend = &framework.Backend{
		Help:           strings.TrimSpace(backendHelp),
		BackendType:    logical.TypeLogical,
		RunningVersion: Version,
		PathsSpecial: &logical.Paths{
			SealWrapStorage: []string{storageConfig, storageRoles},
		},
		// Paths are matched in this order: what is read most comes first.
		Paths: framework.PathAppend(
			b.pathCreds(),
			b.pathConfig(),
			b.pathRoles(),
			b.pathRolesImport(),
			b.pathApplications(),
			b.pathRotate(),
			b.pathRotateAll(),
			b.pathRotateRoot(),
			b.pathTokenRoles(),
			b.pathTokens(),
			b.pathStatus(),
		),
		Secrets:        []*framework.Secret{b.secretType(), b.tokenSecretType()},
		InitializeFunc: b.initialize,
		PeriodicFunc:   b.periodic,
		Invalidate:     b.invalidate,
		Clean:          b.clean,
	}
	return b
}

// HandleExistenceCheck and HandleRequest refuse secrets of another type than
// string before the SDK does: its error quotes the value, and Vault logs it.
func (b *backend) HandleExistenceCheck(ctx context.Context, req *logical.Request) (checkFound, exists bool, err error) {
	if err := checkSecretForm(req); err != nil {
		return false, false, errutil.UserError{Err: err.Error()}
	}
	return b.Backend.HandleExistenceCheck(ctx, req)
}

// HandleRequest is explained at HandleExistenceCheck.
func (b *backend) HandleRequest(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	if err := checkSecretForm(req); err != nil {
		return nil, err
	}
	return b.Backend.HandleRequest(ctx, req)
}

// initialize starts the scheduler. Vault calls it after unseal, mount and reload.
func (b *backend) initialize(_ context.Context, req *logical.InitializationRequest) error {
	b.startScheduler(req.Storage)
	return nil
}

// periodic runs every minute. It starts the scheduler where initialize could
// not, makes it look at the clock again, and refreshes what is remembered of
// the mount's tuning. Vault also calls it while it takes the mount away.
func (b *backend) periodic(_ context.Context, req *logical.Request) error {
	if b.System().Tainted() {
		return nil
	}
	b.askMaxLeaseTTL()
	b.startScheduler(req.Storage)
	b.scheduler.checkClock()
	b.scheduler.wake()
	return nil
}

// startScheduler does so if it does not run, where storage can be written.
func (b *backend) startScheduler(storage logical.Storage) {
	if b.WriteSafeReplicationState() {
		b.scheduler.start(storage)
	}
}

// invalidate drops what is in memory of an entry that another node has written.
func (b *backend) invalidate(_ context.Context, key string) {
	if key == storageConfig {
		b.disconnect()
	}
	if name, ok := strings.CutPrefix(key, storageRoles); ok {
		b.served.invalidate(name)
	}
}

// clean stops the background work and waits for it.
func (b *backend) clean(context.Context) {
	b.stop()
	b.scheduler.stop()
	b.readEvents.work.Wait()
	b.disconnect()
}

// maxLeaseTTL is the longest lease that the mount allows, at most a minute old:
// a read of credentials does not wait for Vault to say it. If it was lowered
// since, Vault itself caps the lease.
func (b *backend) maxLeaseTTL() time.Duration {
	if known := b.maxLease.Load(); known > 0 {
		return time.Duration(known)
	}
	return b.askMaxLeaseTTL()
}

func (b *backend) askMaxLeaseTTL() time.Duration {
	asked := b.System().MaxLeaseTTL()
	b.maxLease.Store(int64(asked))
	return asked
}

// limitsOf is what is known of a domain's rate limit.
func (b *backend) limitsOf(domain string) *auth0.Limits {
	limits, _ := b.limits.LoadOrStore(domain, &auth0.Limits{})
	return limits.(*auth0.Limits) //nolint:forcetypeassert // nothing else is stored
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
		return nil, notConfigured()
	}
	api, err := b.newAPI(config.client(b))
	if err != nil {
		return nil, err
	}
	conn := &connection{config: config, api: api}
	b.connection.Store(conn)
	return conn, nil
}

// disconnect makes the next connect read the configuration anew. Calls under
// way end on the client they have.
func (b *backend) disconnect() {
	b.connectionLock.Lock()
	defer b.connectionLock.Unlock()
	if conn := b.connection.Swap(nil); conn != nil {
		conn.api.Close()
	}
}

const backendHelp = `
The auth0 secrets engine rotates the client secrets of Auth0 applications
without downtime, and hands them out with leases.

Configure it with the credentials of a machine-to-machine application that may
use Auth0's Management API ("config"), make a role of each application whose
secret it is to rotate ("roles/<name>"), let applications read their credentials
("creds/<name>", or "static-creds/<name>" without a lease), and rotate on a
schedule or by hand ("rotate/<name>"). "status" tells how it all is.
`
