//go:build integration

package integration

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/devvault"
)

// nodes are several Vault servers with integrated storage.
type nodes []*devvault.Server

// newClusterSuite is a suite whose Vault is three nodes, behind a load balancer that
// sends every request to the active one, as their health checks tell it.
func newClusterSuite(t *testing.T) (*suite, nodes) {
	t.Helper()
	var cluster nodes
	s := newSuiteOf(t, devstack.Options{StartVault: func(ctx context.Context, o devvault.ServerOptions) (*devvault.Server, error) {
		o.Storage = "raft"
		dir := o.WorkDir
		for i := range 3 {
			o.NodeID = fmt.Sprint(i)
			o.WorkDir = filepath.Join(dir, o.NodeID)
			if err := os.MkdirAll(o.WorkDir, 0o750); err != nil {
				return nil, err
			}
			node, err := devvault.StartServer(ctx, o)
			if err != nil {
				return nil, err
			}
			t.Cleanup(node.Kill)
			cluster = append(cluster, node)
			o.Join = cluster[0]
		}
		return cluster[0].Behind(cluster.balance(t))
	}})
	return s, cluster
}

// balance starts the load balancer, and gives its address.
func (n nodes) balance(t *testing.T) string {
	t.Helper()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			target := &url.URL{Scheme: "http", Host: "127.0.0.1:1"} // nobody is there
			if active := n.active(); active != nil {
				target.Host = active.Addr()[len("http://"):]
			}
			r.SetURL(target)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusServiceUnavailable) },
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

// active is the active node; nil: there is none at present.
func (n nodes) active() *devvault.Server {
	for _, node := range n {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // one that was killed may leave connections behind
		active := node.Active(ctx)
		cancel()
		if active {
			return node
		}
	}
	return nil
}

// leader is the active node, which another than the former one has to be.
func (s *suite) leader(n nodes, former *devvault.Server) (leader *devvault.Server) {
	s.t.Helper()
	s.eventually("a node is active", func() bool {
		leader = n.active()
		return leader != nil && leader != former
	})
	return leader
}
