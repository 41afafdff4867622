package storage

import (
	"strings"
	"testing"

	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

var (
	nopePool   = protocol.StoragePool{Name: "nope", UUID: protocol.UUID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}
	nopeVolume = protocol.StorageVol{Pool: "nope", Name: "vol", Key: "/nokey"}
)

const (
	noPool     = "Storage pool not found: no storage pool with matching uuid '00010203-0405-0607-0809-0a0b0c0d0e0f' (nope)"
	noPoolName = "Storage pool not found: no storage pool with matching name 'nope'"
)

func TestListsAreEmpty(t *testing.T) {
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	if n, err := branchtest.Do(c, protocol.ConnectNumOfStoragePools, &protocol.Void{}); err != nil || n.Num != 0 {
		t.Error(n, err)
	}
	if l, err := branchtest.Do(c, protocol.ConnectListDefinedStoragePools, &protocol.ConnectListDefinedStoragePoolsArgs{Maxnames: 10}); err != nil || len(l.Names) != 0 {
		t.Error(l, err)
	}
	if l, err := branchtest.Do(c, protocol.ConnectListAllStoragePools, &protocol.ConnectListAllStoragePoolsArgs{NeedResults: 1, Flags: 0xfffff}); err != nil || l.Ret != 0 {
		t.Error(l, err)
	}
	branchtest.Fails(c, protocol.ConnectListStoragePools, &protocol.ConnectListStoragePoolsArgs{Maxnames: 100000}, liberr.FromRPC, liberr.RPC, "maxnames > REMOTE_STORAGE_POOL_LIST_MAX")
	branchtest.Fails(c, protocol.StoragePoolListVolumes, &protocol.StoragePoolListVolumesArgs{Maxnames: 100000}, liberr.FromRPC, liberr.RPC, "maxnames > REMOTE_STORAGE_VOL_LIST_MAX")
}

// The messages were recorded from libvirtd 9.0.0.
func TestNothingIsFound(t *testing.T) {
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	branchtest.Fails(c, protocol.StoragePoolLookupByName, &protocol.StoragePoolLookupByNameArgs{Name: "nope"}, from, liberr.NoStoragePool, noPoolName)
	branchtest.Fails(c, protocol.StoragePoolLookupByTargetPath, &protocol.StoragePoolLookupByTargetPathArgs{Path: "/nope/x"}, from, liberr.NoStoragePool, "Storage pool not found: no storage pool with matching target path '/nope/x'")
	branchtest.Fails(c, protocol.StoragePoolBuild, &protocol.StoragePoolBuildArgs{Pool: nopePool, Flags: 1 << 31}, from, liberr.NoStoragePool, noPool)
	branchtest.Fails(c, protocol.StoragePoolRefresh, &protocol.StoragePoolRefreshArgs{Pool: nopePool}, from, liberr.NoStoragePool, noPool)
	branchtest.Fails(c, protocol.StorageVolLookupByKey, &protocol.StorageVolLookupByKeyArgs{Key: "/nokey"}, from, liberr.NoStorageVol, "Storage volume not found: no storage vol with matching key /nokey")
	branchtest.Fails(c, protocol.StorageVolLookupByPath, &protocol.StorageVolLookupByPathArgs{Path: "p"}, from, liberr.NoStorageVol, "Storage volume not found: no storage vol with matching path 'p'")
	branchtest.Fails(c, protocol.StorageVolUpload, &protocol.StorageVolUploadArgs{Vol: nopeVolume}, from, liberr.NoStoragePool, noPoolName)
	branchtest.Fails(c, protocol.StorageVolWipePattern, &protocol.StorageVolWipePatternArgs{Vol: nopeVolume, Algorithm: 99}, from, liberr.InvalidArg, "invalid argument: wiping algorithm 99 not supported")
	branchtest.Fails(c, protocol.StorageVolWipePattern, &protocol.StorageVolWipePatternArgs{Vol: nopeVolume, Algorithm: 9}, from, liberr.NoStoragePool, noPoolName)
	branchtest.Fails(c, protocol.ConnectFindStoragePoolSources, &protocol.ConnectFindStoragePoolSourcesArgs{Type: "sheepdog"}, from, liberr.InternalError, "internal error: missing backend for pool type 10 (sheepdog)")
	branchtest.Fails(c, protocol.ConnectFindStoragePoolSources, &protocol.ConnectFindStoragePoolSourcesArgs{Type: "nope"}, from, liberr.InternalError, "internal error: unknown storage pool type nope")
	branchtest.Fails(c, protocol.ConnectFindStoragePoolSources, &protocol.ConnectFindStoragePoolSourcesArgs{Type: "dir"}, from, liberr.NoSupportCode, "this function is not supported by the connection driver: pool type 'dir' does not support source discovery")
	branchtest.Fails(c, protocol.ConnectFindStoragePoolSources, &protocol.ConnectFindStoragePoolSourcesArgs{Type: "netfs"}, from, liberr.InvalidArg, "invalid argument: hostname must be specified for netfs sources")
	branchtest.Fails(c, protocol.StoragePoolDefineXML, &protocol.StoragePoolDefineXMLArgs{XML: "<pool type='sheepdog'><name>z</name><source><host name='h'/></source></pool>"}, from, liberr.InternalError,
		"internal error: missing backend for pool type 10 (sheepdog)")
}

func TestFlagsAreCheckedFirst(t *testing.T) {
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	_, err := branchtest.Do(c, protocol.StorageVolResize, &protocol.StorageVolResizeArgs{Vol: nopeVolume, Flags: 8})
	if err == nil || err.Code != liberr.InvalidArg || !strings.Contains(err.Message, "unsupported flags (0x8) in function storageVolResize") {
		t.Error(err)
	}
}

func TestCapabilitiesNameEveryKind(t *testing.T) {
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	r, err := branchtest.Do(c, protocol.ConnectGetStoragePoolCapabilities, &protocol.ConnectGetStoragePoolCapabilitiesArgs{})
	if err != nil || strings.Count(r.Capabilities, "<pool type=") != 14 || strings.Count(r.Capabilities, "'yes'") < 4 || !strings.Contains(r.Capabilities, "<pool type='dir' supported='yes'>") {
		t.Error(r, err)
	}
}
