package baohost

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/plugin/pb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxLeaseTTL is OpenBao's default, of leases and of their maximum.
const maxLeaseTTL = 768 * time.Hour

// errNothing is what a plugin is told that asks while it is being registered.
var errNothing = errors.New("this must not be called while the plugin is set up, only later")

// systemView is what OpenBao serves of pb.SystemView: the methods that are here,
// and no others. (It lacks GenerateIdentityToken and all that has to do with
// rotation jobs, and there is no service for events or observations.)
type systemView struct {
	pb.UnimplementedSystemViewServer
	options *MountOptions // nil: nothing is mounted
}

func (s *systemView) DefaultLeaseTTL(context.Context, *pb.Empty) (*pb.TTLReply, error) {
	return answerIf(s.options, &pb.TTLReply{TTL: int64(maxLeaseTTL)})
}

func (s *systemView) MaxLeaseTTL(context.Context, *pb.Empty) (*pb.TTLReply, error) {
	return answerIf(s.options, &pb.TTLReply{TTL: int64(maxLeaseTTL)})
}

func (s *systemView) Tainted(context.Context, *pb.Empty) (*pb.TaintedReply, error) {
	return answerIf(s.options, &pb.TaintedReply{})
}

func (s *systemView) CachingDisabled(context.Context, *pb.Empty) (*pb.CachingDisabledReply, error) {
	return answerIf(s.options, &pb.CachingDisabledReply{})
}

func (s *systemView) ReplicationState(context.Context, *pb.Empty) (*pb.ReplicationStateReply, error) {
	if s.options == nil {
		return nil, errNothing
	}
	return &pb.ReplicationStateReply{State: int32(s.options.replicationState())}, nil //nolint:gosec // a few bits
}

func (s *systemView) ResponseWrapData(context.Context, *pb.ResponseWrapDataArgs) (*pb.ResponseWrapDataReply, error) {
	return answerIf(s.options, &pb.ResponseWrapDataReply{Err: "nothing is wrapped here"})
}

func (s *systemView) MlockEnabled(context.Context, *pb.Empty) (*pb.MlockEnabledReply, error) {
	return answerIf(s.options, &pb.MlockEnabledReply{})
}

func (s *systemView) LocalMount(context.Context, *pb.Empty) (*pb.LocalMountReply, error) {
	return answerIf(s.options, &pb.LocalMountReply{})
}

func (s *systemView) EntityInfo(context.Context, *pb.EntityInfoArgs) (*pb.EntityInfoReply, error) {
	return answerIf(s.options, &pb.EntityInfoReply{})
}

func (s *systemView) PluginEnv(context.Context, *pb.Empty) (*pb.PluginEnvReply, error) {
	return answerIf(s.options, &pb.PluginEnvReply{PluginEnvironment: &logical.PluginEnvironment{VaultVersion: Version}})
}

func (s *systemView) GroupsForEntity(context.Context, *pb.EntityInfoArgs) (*pb.GroupsForEntityReply, error) {
	return answerIf(s.options, &pb.GroupsForEntityReply{})
}

func (s *systemView) GeneratePasswordFromPolicy(
	_ context.Context, args *pb.GeneratePasswordFromPolicyRequest,
) (*pb.GeneratePasswordFromPolicyReply, error) {
	if s.options == nil {
		return nil, errNothing
	}
	password, ok := s.options.Passwords[args.PolicyName]
	if !ok {
		return nil, status.Error(codes.Internal, "failed to generate password")
	}
	return &pb.GeneratePasswordFromPolicyReply{Password: password}, nil
}

func (s *systemView) ClusterInfo(context.Context, *pb.Empty) (*pb.ClusterInfoReply, error) {
	return answerIf(s.options, &pb.ClusterInfoReply{ClusterID: "cluster"})
}

// answerIf is the answer, if something is mounted.
func answerIf[T any](options *MountOptions, answer *T) (*T, error) {
	if options == nil {
		return nil, errNothing
	}
	return answer, nil
}

// storage is the part of OpenBao's pb.Storage that plugins made for Vault know.
type storage struct {
	pb.UnimplementedStorageServer
	options *MountOptions
}

func (s *storage) List(ctx context.Context, args *pb.StorageListArgs) (*pb.StorageListReply, error) {
	if s.options == nil {
		return nil, errNothing
	}
	keys, err := s.options.Storage.List(ctx, args.Prefix)
	return &pb.StorageListReply{Keys: keys, Err: pb.ErrToString(err)}, nil
}

func (s *storage) Get(ctx context.Context, args *pb.StorageGetArgs) (*pb.StorageGetReply, error) {
	if s.options == nil {
		return nil, errNothing
	}
	entry, err := s.options.Storage.Get(ctx, args.Key)
	return &pb.StorageGetReply{Entry: pb.LogicalStorageEntryToProtoStorageEntry(entry), Err: pb.ErrToString(err)}, nil
}

func (s *storage) Put(ctx context.Context, args *pb.StoragePutArgs) (*pb.StoragePutReply, error) {
	err := s.writable()
	if err == nil {
		err = s.options.Storage.Put(ctx, pb.ProtoStorageEntryToLogicalStorageEntry(args.Entry))
	}
	return &pb.StoragePutReply{Err: pb.ErrToString(err)}, nil
}

func (s *storage) Delete(ctx context.Context, args *pb.StorageDeleteArgs) (*pb.StorageDeleteReply, error) {
	err := s.writable()
	if err == nil {
		err = s.options.Storage.Delete(ctx, args.Key)
	}
	return &pb.StorageDeleteReply{Err: pb.ErrToString(err)}, nil
}

func (s *storage) writable() error {
	switch {
	case s.options == nil:
		return errNothing
	case s.options.Standby:
		return logical.ErrReadOnly
	default:
		return nil
	}
}
