// Package baohost runs a plugin as an OpenBao server does: with its handshake,
// its environment, and no more of the plugin protocol than OpenBao serves. What
// the plugin asks for beyond that is answered as gRPC answers it (Unimplemented),
// and remembered. It is for tests only.
//
// It follows OpenBao's sources (sdk/plugin, sdk/helper/pluginutil and
// internal/vault/plugin_catalog.go, of the 2.6 and 2.7 series). It is not OpenBao.
package baohost

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/vault/sdk/helper/pluginutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// Version is the version of OpenBao that the host says it is.
	Version = "2.7.1"

	pluginName      = "backend"
	protocolVersion = 5
)

// handshake is OpenBao's: it kept the cookie of the server that it was forked from.
var handshake = plugin.HandshakeConfig{
	MagicCookieKey:   "VAULT_BACKEND_PLUGIN",
	MagicCookieValue: "6669da05-b1c8-4f49-97d9-c8e5bed98e20",
}

// Host is a running plugin process and its host.
type Host struct {
	session *session
	client  *plugin.Client
	log     *buffer

	mu       sync.Mutex
	lacking  []string // methods that were called and are not OpenBao's
	sessions int
}

// Start starts the plugin's process. None is mounted yet.
func Start(ctx context.Context, binary string) (_ *Host, err error) {
	program, err := os.ReadFile(binary) //nolint:gosec // the plugin under test
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(program)
	h := &Host{log: &buffer{}}
	cmd := exec.Command(binary) //nolint:noctx // lives on after the call; ended by Stop
	cmd.Env = environment()
	h.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: map[int]plugin.PluginSet{protocolVersion: {pluginName: &dispenser{}}},
		Cmd:              cmd,
		SecureConfig:     &plugin.SecureConfig{Checksum: sum[:], Hash: sha256.New()},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: h.log}),
	})
	defer func() {
		if err != nil {
			h.client.Kill()
		}
	}()
	protocol, err := h.client.Client()
	if err != nil {
		return nil, err
	}
	dispensed, err := protocol.Dispense(pluginName)
	if err != nil {
		return nil, err
	}
	var ok bool
	if h.session, ok = dispensed.(*session); !ok {
		return nil, fmt.Errorf("dispensed a %T", dispensed)
	}
	muxed, err := pluginutil.MultiplexingSupported(ctx, h.session.conn, pluginName)
	if err == nil && !muxed {
		err = errors.New("the plugin does not serve several mounts")
	}
	return h, err
}

// environment is what OpenBao tells a plugin: each variable under its own name
// and under the one that plugins made for Vault look for.
func environment() []string {
	told := []string{"VERSION=" + Version, "PLUGIN_METADATA_MODE=false", "PLUGIN_AUTOMTLS_ENABLED=true"}
	variables := make([]string, 0, 2*len(told))
	for _, variable := range told {
		variables = append(variables, "BAO_"+variable, "VAULT_"+variable)
	}
	return variables
}

// Stop ends the plugin's process.
func (h *Host) Stop() { h.client.Kill() }

// Log is what the plugin, and what runs it, have logged: all levels.
func (h *Host) Log() string { return h.log.String() }

// Lacking are the methods that the plugin has called and OpenBao does not have,
// sorted, each once.
func (h *Host) Lacking() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.Sort(h.lacking)
	return slices.Compact(slices.Clone(h.lacking))
}

func (h *Host) lacks(method string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lacking = append(h.lacking, method)
}

// newServer is the server that the plugin calls back. It remembers calls of what
// it does not serve.
func (h *Host) newServer(options []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(options,
		grpc.MaxRecvMsgSize(math.MaxInt32),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.UnaryInterceptor(func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			answer, err := handle(ctx, request)
			if status.Code(err) == codes.Unimplemented {
				h.lacks(info.FullMethod)
			}
			return answer, err
		}),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			method, _ := grpc.MethodFromServerStream(stream)
			h.lacks(method)
			return status.Errorf(codes.Unimplemented, "unknown method %s", method)
		}),
	)...)
}

// session is the connection to a plugin's process.
type session struct {
	broker *plugin.GRPCBroker
	conn   *grpc.ClientConn
}

// dispenser gives the bare connection: go-plugin's part ends there.
type dispenser struct {
	plugin.NetRPCUnsupportedPlugin
}

func (*dispenser) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("this is the host's side")
}

func (*dispenser) GRPCClient(_ context.Context, broker *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return &session{broker: broker, conn: conn}, nil
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
