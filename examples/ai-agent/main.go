// Command ai-agent stands between an AI agent, or another client of the Model Context
// Protocol, and one MCP server that wants an access token. The agent is given the address
// of this program (mcp.json), and holds nothing: no secret, no token for Vault, and no
// access token, which it could be talked into giving away.
//
//	VAULT_ADDR=unix:///run/forwarder/vault.sock ai-agent -domain=example.eu.auth0.com -to=https://mcp.example.com/mcp
//
// Run it where the agent can reach its port, and not its process, files and socket of
// Vault Proxy (examples/vault-proxy): in another container of the pod, or as another
// user. Whoever reaches the port uses the MCP server as the application of the token
// role, so grant that no more than the agent may do.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"

	"vault-plugin-secrets-auth0/auth0login/vaulttokens"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8090", "`host:port` for the agent, on loopback")
	to := flag.String("to", "https://mcp.example.com/mcp", "`URL` of the MCP server; also the audience of its tokens")
	domain := flag.String("domain", "example.eu.auth0.com", "`domain` of the tenant that the tokens have to be of")
	path := flag.String("path", "auth0/tokens/mcp", "`path` of the token role in Vault")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, *listen, vaulttokens.Config{Path: *path, Domain: *domain, Audience: *to})
	stop()
	if !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

// run forwards until the context ends.
func run(ctx context.Context, listen string, config vaulttokens.Config) error {
	vault, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		return err
	}
	server, err := url.Parse(config.Audience)
	if err != nil {
		return err
	}
	transport := vaulttokens.New(ctx, vault, config).Client(ctx).Transport
	s := &http.Server{Addr: listen, Handler: forward(transport, server, listen), ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	return s.ListenAndServe()
}

// forward sends what comes to the path of the MCP server there, and nothing elsewhere. The
// transport puts the token in, in the place of whatever the agent has sent.
func forward(transport http.RoundTripper, server *url.URL, own string) http.Handler {
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			to := *server
			r.Out.URL, r.Out.Host = &to, ""
			r.Out.Header.Del("Cookie")
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			log.Print(err) // has no token in it
			http.Error(w, "the MCP server cannot be reached", http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Host != own || r.Header.Get("Origin") != "": // a web page in a browser of this machine
			http.Error(w, "not for browsers", http.StatusForbidden)
		case r.URL.Path != server.Path:
			http.NotFound(w, r)
		default:
			proxy.ServeHTTP(w, r)
		}
	})
}
