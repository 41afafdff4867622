package storage

import (
	"virtree/actors/internal/call"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// driverRoutes is what the branch answers itself.
var driverRoutes = call.NewTable(
	call.Answer(protocol.ConnectNumOfStoragePools, (*driver).num),
	call.Answer(protocol.ConnectNumOfDefinedStoragePools, (*driver).numDefined),
	call.Answer(protocol.ConnectListStoragePools, (*driver).list),
	call.Answer(protocol.ConnectListDefinedStoragePools, (*driver).listDefined),
	call.Answer(protocol.ConnectListAllStoragePools, (*driver).listAll),
	call.Later(protocol.ConnectFindStoragePoolSources, (*driver).findSources),
	call.Later(protocol.ConnectGetStoragePoolCapabilities, (*driver).capabilities),
	call.Answer(protocol.StoragePoolLookupByName, (*driver).lookupByName),
	call.Answer(protocol.StoragePoolLookupByUUID, (*driver).lookupByUUID),
	call.Answer(protocol.StoragePoolLookupByTargetPath, (*driver).lookupByTarget),
	call.Answer(protocol.StoragePoolLookupByVolume, (*driver).lookupByVolume),
	call.Answer(protocol.StorageVolLookupByKey, (*driver).volumeByKey),
	call.Answer(protocol.StorageVolLookupByPath, (*driver).volumeByPath),
	call.Later(protocol.StoragePoolDefineXML, (*driver).define),
	call.Later(protocol.StoragePoolCreateXML, (*driver).create),
	call.Later(protocol.StorageVolCreateXMLFrom, (*driver).clone),
)

// poolRoutes is what a pool's actor answers.
var poolRoutes = call.NewTable(
	call.Later(protocol.StoragePoolCreate, (*pool).start),
	call.Later(protocol.StoragePoolBuild, (*pool).build),
	call.Later(protocol.StoragePoolDelete, (*pool).delete),
	call.Later(protocol.StoragePoolRefresh, (*pool).refresh),
	call.Later(protocol.StoragePoolDestroy, (*pool).destroy),
	call.Later(protocol.StoragePoolUndefine, (*pool).undefine),
	call.Later(protocol.StoragePoolSetAutostart, (*pool).setAutostart),
	call.Answer(protocol.StoragePoolGetAutostart, (*pool).getAutostart),
	call.Answer(protocol.StoragePoolGetXMLDesc, (*pool).getXML),
	call.Answer(protocol.StoragePoolGetInfo, (*pool).info),
	call.Answer(protocol.StoragePoolIsActive, (*pool).isActive),
	call.Answer(protocol.StoragePoolIsPersistent, (*pool).isPersistent),
	call.Answer(protocol.StoragePoolNumOfVolumes, (*pool).numVolumes),
	call.Answer(protocol.StoragePoolListVolumes, (*pool).listVolumes),
	call.Later(protocol.StoragePoolListAllVolumes, (*pool).listAllVolumes),

	call.Answer(protocol.StorageVolLookupByName, (*pool).lookupVolume),
	call.Answer(protocol.StorageVolGetPath, (*pool).volumePath),
	call.Later(protocol.StorageVolGetInfo, (*pool).volumeInfo),
	call.Later(protocol.StorageVolGetInfoFlags, (*pool).volumeInfoFlags),
	call.Later(protocol.StorageVolGetXMLDesc, (*pool).volumeXML),
	call.Later(protocol.StorageVolCreateXML, (*pool).createVolume),
	call.Later(protocol.StorageVolDelete, (*pool).deleteVolume),
	call.Later(protocol.StorageVolResize, (*pool).resizeVolume),
	call.Later(protocol.StorageVolWipe, (*pool).wipeVolume),
	call.Later(protocol.StorageVolWipePattern, (*pool).wipeVolumePattern),
	call.Later(protocol.StorageVolUpload, (*pool).upload),
	call.Later(protocol.StorageVolDownload, (*pool).download),
)

// early is what libvirt refuses of a call before it looks for the pool.
var early = map[*protocol.Procedure]func(args []byte) error{
	protocol.StoragePoolListVolumes.Procedure: check(func(a *protocol.StoragePoolListVolumesArgs) error {
		return call.CheckMax(a.Maxnames, protocol.RemoteStorageVolListMax, "maxnames", "REMOTE_STORAGE_VOL_LIST_MAX")
	}),
	protocol.StorageVolWipePattern.Procedure: check(func(a *protocol.StorageVolWipePatternArgs) error { return checkWipe(a.Algorithm, a.Flags) }),
	protocol.StoragePoolCreate.Procedure: check(func(a *protocol.StoragePoolCreateArgs) error {
		return call.CheckFlags(a.Flags, createFlags, from, "storagePoolCreate")
	}),
	protocol.StoragePoolRefresh.Procedure: check(func(a *protocol.StoragePoolRefreshArgs) error {
		return call.CheckFlags(a.Flags, 0, from, "storagePoolRefresh")
	}),
	protocol.StoragePoolGetXMLDesc.Procedure: check(func(a *protocol.StoragePoolGetXMLDescArgs) error {
		return call.CheckFlags(a.Flags, virt.StorageXMLInactive, from, "storagePoolGetXMLDesc")
	}),
	protocol.StoragePoolListAllVolumes.Procedure: check(func(a *protocol.StoragePoolListAllVolumesArgs) error {
		return call.CheckFlags(a.Flags, 0, from, "storagePoolListAllVolumes")
	}),
	protocol.StorageVolCreateXML.Procedure: check(func(a *protocol.StorageVolCreateXMLArgs) error {
		return call.CheckFlags(a.Flags, virt.StorageVolCreatePreallocMetadata|virt.StorageVolCreateValidate, from, "storageVolCreateXML")
	}),
	protocol.StorageVolGetXMLDesc.Procedure: check(func(a *protocol.StorageVolGetXMLDescArgs) error {
		return call.CheckFlags(a.Flags, 0, from, "storageVolGetXMLDesc")
	}),
	protocol.StorageVolWipe.Procedure: check(func(a *protocol.StorageVolWipeArgs) error {
		return call.CheckFlags(a.Flags, 0, from, "storageVolWipePattern")
	}),
	protocol.StorageVolGetInfoFlags.Procedure: check(func(a *protocol.StorageVolGetInfoFlagsArgs) error {
		return call.CheckFlags(a.Flags, virt.StorageVolGetPhysical, from, "storageVolGetInfoFlags")
	}),
	protocol.StorageVolResize.Procedure: check(func(a *protocol.StorageVolResizeArgs) error {
		return call.CheckFlags(a.Flags, resizeFlags, from, "storageVolResize")
	}),
	protocol.StorageVolUpload.Procedure: check(func(a *protocol.StorageVolUploadArgs) error {
		return call.CheckFlags(a.Flags, virt.StorageVolUploadSparseStream, from, "storageVolUpload")
	}),
	protocol.StorageVolDownload.Procedure: check(func(a *protocol.StorageVolDownloadArgs) error {
		return call.CheckFlags(a.Flags, virt.StorageVolDownloadSparseStream, from, "storageVolDownload")
	}),
}

type decodable[A any] interface {
	*A
	protocol.Decodable
}

func check[A any, PA decodable[A]](f func(PA) error) func([]byte) error {
	return func(args []byte) error {
		var a A
		if protocol.UnmarshalArgs(args, PA(&a)) != nil {
			return nil // for who serves the call to say
		}
		return f(&a)
	}
}

func earlyCheck(c *call.Call) error {
	if f := early[c.Proc]; f != nil {
		return f(c.Args)
	}
	return nil
}
