package devvault

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
)

// Cluster is several Vault nodes with integrated storage, behind a load balancer
// that sends every request to the active one, as Vault's health checks let it.
type Cluster struct {
	Nodes []*Server
	// Front is the cluster as its users see it: an address, a client and a token.
	Front *Server

	balancer *http.Server
	active   atomic.Pointer[Server]
	stop     context.CancelFunc
	watching sync.WaitGroup
}

// StartCluster starts n nodes, and waits until one is active and the others are
// standbys. o.Storage is raft.
func StartCluster(ctx context.Context, o ServerOptions, n int) (_ *Cluster, err error) {
	o.Storage = "raft"
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &Cluster{stop: stop}
	defer func() {
		if err != nil {
			c.Stop(context.WithoutCancel(ctx))
		}
	}()
	for i := range n {
		node := o
		node.NodeID, node.WorkDir = fmt.Sprint("node", i), filepath.Join(o.WorkDir, fmt.Sprint("node", i))
		if err := os.MkdirAll(node.WorkDir, 0o750); err != nil {
			return nil, err
		}
		server, err := c.addNode(ctx, node)
		if err != nil {
			return nil, err
		}
		c.Nodes = append(c.Nodes, server)
	}
	if err := c.balance(ctx); err != nil {
		return nil, err
	}
	c.watching.Go(func() { c.watch(watch) })
	if err := c.AwaitActive(ctx); err != nil {
		return nil, err
	}
	return c, c.awaitVoters(ctx)
}

// awaitVoters waits until every node has a vote: before that the cluster does
// not survive the loss of its leader.
func (c *Cluster) awaitVoters(ctx context.Context) error {
	return c.Nodes[0].process.waitUntil(ctx, "a cluster of voters", func() bool {
		answer, err := c.Nodes[0].client.Logical().ReadWithContext(ctx, "sys/storage/raft/configuration")
		if err != nil || answer == nil {
			return false
		}
		config, _ := answer.Data["config"].(map[string]any)
		servers, _ := config["servers"].([]any)
		voters := 0
		for _, each := range servers {
			if server, ok := each.(map[string]any); ok && server["voter"] == true {
				voters++
			}
		}
		return voters == len(c.Nodes)
	})
}

func (c *Cluster) addNode(ctx context.Context, o ServerOptions) (*Server, error) {
	if len(c.Nodes) == 0 {
		return c.firstNode(ctx, o)
	}
	first := c.Nodes[0]
	server, err := newServer(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := server.start(ctx); err != nil {
		return nil, err
	}
	server.unseal, server.token = first.unseal, first.token
	server.client.SetToken(first.token)
	if _, err := server.client.Sys().RaftJoinWithContext(ctx, &api.RaftJoinRequest{LeaderAPIAddr: first.Addr()}); err != nil {
		server.Kill()
		return nil, err
	}
	return server, server.UnsealAsStandby(ctx)
}

func (c *Cluster) firstNode(ctx context.Context, o ServerOptions) (*Server, error) {
	server, err := StartServer(ctx, o)
	if err != nil {
		return nil, err
	}
	// New nodes get a vote sooner than by default.
	_, err = server.client.Logical().WriteWithContext(ctx, "sys/storage/raft/autopilot/configuration",
		map[string]any{"server_stabilization_time": "1s"})
	if err != nil {
		server.Kill()
		return nil, err
	}
	return server, nil
}

// balance starts the load balancer.
func (c *Cluster) balance(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			target := &url.URL{Scheme: "http", Host: "127.0.0.1:1"} // nobody is there
			if active := c.active.Load(); active != nil {
				target.Host = active.address
			}
			r.SetURL(target)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusServiceUnavailable) },
	}
	c.balancer = &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}
	go func() { _ = c.balancer.Serve(listener) }() // ends with Stop

	config := api.DefaultConfig()
	config.Address = "http://" + listener.Addr().String()
	client, err := api.NewClient(config)
	if err != nil {
		return err
	}
	client.SetMaxRetries(0)
	client.SetToken(c.Nodes[0].token)
	c.Front = &Server{
		options: c.Nodes[0].options, flavour: c.Nodes[0].flavour, address: listener.Addr().String(), client: client, token: c.Nodes[0].token,
	}
	return nil
}

// watch keeps in mind which node is active.
func (c *Cluster) watch(ctx context.Context) {
	for ctx.Err() == nil {
		c.active.Store(c.findActive(ctx))
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c *Cluster) findActive(ctx context.Context) *Server {
	for _, node := range c.Nodes {
		short, done := context.WithTimeout(ctx, 5*time.Second) // the machine may be busy
		health, err := node.client.Sys().HealthWithContext(short)
		done()
		if err == nil && health.Initialized && !health.Sealed && !health.Standby {
			return node
		}
	}
	return nil
}

// Active is the active node; nil: there is none at present.
func (c *Cluster) Active() *Server { return c.active.Load() }

// AwaitActive waits until there is an active node.
func (c *Cluster) AwaitActive(ctx context.Context) error {
	for c.Active() == nil {
		select {
		case <-ctx.Done():
			return fmt.Errorf("no node became active: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// Revive starts a node that was killed, and unseals it.
func (c *Cluster) Revive(ctx context.Context, node *Server) error {
	if err := node.start(ctx); err != nil {
		return err
	}
	return node.UnsealAsStandby(ctx)
}

// Stop ends the cluster.
func (c *Cluster) Stop(ctx context.Context) {
	c.stop()
	c.watching.Wait()
	if c.balancer != nil {
		_ = c.balancer.Close()
	}
	for _, node := range c.Nodes {
		short, done := context.WithTimeout(ctx, 10*time.Second)
		_ = node.Stop(short)
		done()
	}
}
