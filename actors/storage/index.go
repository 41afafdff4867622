package storage

import (
	"context"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

func (e *entry) ref() protocol.StoragePool {
	return protocol.StoragePool{Name: e.Def.Name, UUID: e.UUID}
}

// visible returns the pools by name.
func (d *driver) visible() []*entry {
	all := d.Visible(func(*entry) bool { return true })
	slices.SortFunc(all, func(a, b *entry) int { return strings.Compare(a.Def.Name, b.Def.Name) })
	return all
}

func (d *driver) names(active bool, limit int32) (names []string) {
	for _, e := range d.visible() {
		if e.Active == active && (limit < 0 || len(names) < int(limit)) {
			names = append(names, e.Def.Name)
		}
	}
	return names
}

func (d *driver) num(actor.Context, *call.Request, *protocol.Void) (*protocol.ConnectNumOfStoragePoolsRet, error) {
	return &protocol.ConnectNumOfStoragePoolsRet{Num: int32(len(d.names(true, -1)))}, nil
}

func (d *driver) numDefined(actor.Context, *call.Request, *protocol.Void) (*protocol.ConnectNumOfDefinedStoragePoolsRet, error) {
	return &protocol.ConnectNumOfDefinedStoragePoolsRet{Num: int32(len(d.names(false, -1)))}, nil
}

func (d *driver) list(_ actor.Context, _ *call.Request, a *protocol.ConnectListStoragePoolsArgs) (*protocol.ConnectListStoragePoolsRet, error) {
	if err := call.CheckMax(a.Maxnames, protocol.RemoteStoragePoolListMax, "maxnames", "REMOTE_STORAGE_POOL_LIST_MAX"); err != nil {
		return nil, err
	}
	return &protocol.ConnectListStoragePoolsRet{Names: d.names(true, a.Maxnames)}, nil
}

func (d *driver) listDefined(_ actor.Context, _ *call.Request, a *protocol.ConnectListDefinedStoragePoolsArgs) (*protocol.ConnectListDefinedStoragePoolsRet, error) {
	if err := call.CheckMax(a.Maxnames, protocol.RemoteStoragePoolListMax, "maxnames", "REMOTE_STORAGE_POOL_LIST_MAX"); err != nil {
		return nil, err
	}
	return &protocol.ConnectListDefinedStoragePoolsRet{Names: d.names(false, a.Maxnames)}, nil
}

// listFlags are all filters of virConnectListAllStoragePools: states, persistence, autostart and kinds.
const listFlags = 1<<20 - 1

// kindFlags are the filters by kind, in the order of def.Kinds.
var kindFlags = map[string]uint32{
	"dir": virt.ConnectListStoragePoolsDir, "fs": virt.ConnectListStoragePoolsFS, "netfs": virt.ConnectListStoragePoolsNetfs,
	"logical": virt.ConnectListStoragePoolsLogical, "disk": virt.ConnectListStoragePoolsDisk, "iscsi": virt.ConnectListStoragePoolsIscsi,
	"scsi": virt.ConnectListStoragePoolsSCSI, "mpath": virt.ConnectListStoragePoolsMpath, "rbd": virt.ConnectListStoragePoolsRbd,
	"sheepdog": virt.ConnectListStoragePoolsSheepdog, "gluster": virt.ConnectListStoragePoolsGluster, "zfs": virt.ConnectListStoragePoolsZfs,
	"vstorage": virt.ConnectListStoragePoolsVstorage, "iscsi-direct": virt.ConnectListStoragePoolsIscsiDirect,
}

// matches filters in groups; a group of which no flag is set does not filter.
func (e *entry) matches(flags uint32) bool {
	pass := func(is bool, yes, no uint32) bool {
		return flags&(yes|no) == 0 || is && flags&yes != 0 || !is && flags&no != 0
	}
	const states = virt.ConnectListStoragePoolsActive | virt.ConnectListStoragePoolsInactive | virt.ConnectListStoragePoolsPersistent |
		virt.ConnectListStoragePoolsTransient | virt.ConnectListStoragePoolsAutostart | virt.ConnectListStoragePoolsNoAutostart
	kinds := flags &^ states
	return pass(e.Active, virt.ConnectListStoragePoolsActive, virt.ConnectListStoragePoolsInactive) &&
		pass(e.Persistent, virt.ConnectListStoragePoolsPersistent, virt.ConnectListStoragePoolsTransient) &&
		pass(e.Autostart, virt.ConnectListStoragePoolsAutostart, virt.ConnectListStoragePoolsNoAutostart) &&
		(kinds == 0 || kinds&kindFlags[e.Def.Kind.Name] != 0)
}

func (d *driver) listAll(_ actor.Context, _ *call.Request, a *protocol.ConnectListAllStoragePoolsArgs) (*protocol.ConnectListAllStoragePoolsRet, error) {
	if err := call.CheckFlags(a.Flags, listFlags, from, "storageConnectListAllStoragePools"); err != nil {
		return nil, err
	}
	ret := &protocol.ConnectListAllStoragePoolsRet{}
	for _, e := range d.visible() {
		if !e.matches(a.Flags) {
			continue
		}
		ret.Ret++
		if a.NeedResults != 0 {
			ret.Pools = append(ret.Pools, e.ref())
		}
	}
	return ret, nil
}

func (d *driver) lookupByName(_ actor.Context, _ *call.Request, a *protocol.StoragePoolLookupByNameArgs) (*protocol.StoragePoolLookupByNameRet, error) {
	e, err := d.findName(a.Name)
	if err != nil {
		return nil, err
	}
	return &protocol.StoragePoolLookupByNameRet{Pool: e.ref()}, nil
}

func (d *driver) lookupByUUID(_ actor.Context, _ *call.Request, a *protocol.StoragePoolLookupByUUIDArgs) (*protocol.StoragePoolLookupByUUIDRet, error) {
	if e := d.Find(a.UUID); e != nil {
		return &protocol.StoragePoolLookupByUUIDRet{Pool: e.ref()}, nil
	}
	return nil, liberr.New(from, liberr.NoStoragePool, "no storage pool with matching uuid '%s'", a.UUID)
}

func (d *driver) lookupByTarget(_ actor.Context, _ *call.Request, a *protocol.StoragePoolLookupByTargetPathArgs) (*protocol.StoragePoolLookupByTargetPathRet, error) {
	path := def.CleanPath(a.Path)
	for _, e := range d.visible() {
		if e.Active && e.Def.Path == path && path != "" {
			return &protocol.StoragePoolLookupByTargetPathRet{Pool: e.ref()}, nil
		}
	}
	return nil, liberr.New(from, liberr.NoStoragePool, "no storage pool with matching target path %s", bothPaths(a.Path, path))
}

// bothPaths quotes a path as the client has it, and as it was looked for where that differs.
func bothPaths(path, clean string) string {
	if path == clean {
		return "'" + path + "'"
	}
	return "'" + path + "' (" + clean + ")"
}

func (d *driver) lookupByVolume(_ actor.Context, _ *call.Request, a *protocol.StoragePoolLookupByVolumeArgs) (*protocol.StoragePoolLookupByVolumeRet, error) {
	e, err := d.findName(a.Vol.Pool)
	if err != nil {
		return nil, err
	}
	return &protocol.StoragePoolLookupByVolumeRet{Pool: e.ref()}, nil
}

func (at place) wire() protocol.StorageVol {
	return protocol.StorageVol{Pool: at.pool.Def.Name, Name: at.name, Key: at.key}
}

// volumeByKey quotes nothing, volumeByPath does: libvirt's words.
func (d *driver) volumeByKey(_ actor.Context, _ *call.Request, a *protocol.StorageVolLookupByKeyArgs) (*protocol.StorageVolLookupByKeyRet, error) {
	at, ok := d.keys[a.Key]
	if !ok {
		at, ok = d.paths[a.Key]
	}
	if !ok || at.key != a.Key {
		return nil, liberr.New(from, liberr.NoStorageVol, "no storage vol with matching key %s", a.Key)
	}
	return &protocol.StorageVolLookupByKeyRet{Vol: at.wire()}, nil
}

func (d *driver) volumeByPath(_ actor.Context, _ *call.Request, a *protocol.StorageVolLookupByPathArgs) (*protocol.StorageVolLookupByPathRet, error) {
	path := def.CleanPath(a.Path)
	at, ok := d.paths[path]
	if !ok {
		return nil, liberr.New(from, liberr.NoStorageVol, "no storage vol with matching path %s", bothPaths(a.Path, path))
	}
	return &protocol.StorageVolLookupByPathRet{Vol: at.wire()}, nil
}

// findSources refuses, kind by kind, as libvirt does: no discovery for this kind, no host to ask, no backend.
func (d *driver) findSources(ctx actor.Context, r *call.Request, a *protocol.ConnectFindStoragePoolSourcesArgs) error {
	k, _ := def.KindNamed(a.Type)
	switch {
	case k == nil:
		return liberr.New(from, liberr.InternalError, "unknown storage pool type %s", a.Type)
	case k.Discovery == def.Never:
		return liberr.New(from, liberr.NoSupportCode, "pool type '%s' does not support source discovery", a.Type)
	case k.Discovery == def.ByHost && a.SrcSpec == nil:
		return liberr.New(from, liberr.InvalidArg, "hostname must be specified for %s sources", strings.TrimSuffix(a.Type, "-direct"))
	}
	b, err := d.host.For(k)
	if err != nil {
		return err
	}
	f, ok := b.(backend.Finder)
	if !ok {
		return liberr.New(from, liberr.NoSupportCode, "pool type '%s' does not support source discovery", a.Type)
	}
	spec, err := def.ParseSourceSpec(a.SrcSpec, k)
	if err != nil {
		return err
	}
	d.desk.Answer(ctx, r, briefly, func(jc context.Context) (protocol.Encoder, error) {
		found, err := f.FindSources(jc, spec)
		if err != nil {
			return nil, err
		}
		return &protocol.ConnectFindStoragePoolSourcesRet{XML: def.Sources(k, found)}, nil
	})
	return nil
}

// capabilities looks for the programs that the kinds of pools need.
func (d *driver) capabilities(ctx actor.Context, r *call.Request, a *protocol.ConnectGetStoragePoolCapabilitiesArgs) error {
	if err := call.CheckFlags(a.Flags, 0, from, "storageConnectGetStoragePoolCapabilities"); err != nil {
		return err
	}
	host := d.host
	d.desk.Answer(ctx, r, briefly, func(context.Context) (protocol.Encoder, error) {
		return &protocol.ConnectGetStoragePoolCapabilitiesRet{Capabilities: capabilitiesXML(host)}, nil
	})
	return nil
}

// small is what a document may have to be read in Receive; larger ones, which nobody needs, are read in a job.
const small = 32 << 10

// read reads a client's document of a pool.
func (d *driver) read(ctx actor.Context, r *call.Request, doc string, validate bool, then func(ctx actor.Context, p *def.Pool) error) error {
	parse := def.ParsePool
	if validate {
		parse = def.ParseValidPool
	}
	if len(doc) <= small {
		p, err := parse(doc)
		if err != nil {
			return err
		}
		return then(ctx, p)
	}
	d.job(ctx, "read a document", func() (any, error) { return parse(doc) }, func(ctx actor.Context, out any, err error) {
		if err == nil {
			err = then(ctx, out.(*def.Pool))
		}
		if err != nil {
			r.Fail(liberr.From(from, err))
		}
	})
	return nil
}

// target finds the actor of the pool that a document is about, or makes one, by libvirt's rules on names and UUIDs.
func (d *driver) target(ctx actor.Context, p *def.Pool, start bool) (*entry, error) {
	if _, err := backend.For(p.Kind); err != nil {
		return nil, err
	}
	for _, e := range d.ByUUID {
		if e.Def.Name != p.Name && e.Def.Conflicts(p) {
			return nil, liberr.New(from, liberr.OperationFailed, "Storage source conflict with pool: '%s'", e.Def.Name)
		}
	}
	if e := d.ByUUID[p.UUID]; e != nil {
		switch {
		case e.Def.Name != p.Name:
			return nil, liberr.New(from, liberr.OperationFailed, "pool '%s' is already defined with uuid %s", e.Def.Name, e.UUID)
		case start && e.Active:
			return nil, liberr.New(from, liberr.OperationInvalid, "pool is already active as '%s'", e.Def.Name)
		}
		return e, nil
	}
	if e := d.ByName[p.Name]; e != nil {
		return nil, liberr.New(from, liberr.OperationFailed, "pool '%s' already exists with uuid %s", p.Name, e.UUID)
	}
	return d.spawn(ctx, p, nil)
}

func (d *driver) define(ctx actor.Context, r *call.Request, a *protocol.StoragePoolDefineXMLArgs) error {
	if err := call.CheckFlags(a.Flags, virt.StoragePoolDefineValidate, from, "storagePoolDefineXML"); err != nil {
		return err
	}
	return d.read(ctx, r, a.XML, a.Flags&virt.StoragePoolDefineValidate != 0, func(ctx actor.Context, p *def.Pool) error {
		e, err := d.target(ctx, p, false)
		if err == nil {
			ctx.Send(e.PID, &define{req: r, def: p})
		}
		return err
	})
}

func (d *driver) create(ctx actor.Context, r *call.Request, a *protocol.StoragePoolCreateXMLArgs) error {
	if err := call.CheckFlags(a.Flags, createFlags, from, "storagePoolCreateXML"); err != nil {
		return err
	}
	return d.read(ctx, r, a.XML, false, func(ctx actor.Context, p *def.Pool) error {
		e, err := d.target(ctx, p, true)
		if err == nil {
			ctx.Send(e.PID, &create{req: r, def: p, flags: a.Flags})
		}
		return err
	})
}

// clone asks the pool of the source to lend it to the other one.
func (d *driver) clone(ctx actor.Context, r *call.Request, a *protocol.StorageVolCreateXMLFromArgs) error {
	if err := call.CheckFlags(a.Flags, cloneFlags, from, "storageVolCreateXMLFrom"); err != nil {
		return err
	}
	to, err := d.find(a.Pool)
	if err != nil {
		return err
	}
	source, err := d.findName(a.Clonevol.Pool)
	if err != nil {
		return err
	}
	ctx.Send(source.PID, &lend{volume: a.Clonevol.Name, req: r, to: target{to.UUID, to.PID}, borrow: &borrow{req: r, args: a}})
	return nil
}
