package auth0secrets

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/errutil"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/due"
)

// Factory makes the backend of one mount.
func Factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	m := newMount(time.Now)
	if err := m.Setup(ctx, conf); err != nil {
		return nil, err
	}
	return m, nil
}

// mount is a backend with its paths, as Vault calls it.
type mount struct {
	*backend
	index   *due.Index      // backend.due, to start and to stop
	storage logical.Storage // set once, before the index is started
}

func newMount(now func() time.Time) *mount {
	b := &backend{
		now:        now,
		wait:       wait,
		newAPI:     func(c auth0.Config) (managementAPI, error) { return auth0.New(c) },
		newKey:     auth0.NewPrivateKey,
		jitter:     rand.Float64,
		served:     newServedSets(now),
		drift:      newDriftWatch(),
		readEvents: newReadEvents(),
		roleLocks:  newKeyedLocks(),
		configLock: newKeyedLocks(),
	}
	b.bulkNumber.Store(unknownBulkNumber)
	b.abandoned, b.abandon = context.WithCancel(context.Background())
	m := &mount{backend: b}
	m.index = due.New(now, m.attend)
	b.due = m.index
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
		InitializeFunc: m.initialize,
		PeriodicFunc:   m.periodic,
		Invalidate:     m.invalidate,
		Clean:          m.clean,
	}
	return m
}

// wait lets time pass, unless the context ends.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// HandleExistenceCheck and HandleRequest refuse secrets of another type than
// string before the SDK does: its error quotes the value, and Vault logs it.
func (m *mount) HandleExistenceCheck(ctx context.Context, req *logical.Request) (checkFound, exists bool, err error) {
	if err := checkSecretForm(req); err != nil {
		return false, false, errutil.UserError{Err: err.Error()}
	}
	return m.Backend.HandleExistenceCheck(ctx, req)
}

// HandleRequest is explained at HandleExistenceCheck.
func (m *mount) HandleRequest(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	if err := checkSecretForm(req); err != nil {
		return nil, err
	}
	return m.Backend.HandleRequest(ctx, req)
}

// initialize starts what goes on in the background. Vault calls it after unseal,
// mount and reload.
func (m *mount) initialize(_ context.Context, req *logical.InitializationRequest) error {
	m.start(req.Storage)
	return nil
}

// periodic runs every minute. It starts what initialize could not, looks at the
// clock, and refreshes what is remembered of the mount's tuning. Vault also calls
// it while it takes the mount away.
func (m *mount) periodic(_ context.Context, req *logical.Request) error {
	if m.System().Tainted() {
		return nil
	}
	m.askMaxLeaseTTL()
	m.start(req.Storage)
	if step := m.index.CheckClock(); step != 0 {
		m.Logger().Warn("the clock was stepped: all roles are looked at again", "by", step)
	}
	return nil
}

// start has everything attended to that may be due, where storage can be written.
func (m *mount) start(storage logical.Storage) {
	m.commitLock.Lock()
	defer m.commitLock.Unlock()
	if m.storage != nil || !m.WriteSafeReplicationState() {
		return
	}
	m.storage = storage
	for _, key := range []string{dueRoot, dueBulk, storageRoles} {
		m.due.Set(key, m.now())
	}
	m.index.Start()
}

// attend does what is due for one key, and says when to come back.
func (m *mount) attend(ctx context.Context, key string) (next time.Time) {
	switch key {
	case dueRoot:
		return m.attendRoot(ctx, m.storage)
	case dueBulk:
		return m.attendBulk(ctx, m.storage)
	case storageRoles:
		return m.attendRoles(ctx, m.storage)
	default:
		return m.attendRole(ctx, m.storage, key)
	}
}

// invalidate drops what is in memory of an entry that another node has written.
func (m *mount) invalidate(_ context.Context, key string) {
	switch name, isRole := strings.CutPrefix(key, storageRoles); {
	case isRole:
		m.served.invalidate(name)
	case key == storageConfig:
		m.disconnect()
	case key == storageBulk:
		m.bulkNumber.Store(unknownBulkNumber)
	}
}

// clean stops the background work and waits for it. What goes on beyond its request
// ends soon.
func (m *mount) clean(context.Context) {
	time.AfterFunc(stopPatience, m.abandon)
	m.index.Stop()
	m.readEvents.work.Wait()
	m.disconnect()
}

const backendHelp = `
The auth0 secrets engine rotates the client secrets of Auth0 applications
without downtime, and hands them out with leases.

Configure it with the credentials of a machine-to-machine application that may
use Auth0's Management API ("config"), make a role of each application whose
secret it is to rotate ("roles/<name>"), let applications read their credentials
("creds/<name>", or "static-creds/<name>" without a lease), and rotate on a
schedule or by hand ("rotate/<name>", "rotate-all"). "status" tells how it all is.
`
