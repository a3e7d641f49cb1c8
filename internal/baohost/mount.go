package baohost

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/helper/pluginutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/plugin/pb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// MountOptions are how a mount is made.
type MountOptions struct {
	// Storage is the mount's.
	Storage logical.Storage
	// Standby is a node that answers reads and cannot write: what OpenBao's
	// standbys are unless disable_standby_reads is set.
	Standby bool
	// Passwords are password policies: name to a password.
	Passwords map[string]string
}

// Mount is a plugin that is mounted.
type Mount struct {
	// Type, Version and SealWrapped are what the plugin says of itself.
	Type        logical.BackendType
	Version     string
	SealWrapped []string

	backend pb.BackendClient
}

// Inspect does what OpenBao does when a plugin is registered: it sets it up with
// nothing, to learn its type and version.
func (h *Host) Inspect(ctx context.Context) (*Mount, error) {
	m, err := h.setup(ctx, nil, map[string]string{})
	if err != nil {
		return nil, err
	}
	return m, m.Unmount(ctx)
}

// Mount sets the plugin up for a mount and initialises it. Mounts share the process.
func (h *Host) Mount(ctx context.Context, o MountOptions) (*Mount, error) {
	m, err := h.setup(ctx, &o, map[string]string{"plugin_name": "auth0", "plugin_type": "secret", "plugin_version": ""})
	if err != nil {
		return nil, err
	}
	reply, err := m.backend.Initialize(ctx, &pb.InitializeArgs{})
	if err != nil {
		return nil, err
	}
	return m, pb.ProtoErrToErr(reply.Err)
}

func (h *Host) setup(ctx context.Context, o *MountOptions, config map[string]string) (*Mount, error) {
	h.mu.Lock()
	h.sessions++
	conn := &muxedConn{ClientConn: h.session.conn, id: fmt.Sprint("mount", h.sessions)}
	h.mu.Unlock()
	broker := h.session.broker
	id := broker.NextId()
	go broker.AcceptAndServe(id, func(options []grpc.ServerOption) *grpc.Server { // ends with the connection
		server := h.newServer(options)
		pb.RegisterSystemViewServer(server, &systemView{options: o})
		pb.RegisterStorageServer(server, &storage{options: o})
		return server
	})
	m := &Mount{backend: pb.NewBackendClient(conn)}
	setup, err := m.backend.Setup(ctx, &pb.SetupArgs{BrokerID: id, Config: config, BackendUUID: conn.id})
	if err != nil {
		return nil, err
	}
	if setup.Err != "" {
		return nil, errors.New(setup.Err)
	}
	kind, err := m.backend.Type(ctx, &pb.Empty{})
	if err != nil {
		return nil, err
	}
	version, err := logical.NewPluginVersionClient(conn).Version(ctx, &logical.Empty{})
	if err != nil {
		return nil, err
	}
	special, err := m.backend.SpecialPaths(ctx, &pb.Empty{})
	if err != nil {
		return nil, err
	}
	m.Type, m.Version, m.SealWrapped = logical.BackendType(kind.Type), version.PluginVersion, special.GetPaths().GetSealWrapStorage()
	return m, nil
}

// Request sends a request. As the server does, it asks first whether an update
// creates something.
func (m *Mount) Request(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	if req.Operation == logical.UpdateOperation {
		if err := m.checkExistence(ctx, req); err != nil {
			return nil, err
		}
	}
	sent, err := pb.LogicalRequestToProtoRequest(req)
	if err != nil {
		return nil, err
	}
	reply, err := m.backend.HandleRequest(ctx, &pb.HandleRequestArgs{Request: sent})
	if err != nil {
		return nil, err
	}
	answer, err := pb.ProtoResponseToLogicalResponse(reply.Response)
	if err != nil {
		return nil, err
	}
	return answer, pb.ProtoErrToErr(reply.Err)
}

func (m *Mount) checkExistence(ctx context.Context, req *logical.Request) error {
	sent, err := pb.LogicalRequestToProtoRequest(req)
	if err != nil {
		return err
	}
	reply, err := m.backend.HandleExistenceCheck(ctx, &pb.HandleExistenceCheckArgs{Request: sent})
	if err != nil {
		return err
	}
	if reply.Err == nil && reply.CheckFound && !reply.Exists {
		req.Operation = logical.CreateOperation
	}
	return pb.ProtoErrToErr(reply.Err)
}

// Invalidate tells the plugin that another node has written the key.
func (m *Mount) Invalidate(ctx context.Context, key string) error {
	_, err := m.backend.InvalidateKey(ctx, &pb.InvalidateKeyArgs{Key: key})
	return err
}

// Unmount has the plugin clean up.
func (m *Mount) Unmount(ctx context.Context) error {
	_, err := m.backend.Cleanup(ctx, &pb.Empty{})
	return err
}

// muxedConn tells the plugin which mount a call is for.
type muxedConn struct {
	*grpc.ClientConn
	id string
}

func (c *muxedConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ctx = metadata.NewOutgoingContext(ctx, metadata.Pairs(pluginutil.MultiplexingCtxKey, c.id))
	return c.ClientConn.Invoke(ctx, method, args, reply, opts...)
}

func (o *MountOptions) replicationState() consts.ReplicationState {
	if o.Standby {
		return consts.ReplicationDRDisabled | consts.ReplicationPerformanceStandby
	}
	return consts.ReplicationDRDisabled | consts.ReplicationPerformancePrimary
}
