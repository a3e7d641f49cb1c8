package auth0secrets

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/errutil"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/due"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// Factory makes the backend of one mount.
func Factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	e := newPluginBackend(time.Now)
	if err := e.Setup(ctx, conf); err != nil {
		return nil, err
	}
	return e, nil
}

// pluginBackend is a backend with its paths, as Vault calls it.
type pluginBackend struct {
	*backend
	index   *due.Index      // backend.due, to start and to stop
	storage logical.Storage // set once, before the index is started
}

func newPluginBackend(now func() time.Time) *pluginBackend {
	b := &backend{
		now:       now,
		wait:      waitFor,
		newAPI:    func(c auth0.Config) (managementAPI, error) { return auth0.New(c) },
		newKey:    assertion.NewPrivateKey,
		makesKeys: make(chan struct{}, 1), makesKeysNow: make(chan struct{}, 1),
		jitter:     rand.Float64,
		served:     newServedSets(now),
		tokenRoles: newHeldTokenRoles(),
		tokens:     newTokenCache(now),
		drift:      newDriftWatch(),
		readEvents: &readEvents{slots: make(chan struct{}, eventSlots)},
		locks:      newKeyedLocks(),
	}
	b.bulkNumber.Store(unknownBulkNumber)
	b.abandoned, b.abandon = context.WithCancel(context.Background()) //nolint:gosec // clean calls it
	e := &pluginBackend{backend: b}
	e.index = due.New(now, e.attend)
	b.due = e.index
	b.Backend = &framework.Backend{
		Help:           strings.TrimSpace(backendHelp),
		BackendType:    logical.TypeLogical,
		RunningVersion: Version,
		PathsSpecial: &logical.Paths{
			SealWrapStorage: []string{storageConfig, storageRoles},
		},
		// Paths are matched in this order: the most frequent reads come first.
		Paths: framework.PathAppend(
			b.pathCreds(),
			b.pathAssertions(),
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
			b.pathMetrics(),
		),
		Secrets:        []*framework.Secret{leaseType(secretTypeCredentials), leaseType(secretTypeToken)},
		InitializeFunc: e.initialize,
		PeriodicFunc:   e.periodic,
		Invalidate:     e.invalidate,
		Clean:          e.clean,
	}
	return e
}

// waitFor waits, unless the context ends.
func waitFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// HandleExistenceCheck and HandleRequest refuse secrets that are not strings before
// the SDK does: its error quotes the value, and Vault logs it.
func (e *pluginBackend) HandleExistenceCheck(ctx context.Context, req *logical.Request) (checkFound, exists bool, err error) {
	if err := checkSecretForm(req); err != nil {
		return false, false, errutil.UserError{Err: err.Error()}
	}
	defer e.caught(func(failure error) { err = failure }, "existence check of "+req.Path)
	return e.Backend.HandleExistenceCheck(ctx, req)
}

// HandleRequest: see HandleExistenceCheck.
func (e *pluginBackend) HandleRequest(ctx context.Context, req *logical.Request) (resp *logical.Response, err error) {
	if err := checkSecretForm(req); err != nil {
		return nil, err
	}
	defer e.caught(func(failure error) { resp, err = nil, failure }, string(req.Operation)+" of "+req.Path)
	resp, err = e.Backend.HandleRequest(ctx, req)
	if errors.Is(err, logical.ErrUnsupportedPath) {
		err = e.wrongPath(req)
	}
	return resp, err
}

// wrongPath explains a path that does not exist, where it can. The CLI strips the
// slash of rotate/: an empty variable must not rotate everything. Users of other
// engines type rotate-role/.
func (e *pluginBackend) wrongPath(req *logical.Request) error {
	path := req.Path
	if req.Operation == logical.ListOperation {
		path = strings.TrimSuffix(path, "/") // which Vault adds
	}
	kind, name, _ := strings.Cut(path, "/")
	switch {
	case e.Route(path) != nil: // there is nothing to list
	case kind == "rotate" && name == "":
		return badRequest("say which role: rotate/<name>. To rotate all of them, write to %s", pathRotateAllName)
	case kind == "rotate-role":
		return badRequest("roles are rotated at rotate/<name>, without -role")
	case name != "" && e.Route(kind+"/name") != nil:
		return badRequest("%q is not a name: names are of letters, digits, _, - and ., and begin and end with a letter, a digit or _", name)
	}
	return logical.ErrUnsupportedPath
}

// initialize starts the background work. Vault calls it after unseal, mount and
// reload.
func (e *pluginBackend) initialize(_ context.Context, req *logical.InitializationRequest) error {
	e.start(req.Storage)
	return nil
}

// periodic runs every minute. It starts what initialize could not, checks the clock,
// and asks for the mount's longest lease. Vault calls it at unmount, too.
func (e *pluginBackend) periodic(_ context.Context, req *logical.Request) error {
	if e.System().Tainted() {
		return nil
	}
	e.askMaxLeaseTTL()
	e.start(req.Storage)
	if step := e.index.CheckClock(); step != 0 {
		e.Logger().Warn("the clock was stepped: all roles are looked at again", "by", step)
	}
	return nil
}

// start schedules everything, where storage can be written.
func (e *pluginBackend) start(storage logical.Storage) {
	e.commitLock.Lock()
	defer e.commitLock.Unlock()
	if e.storage != nil || !e.WriteSafeReplicationState() {
		return
	}
	e.storage = storage
	for _, key := range []string{dueRoot, dueBulk, storageRoles} {
		e.due.Set(key, e.now())
	}
	e.index.Start()
}

// attend does what is due for one key, and returns when to come back.
func (e *pluginBackend) attend(ctx context.Context, key string) (next time.Time) {
	defer e.caught(func(error) { next = e.now().Add(panicRetry) }, "background work for "+key)
	switch key {
	case dueRoot:
		next, _ = e.rotateRoot(ctx, e.storage, rotation.Ask{}) // the error is stored, or logged
		return next
	case dueBulk:
		return e.attendBulk(ctx, e.storage)
	case storageRoles:
		return e.attendRoles(ctx, e.storage)
	default:
		return e.attendRole(ctx, e.storage, key)
	}
}

// invalidate forgets an entry that another node has written.
func (e *pluginBackend) invalidate(_ context.Context, key string) {
	role, isRole := strings.CutPrefix(key, storageRoles)
	tokenRole, isTokenRole := strings.CutPrefix(key, storageTokenRoles)
	switch {
	case isRole:
		e.served.invalidate(role)
		e.dropTokens(role)
	case isTokenRole:
		e.forgetTokenRole(tokenRole)
	case key == storageConfig:
		e.disconnect()
		e.tokens.drop(everyToken)
	case key == storageBulk:
		e.bulkNumber.Store(unknownBulkNumber)
	}
}

// clean stops the background work and waits for it. Work that outlives its request
// ends soon.
func (e *pluginBackend) clean(context.Context) {
	time.AfterFunc(stopPatience, e.abandon)
	e.index.Stop()
	e.readEvents.work.Wait()
	e.tokens.stop()
	e.disconnect()
}

const backendHelp = `
The auth0 secrets engine rotates the client secrets of Auth0 applications, and their
private keys, without downtime, and hands them out with leases.

Configure it with the credentials of a machine-to-machine application that may
use Auth0's Management API ("config"), make a role of each application whose
secret it is to rotate ("roles/<name>"), let applications read their credentials
("creds/<name>", or "static-creds/<name>" without a lease), and rotate on a
schedule or by hand ("rotate/<name>", "rotate-all"). "status" tells how it all is.

An application that authenticates by private_key_jwt has no secret but keys: make its
role with credential_type=private_key, and let it read client assertions at
"assertions/<name>". Its key need never leave Vault.

An application that only calls APIs as itself needs no secret: say at
"token-roles/<name>" for which API, and let it read access tokens at
"tokens/<name>".
`
