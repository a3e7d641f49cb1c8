package devvault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/hashicorp/vault/api"
)

// ServerOptions are how a Vault server is started.
type ServerOptions struct {
	Bin       string  // Vault's binary, or OpenBao's
	PluginDir string  // without symbolic links
	WorkDir   string  // for configuration, log and storage; must exist
	Storage   string  // "inmem", or "raft", which survives a restart
	LogLevel  string  // default "trace"
	NodeID    string  // of raft, in a cluster; "": there is one node
	Join      *Server // the first node of the cluster, of which this one becomes a standby
	Settings  string  // more of its configuration, in HCL
}

// Server is a running Vault, or OpenBao: one node, initialised and unsealed with
// one key, over plain HTTP on loopback.
type Server struct {
	options ServerOptions
	flavour flavour
	address string
	config  string
	client  *api.Client
	unseal  string
	token   string
	program *Program
}

// StartServer starts a Vault and waits until it is active, or a standby.
func StartServer(ctx context.Context, o ServerOptions) (*Server, error) {
	s, err := newServer(ctx, o)
	if err != nil {
		return nil, err
	}
	if err = s.start(ctx); err == nil && o.Join != nil {
		err = s.join(ctx, o.Join)
	} else if err == nil {
		err = s.initialize(ctx)
	}
	if err != nil {
		s.Kill()
		return nil, err
	}
	return s, nil
}

// newServer is a server that does not run yet.
func newServer(ctx context.Context, o ServerOptions) (*Server, error) {
	if o.LogLevel == "" {
		o.LogLevel = "trace"
	}
	s := &Server{options: o, config: filepath.Join(o.WorkDir, "vault.hcl")}
	var err error
	if s.flavour, err = flavourOf(ctx, o.Bin); err != nil {
		return nil, err
	}
	if err := s.configure(); err != nil {
		return nil, err
	}
	clientConfig := api.DefaultConfig()
	clientConfig.Address = s.Addr()
	client, err := api.NewClient(clientConfig)
	if err != nil {
		return nil, err
	}
	client.SetMaxRetries(0) // what is seen is what Vault answered
	client.SetNamespace("")
	s.client = client
	return s, nil
}

func (s *Server) configure() error {
	var err error
	if s.address, err = FreeAddress(); err != nil {
		return err
	}
	cluster, err := FreeAddress()
	if err != nil {
		return err
	}
	storage := "storage \"inmem\" {}\n"
	if s.options.Storage == "raft" {
		path := filepath.Join(s.options.WorkDir, "storage")
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		patience := 1 // a lone node has none to wait for
		if s.options.NodeID != "" {
			patience = 3 // with a leader that a busy machine keeps from answering for a second
		}
		storage = fmt.Sprintf("storage \"raft\" {\n  path = %q\n  node_id = %q\n  performance_multiplier = %d\n}\n",
			path, "node"+s.options.NodeID, patience)
	}
	text := storage + s.flavour.settings + fmt.Sprintf(`
listener "tcp" {
  address         = %q
  cluster_address = %q
  tls_disable     = true
}
api_addr         = "http://%s"
cluster_addr     = "https://%s"
plugin_directory = %q
log_level        = %q
`, s.address, cluster, s.address, cluster, s.options.PluginDir, s.options.LogLevel) + s.options.Settings
	return os.WriteFile(s.config, []byte(text), 0o600)
}

func (s *Server) start(ctx context.Context) error {
	cmd := exec.Command(s.options.Bin, "server", "-config", s.config) //nolint:gosec,noctx // lives on after the call; ended by Stop
	// Without raft's autopilot: a node has a vote as soon as it joins, and Vault 1.21
	// cannot hang, as it does now and then for ever where it ends leadership, such as for
	// the restore of a snapshot, at a moment at which the autopilot looks after the nodes.
	cmd.Env = append(environment(), s.flavour.prefix+"ADDR="+s.Addr(), s.flavour.prefix+"RAFT_AUTOPILOT_DISABLE=true")
	var err error
	if s.program, err = StartProgram(cmd, s.LogFile()); err != nil {
		return err
	}
	return s.program.WaitUntil(ctx, "answering", func() bool {
		_, err := s.client.Sys().SealStatusWithContext(ctx)
		return err == nil
	})
}

func (s *Server) initialize(ctx context.Context) error {
	keys, err := s.client.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return err
	}
	s.unseal, s.token = keys.KeysB64[0], keys.RootToken
	s.client.SetToken(s.token)
	if err := s.Unseal(ctx); err != nil {
		return err
	}
	return s.program.WaitUntil(ctx, "active", func() bool { return s.Active(ctx) })
}

func (s *Server) join(ctx context.Context, first *Server) error {
	s.unseal, s.token = first.unseal, first.token
	s.client.SetToken(s.token)
	if _, err := s.client.Sys().RaftJoinWithContext(ctx, &api.RaftJoinRequest{LeaderAPIAddr: first.Addr()}); err != nil {
		return err
	}
	return s.Unseal(ctx)
}

// Unseal unseals the server and waits until it is active; in a cluster, active or a
// standby.
func (s *Server) Unseal(ctx context.Context) error {
	if _, err := s.client.Sys().UnsealWithContext(ctx, s.unseal); err != nil {
		return err
	}
	return s.program.WaitUntil(ctx, "unsealed", func() bool {
		health, err := s.client.Sys().HealthWithContext(ctx)
		return err == nil && health.Initialized && !health.Sealed && (!health.Standby || s.options.NodeID != "")
	})
}

// Active says whether the server is unsealed, and not a standby.
func (s *Server) Active(ctx context.Context) bool {
	health, err := s.client.Sys().HealthWithContext(ctx)
	return err == nil && health.Initialized && !health.Sealed && !health.Standby
}

// Behind is the server as its users see it by way of a proxy at an address.
func (s *Server) Behind(address string) (*Server, error) {
	seen := &Server{options: s.options, flavour: s.flavour, address: address, token: s.token}
	var err error
	if seen.client, err = s.client.Clone(); err != nil {
		return nil, err
	}
	seen.client.SetToken(s.token)
	return seen, seen.client.SetAddress(seen.Addr())
}

// PID is the process ID of the server itself.
func (s *Server) PID() int { return s.program.cmd.Process.Pid }

// Plugins are the process IDs of the server's plugins, where they can be seen.
func (s *Server) Plugins() []int { return s.program.children() }

// EnableAudit has the server write an audit log.
func (s *Server) EnableAudit(ctx context.Context, file string) error {
	return s.client.Sys().EnableAuditWithOptionsWithContext(ctx, "file", &api.EnableAuditOptions{
		Type: "file", Options: map[string]string{"file_path": file},
	})
}

// Restart stops the server, if it runs, and starts it again on the same storage.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	return s.Unseal(ctx)
}

// Stop ends the server and its plugins.
func (s *Server) Stop(ctx context.Context) error {
	if s == nil || s.program == nil {
		return nil
	}
	return s.program.Stop(ctx)
}

// Kill ends the server and its plugins at once.
func (s *Server) Kill() {
	if s.program != nil {
		s.program.kill()
	}
}

// Addr is the server's URL.
func (s *Server) Addr() string { return "http://" + s.address }

// Token is the root token.
func (s *Server) Token() string { return s.token }

// Binary is Vault's binary, or OpenBao's.
func (s *Server) Binary() string { return s.options.Bin }

// Product is what the server calls itself: Vault, or OpenBao.
func (s *Server) Product() string { return s.flavour.product }

// Command is what its users call its binary: vault, or bao.
func (s *Server) Command() string { return s.flavour.command }

// LogFile holds the server's log, with its plugins' in it.
func (s *Server) LogFile() string { return filepath.Join(s.options.WorkDir, "vault.log") }

// Client has the root token.
func (s *Server) Client() *api.Client { return s.client }

// RegisterPlugin enters a secrets engine into the catalog. The binary is in the
// plugin directory.
func (s *Server) RegisterPlugin(ctx context.Context, name, binary, version string) error {
	program, err := os.Open(binary) //nolint:gosec // the plugin under test
	if err != nil {
		return err
	}
	defer func() { _ = program.Close() }()
	sum := sha256.New() // piece by piece: the race detector shadows all that is in memory
	if _, err := io.Copy(sum, program); err != nil {
		return err
	}
	return s.client.Sys().RegisterPluginWithContext(ctx, &api.RegisterPluginInput{
		Name: name, Type: api.PluginTypeSecrets, Command: filepath.Base(binary),
		SHA256: hex.EncodeToString(sum.Sum(nil)), Version: version,
	})
}

// EnableSecrets mounts a plugin.
func (s *Server) EnableSecrets(ctx context.Context, path, plugin, version string) error {
	return s.client.Sys().MountWithContext(ctx, path, &api.MountInput{
		Type: plugin, Config: api.MountConfigInput{PluginVersion: version},
	})
}
