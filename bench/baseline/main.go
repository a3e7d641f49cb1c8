// Command baseline is a plugin that does nothing: a read from it costs what Vault, its
// plugin protocol and the SDK cost. The benchmark measures the engine beside it.
//
// Its answers have the fields and the sizes of the engine's, so that both have the same
// to encode.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/plugin"
)

const lease = time.Hour

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

func main() {
	if err := plugin.ServeMultiplex(&plugin.ServeOpts{BackendFactoryFunc: factory}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// factory makes the backend of one mount. Its paths are the engine's: creds/ has a
// lease, static-creds/ has none.
func factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	secret := &framework.Secret{
		Type: "baseline",
		Revoke: func(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
			return nil, nil
		},
	}
	b := &framework.Backend{
		BackendType: logical.TypeLogical,
		Secrets:     []*framework.Secret{secret},
		Paths: []*framework.Path{
			path("creds/", func() *logical.Response {
				resp := secret.Response(maps.Clone(answer), nil)
				resp.Secret.TTL, resp.Secret.MaxTTL = lease, lease
				return resp
			}),
			path("static-creds/", func() *logical.Response { return &logical.Response{Data: maps.Clone(answer)} }),
		},
	}
	return b, b.Setup(ctx, conf)
}

func path(prefix string, read func() *logical.Response) *framework.Path {
	return &framework.Path{
		Pattern: prefix + framework.GenericNameRegex("name") + "$",
		Fields:  map[string]*framework.FieldSchema{"name": {Type: framework.TypeString}},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: &framework.PathOperation{
				Callback: func(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
					return read(), nil
				},
			},
		},
	}
}
