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

// answer is what a read of creds/ and static-creds/ says.
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

// token is what a read of tokens/ says.
var token = map[string]any{
	"domain":       "127.0.0.1:65535",
	"access_token": strings.Repeat("t", 711),
	"token_type":   "Bearer",
	"expires_at":   "2026-01-02T03:04:05Z",
	"expires_in":   int64(lease / time.Second),
	"scopes":       []string{},
	"audience":     "https://api.example.com/",
	"metadata":     map[string]string{},
}

func main() {
	if err := plugin.ServeMultiplex(&plugin.ServeOpts{BackendFactoryFunc: factory}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// factory makes the backend of one mount. Its paths are the engine's: creds/ and
// tokens/ have a lease, static-creds/ has none.
func factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	secret := &framework.Secret{
		Type: "baseline",
		Revoke: func(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
			return nil, nil
		},
	}
	leased := func(data map[string]any) func() *logical.Response {
		return func() *logical.Response {
			resp := secret.Response(maps.Clone(data), nil)
			resp.Secret.TTL, resp.Secret.MaxTTL = lease, lease
			return resp
		}
	}
	b := &framework.Backend{
		BackendType: logical.TypeLogical,
		Secrets:     []*framework.Secret{secret},
		Paths: []*framework.Path{
			path("creds/", leased(answer)),
			path("tokens/", leased(token)),
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
