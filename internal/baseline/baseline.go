// Package baseline is a secrets engine that does nothing: what it takes to read from
// it is what Vault, its plugin protocol and the SDK take. The benchmark measures
// the engine against it. It is not a part of the product.
//
// Its answers have the fields and the sizes of those of the engine, so that Vault
// has the same to encode, and to hash for its audit log.
package baseline

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// What can be read: a constant with a lease, and the same without one.
const (
	Leased = "leased/"
	Plain  = "plain/"
)

const (
	lease      = time.Hour
	secretType = "baseline"
)

// answer is what every read says.
var answer = map[string]any{
	"domain":                 "127.0.0.1:65535",
	"client_id":              strings.Repeat("c", 32),
	"client_secret":          strings.Repeat("s", 64),
	"fallback_client_secret": "",
	"client_secrets":         []string{strings.Repeat("s", 64)},
	"rotation_period":        int64(lease / time.Second),
	"last_vault_rotation":    "2026-01-02T03:04:05Z",
	"ttl":                    int64(lease / time.Second),
}

// Factory makes the backend of one mount.
func Factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	secret := &framework.Secret{
		Type: secretType,
		Revoke: func(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
			return nil, nil
		},
	}
	b := &framework.Backend{
		BackendType: logical.TypeLogical,
		Secrets:     []*framework.Secret{secret},
		Paths: []*framework.Path{
			path(Leased, func(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
				resp := secret.Response(maps.Clone(answer), nil)
				resp.Secret.TTL, resp.Secret.MaxTTL = lease, lease
				return resp, nil
			}),
			path(Plain, func(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
				return &logical.Response{Data: maps.Clone(answer)}, nil
			}),
		},
	}
	return b, b.Setup(ctx, conf)
}

func path(prefix string, read framework.OperationFunc) *framework.Path {
	return &framework.Path{
		Pattern: prefix + framework.GenericNameRegex("name") + "$",
		Fields:  map[string]*framework.FieldSchema{"name": {Type: framework.TypeString}},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: &framework.PathOperation{Callback: read},
		},
	}
}
