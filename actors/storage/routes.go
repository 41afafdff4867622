package storage

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// any32 allows every flag: where libvirt's driver leaves the check to the backend of the pool.
const any32 = ^uint32(0)

// routes is the driver's table of contents. What it does not name is not supported.
var routes = call.NewTable(
	call.Answer(protocol.ConnectNumOfStoragePools, none[protocol.Void, protocol.ConnectNumOfStoragePoolsRet]),
	call.Answer(protocol.ConnectNumOfDefinedStoragePools, none[protocol.Void, protocol.ConnectNumOfDefinedStoragePoolsRet]),
	call.Answer(protocol.ConnectListStoragePools, (*driver).list),
	call.Answer(protocol.ConnectListDefinedStoragePools, (*driver).listDefined),
	call.Answer(protocol.ConnectListAllStoragePools, (*driver).listAll),
	call.Answer(protocol.ConnectFindStoragePoolSources, (*driver).findSources),
	call.Answer(protocol.ConnectGetStoragePoolCapabilities, (*driver).capabilities),
	call.Answer(protocol.StoragePoolLookupByName, (*driver).lookupByName),
	call.Answer(protocol.StoragePoolLookupByUUID, (*driver).lookupByUUID),
	call.Answer(protocol.StoragePoolLookupByTargetPath, (*driver).lookupByTarget),
	call.Answer(protocol.StoragePoolListVolumes, (*driver).listVolumes),
	call.Answer(protocol.StorageVolLookupByKey, (*driver).volumeByKey),
	call.Answer(protocol.StorageVolLookupByPath, (*driver).volumeByPath),
	call.Answer(protocol.StorageVolWipePattern, (*driver).wipePattern),

	onPool(protocol.StoragePoolCreate, "storagePoolCreate", virt.StoragePoolCreateWithBuild|virt.StoragePoolCreateWithBuildOverwrite|virt.StoragePoolCreateWithBuildNoOverwrite,
		func(a *protocol.StoragePoolCreateArgs) (protocol.StoragePool, uint32) { return a.Pool, a.Flags }),
	onPool(protocol.StoragePoolBuild, "", any32,
		func(a *protocol.StoragePoolBuildArgs) (protocol.StoragePool, uint32) { return a.Pool, a.Flags }),
	onPool(protocol.StoragePoolDelete, "", any32,
		func(a *protocol.StoragePoolDeleteArgs) (protocol.StoragePool, uint32) { return a.Pool, a.Flags }),
	onPool(protocol.StoragePoolRefresh, "storagePoolRefresh", 0,
		func(a *protocol.StoragePoolRefreshArgs) (protocol.StoragePool, uint32) { return a.Pool, a.Flags }),
	onPool(protocol.StoragePoolGetXMLDesc, "storagePoolGetXMLDesc", virt.StorageXMLInactive,
		func(a *protocol.StoragePoolGetXMLDescArgs) (protocol.StoragePool, uint32) { return a.Pool, a.Flags }),
	onPool(protocol.StoragePoolDestroy, "", 0, func(a *protocol.StoragePoolDestroyArgs) (protocol.StoragePool, uint32) { return a.Pool, 0 }),
	onPool(protocol.StoragePoolUndefine, "", 0, func(a *protocol.StoragePoolUndefineArgs) (protocol.StoragePool, uint32) { return a.Pool, 0 }),
	onPool(protocol.StoragePoolGetInfo, "", 0, func(a *protocol.StoragePoolGetInfoArgs) (protocol.StoragePool, uint32) { return a.Pool, 0 }),
	onPool(protocol.StoragePoolGetAutostart, "", 0, func(a *protocol.StoragePoolGetAutostartArgs) (protocol.StoragePool, uint32) { return a.Pool, 0 }),
	onPool(protocol.StoragePoolSetAutostart, "", 0, func(a *protocol.StoragePoolSetAutostartArgs) (protocol.StoragePool, uint32) { return a.Pool, 0 }),
	onPool(protocol.StoragePoolNumOfVolumes, "", 0, func(a *protocol.StoragePoolNumOfVolumesArgs) (protocol.StoragePool, uint32) { return a.Pool, 0 }),
	onPool(protocol.StoragePoolIsActive, "", 0, func(a *protocol.StoragePoolIsActiveArgs) (protocol.StoragePool, uint32) { return a.Pool, 0 }),
	onPool(protocol.StoragePoolIsPersistent, "", 0, func(a *protocol.StoragePoolIsPersistentArgs) (protocol.StoragePool, uint32) { return a.Pool, 0 }),
	onPool(protocol.StoragePoolListAllVolumes, "storagePoolListAllVolumes", 0,
		func(a *protocol.StoragePoolListAllVolumesArgs) (protocol.StoragePool, uint32) { return a.Pool, a.Flags }),
	onPool(protocol.StorageVolLookupByName, "", 0, func(a *protocol.StorageVolLookupByNameArgs) (protocol.StoragePool, uint32) { return a.Pool, 0 }),
	onPool(protocol.StorageVolCreateXML, "storageVolCreateXML", virt.StorageVolCreatePreallocMetadata|virt.StorageVolCreateValidate,
		func(a *protocol.StorageVolCreateXMLArgs) (protocol.StoragePool, uint32) { return a.Pool, a.Flags }),
	onPool(protocol.StorageVolCreateXMLFrom, "storageVolCreateXMLFrom", virt.StorageVolCreatePreallocMetadata|virt.StorageVolCreateReflink|virt.StorageVolCreateValidate,
		func(a *protocol.StorageVolCreateXMLFromArgs) (protocol.StoragePool, uint32) { return a.Pool, a.Flags }),

	onVolume(protocol.StoragePoolLookupByVolume, "", 0, func(a *protocol.StoragePoolLookupByVolumeArgs) (protocol.StorageVol, uint32) { return a.Vol, 0 }),
	onVolume(protocol.StorageVolGetInfo, "", 0, func(a *protocol.StorageVolGetInfoArgs) (protocol.StorageVol, uint32) { return a.Vol, 0 }),
	onVolume(protocol.StorageVolGetPath, "", 0, func(a *protocol.StorageVolGetPathArgs) (protocol.StorageVol, uint32) { return a.Vol, 0 }),
	onVolume(protocol.StorageVolDelete, "", any32,
		func(a *protocol.StorageVolDeleteArgs) (protocol.StorageVol, uint32) { return a.Vol, a.Flags }),
	onVolume(protocol.StorageVolGetXMLDesc, "storageVolGetXMLDesc", 0,
		func(a *protocol.StorageVolGetXMLDescArgs) (protocol.StorageVol, uint32) { return a.Vol, a.Flags }),
	onVolume(protocol.StorageVolWipe, "storageVolWipePattern", 0,
		func(a *protocol.StorageVolWipeArgs) (protocol.StorageVol, uint32) { return a.Vol, a.Flags }),
	onVolume(protocol.StorageVolGetInfoFlags, "storageVolGetInfoFlags", virt.StorageVolGetPhysical,
		func(a *protocol.StorageVolGetInfoFlagsArgs) (protocol.StorageVol, uint32) { return a.Vol, a.Flags }),
	onVolume(protocol.StorageVolResize, "storageVolResize", virt.StorageVolResizeAllocate|virt.StorageVolResizeDelta|virt.StorageVolResizeShrink,
		func(a *protocol.StorageVolResizeArgs) (protocol.StorageVol, uint32) { return a.Vol, a.Flags }),
	onVolume(protocol.StorageVolUpload, "storageVolUpload", virt.StorageVolUploadSparseStream,
		func(a *protocol.StorageVolUploadArgs) (protocol.StorageVol, uint32) { return a.Vol, a.Flags }),
	onVolume(protocol.StorageVolDownload, "storageVolDownload", virt.StorageVolDownloadSparseStream,
		func(a *protocol.StorageVolDownloadArgs) (protocol.StorageVol, uint32) { return a.Vol, a.Flags }),
)

// none answers with a zero result: no pools.
func none[A, R any](*driver, actor.Context, *call.Request, *A) (*R, error) { return new(R), nil }

type decodable[A any] interface {
	*A
	protocol.Decodable
}

type encodable[R any] interface {
	*R
	protocol.Encoder
}

// onPool routes a procedure on one pool: its flags are checked in the name of libvirt's function fn, then the pool is
// looked for.
func onPool[A, R any, PA decodable[A], PR encodable[R]](p protocol.Proc[A, R], fn string, allowed uint32, object func(PA) (protocol.StoragePool, uint32)) call.Route[*driver] {
	return call.Answer(p, func(_ *driver, _ actor.Context, _ *call.Request, a PA) (PR, error) {
		pool, flags := object(a)
		if err := call.CheckFlags(flags, allowed, from, fn); err != nil {
			return nil, err
		}
		return nil, missing(pool)
	})
}

// onVolume is onPool for a procedure on one volume, whose pool is looked for by name.
func onVolume[A, R any, PA decodable[A], PR encodable[R]](p protocol.Proc[A, R], fn string, allowed uint32, object func(PA) (protocol.StorageVol, uint32)) call.Route[*driver] {
	return call.Answer(p, func(_ *driver, _ actor.Context, _ *call.Request, a PA) (PR, error) {
		vol, flags := object(a)
		if err := call.CheckFlags(flags, allowed, from, fn); err != nil {
			return nil, err
		}
		return nil, missingName(vol.Pool)
	})
}
