package storage

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

const from = liberr.FromStorage

// driver is the branch actor. It has no state but its subscribers.
type driver struct {
	env *branch.Env
	bus branch.Bus
}

// New makes the branch actor.
func New(env *branch.Env) actor.Producer {
	return func() actor.Actor { return &driver{env: env} }
}

// Receive serves calls and subscriptions.
func (d *driver) Receive(ctx actor.Context) {
	if d.bus.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *call.Call:
		routes.Serve(d, ctx, m, from)
	default:
		kit.Unhandled(ctx, m)
	}
}

// listFlags are all filters of virConnectListAllStoragePools: states, persistence, autostart and kinds.
const listFlags = 1<<20 - 1

func (d *driver) listAll(_ actor.Context, _ *call.Request, a *protocol.ConnectListAllStoragePoolsArgs) (*protocol.ConnectListAllStoragePoolsRet, error) {
	return &protocol.ConnectListAllStoragePoolsRet{}, call.CheckFlags(a.Flags, listFlags, from, "storageConnectListAllStoragePools")
}

func (d *driver) list(_ actor.Context, _ *call.Request, a *protocol.ConnectListStoragePoolsArgs) (*protocol.ConnectListStoragePoolsRet, error) {
	return &protocol.ConnectListStoragePoolsRet{}, checkMax(a.Maxnames, protocol.RemoteStoragePoolListMax, "REMOTE_STORAGE_POOL_LIST_MAX")
}

func (d *driver) listDefined(_ actor.Context, _ *call.Request, a *protocol.ConnectListDefinedStoragePoolsArgs) (*protocol.ConnectListDefinedStoragePoolsRet, error) {
	return &protocol.ConnectListDefinedStoragePoolsRet{}, checkMax(a.Maxnames, protocol.RemoteStoragePoolListMax, "REMOTE_STORAGE_POOL_LIST_MAX")
}

func (d *driver) listVolumes(_ actor.Context, _ *call.Request, a *protocol.StoragePoolListVolumesArgs) (*protocol.StoragePoolListVolumesRet, error) {
	if err := checkMax(a.Maxnames, protocol.RemoteStorageVolListMax, "REMOTE_STORAGE_VOL_LIST_MAX"); err != nil {
		return nil, err
	}
	return nil, missing(a.Pool)
}

// checkMax refuses what the daemon's own argument check refuses before the driver sees the call.
func checkMax(n int32, limit int, name string) error {
	switch {
	case n < 0:
		return liberr.Raw(liberr.FromRPC, liberr.RPC, "maxnames must be non-negative")
	case int(n) > limit:
		return liberr.Raw(liberr.FromRPC, liberr.RPC, "maxnames > "+name)
	}
	return nil
}

func (d *driver) lookupByName(_ actor.Context, _ *call.Request, a *protocol.StoragePoolLookupByNameArgs) (*protocol.StoragePoolLookupByNameRet, error) {
	return nil, missingName(a.Name)
}

func (d *driver) lookupByUUID(_ actor.Context, _ *call.Request, a *protocol.StoragePoolLookupByUUIDArgs) (*protocol.StoragePoolLookupByUUIDRet, error) {
	return nil, liberr.New(from, liberr.NoStoragePool, "no storage pool with matching uuid '%s'", a.UUID)
}

func (d *driver) lookupByTarget(_ actor.Context, _ *call.Request, a *protocol.StoragePoolLookupByTargetPathArgs) (*protocol.StoragePoolLookupByTargetPathRet, error) {
	return nil, liberr.New(from, liberr.NoStoragePool, "no storage pool with matching target path '%s'", a.Path)
}

// volumeByKey quotes nothing, volumeByPath does: libvirt's words.
func (d *driver) volumeByKey(_ actor.Context, _ *call.Request, a *protocol.StorageVolLookupByKeyArgs) (*protocol.StorageVolLookupByKeyRet, error) {
	return nil, liberr.New(from, liberr.NoStorageVol, "no storage vol with matching key %s", a.Key)
}

func (d *driver) volumeByPath(_ actor.Context, _ *call.Request, a *protocol.StorageVolLookupByPathArgs) (*protocol.StorageVolLookupByPathRet, error) {
	return nil, liberr.New(from, liberr.NoStorageVol, "no storage vol with matching path '%s'", a.Path)
}

// wipeAlgorithms is how many ways to wipe there are.
const wipeAlgorithms = 10

func (d *driver) wipePattern(_ actor.Context, _ *call.Request, a *protocol.StorageVolWipePatternArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "storageVolWipePattern"); err != nil {
		return nil, err
	}
	if a.Algorithm >= wipeAlgorithms {
		return nil, liberr.New(from, liberr.InvalidArg, "wiping algorithm %d not supported", int32(a.Algorithm))
	}
	return nil, missingName(a.Vol.Pool)
}

// findSources refuses, kind by kind, as libvirt does: no discovery for this kind, no host to ask, no backend.
func (d *driver) findSources(_ actor.Context, _ *call.Request, a *protocol.ConnectFindStoragePoolSourcesArgs) (*protocol.ConnectFindStoragePoolSourcesRet, error) {
	for i, k := range kinds {
		switch {
		case k.name != a.Type:
			continue
		case k.discovery == never:
			return nil, liberr.New(from, liberr.NoSupportCode, "pool type '%s' does not support source discovery", a.Type)
		case k.discovery == byHost && a.SrcSpec == nil:
			return nil, liberr.New(from, liberr.InvalidArg, "hostname must be specified for %s sources", a.Type)
		}
		return nil, liberr.New(from, liberr.InternalError, "missing backend for pool type %d (%s)", i, a.Type)
	}
	return nil, liberr.New(from, liberr.InternalError, "unknown storage pool type %s", a.Type)
}

func (d *driver) capabilities(_ actor.Context, _ *call.Request, a *protocol.ConnectGetStoragePoolCapabilitiesArgs) (*protocol.ConnectGetStoragePoolCapabilitiesRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "storageConnectGetStoragePoolCapabilities"); err != nil {
		return nil, err
	}
	return &protocol.ConnectGetStoragePoolCapabilitiesRet{Capabilities: capabilitiesXML()}, nil
}

// missing is the answer to a call on a pool that is not there; volumes name their pool only.
func missing(p protocol.StoragePool) error {
	return liberr.New(from, liberr.NoStoragePool, "no storage pool with matching uuid '%s' (%s)", p.UUID, p.Name)
}

func missingName(name string) error {
	return liberr.New(from, liberr.NoStoragePool, "no storage pool with matching name '%s'", name)
}
