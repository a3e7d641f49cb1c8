package auth0secrets

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Types of events. No event carries a secret.
const (
	eventConfigWrite  = "auth0/config-write"
	eventConfigDelete = "auth0/config-delete"
	eventRoleCreate   = "auth0/role-create"
	eventRoleUpdate   = "auth0/role-update"
	eventRoleDelete   = "auth0/role-delete"
	eventRotateStaged = "auth0/rotate-staged" // the next secret is handed out
	eventRotate       = "auth0/rotate"        // Auth0 has it
	// eventCredsChange: the served secrets changed, and no other event says so.
	// Mostly the previous secret is no longer served.
	eventCredsChange     = "auth0/creds-change"
	eventRotateAll       = "auth0/rotate-all"       // a rotation of all roles is through
	eventRootRotate      = "auth0/root-rotate"      // the engine's own secret is a new one
	eventCredsCreate     = "auth0/creds-create"     // credentials were read with a lease
	eventTokenCreate     = "auth0/token-create"     // an access token was handed out
	eventAssertionCreate = "auth0/assertion-create" // a client assertion was handed out
	eventRotateFail      = "auth0/rotate-fail"      // an attempt failed and will be made again
	eventDrift           = "auth0/drift"            // a secret that was set outside Vault was adopted
)

// event sends an event. It is no error that nobody can subscribe: only Vault
// Enterprise lets them, and OpenBao has no events.
func (b *backend) event(ctx context.Context, kind, path string, more ...string) {
	metadata := append([]string{logical.EventMetadataPath, path}, more...)
	err := logical.SendEvent(ctx, b, kind, metadata...)
	if err != nil && !errors.Is(err, framework.ErrNoEvents) && status.Code(err) != codes.Unimplemented {
		b.Logger().Debug("event not sent", "type", kind, "error", err)
	}
}

const (
	// eventSlots bounds the events of reads under way. A read does not wait: without
	// a free slot there is no event.
	eventSlots = 64
	// enterprise marks a Vault in which somebody can subscribe. An event is a call to
	// Vault: too dear for every read where nobody can.
	enterprise = "+ent"
)

// readEvents sends the events of reads.
type readEvents struct {
	once   sync.Once
	wanted bool
	slots  chan struct{}
	work   sync.WaitGroup
}

// readEvent sends an event about a read in the background.
func (b *backend) readEvent(ctx context.Context, kind, path string, more ...string) {
	ctx = context.WithoutCancel(ctx)
	r := b.readEvents
	r.once.Do(func() {
		env, err := b.System().PluginEnv(ctx)
		r.wanted = err == nil && env != nil && strings.Contains(env.VaultVersion, enterprise)
	})
	if !r.wanted {
		return
	}
	select {
	case r.slots <- struct{}{}:
		r.work.Go(func() {
			defer func() { <-r.slots }()
			defer b.caught(func(error) {}, "event "+kind)
			b.event(ctx, kind, path, append([]string{logical.EventMetadataModified, "false"}, more...)...)
		})
	default:
	}
}
