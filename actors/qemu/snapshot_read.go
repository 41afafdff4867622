package qemu

import (
	"context"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Looking at the tree of snapshots.

func (l *snapshotList) find(name string) *snapshot {
	for _, s := range l.all {
		if s.name == name {
			return s
		}
	}
	return nil
}

func (l *snapshotList) children(name string) []*snapshot {
	var out []*snapshot
	for _, s := range l.all {
		if s.parent == name || name == "" && l.find(s.parent) == nil {
			out = append(out, s)
		}
	}
	return out
}

// descendants are all below a snapshot, each before its own children.
func (l *snapshotList) descendants(name string) []*snapshot {
	var out []*snapshot
	for _, s := range l.children(name) {
		out = append(append(out, s), l.descendants(s.name)...)
	}
	return out
}

// snap finds the snapshot a call is about.
func (d *domain) snap(name string) (*snapshot, error) {
	s := d.snaps.find(name)
	if s == nil {
		return nil, liberr.New(liberr.FromQemu, liberr.NoDomainSnapshot, "no domain snapshot with matching name '%s'", name)
	}
	return s, nil
}

func (d *domain) snapRef(name string) protocol.DomainSnapshot {
	return protocol.DomainSnapshot{Name: name, Dom: d.ref()}
}

const snapshotFilters = virt.DomainSnapshotListLeaves | virt.DomainSnapshotListNoLeaves | virt.DomainSnapshotListMetadata |
	virt.DomainSnapshotListNoMetadata | virt.DomainSnapshotListInactive | virt.DomainSnapshotListActive | virt.DomainSnapshotListDiskOnly |
	virt.DomainSnapshotListInternal | virt.DomainSnapshotListExternal | virt.DomainSnapshotListTopological

// selectSnapshots lists by libvirt's filters. of is "" for the whole domain, where the first flag means roots only; for
// a snapshot it means all descendants.
func (d *domain) selectSnapshots(of string, flags uint32) []*snapshot {
	const first = virt.DomainSnapshotListRoots
	var list []*snapshot
	switch {
	case of == "" && flags&first != 0:
		list = d.snaps.children("")
	case of == "" && flags&virt.DomainSnapshotListTopological != 0:
		list = d.snaps.descendants("")
	case of == "":
		list = d.snaps.all
	case flags&first != 0:
		list = d.snaps.descendants(of)
	default:
		list = d.snaps.children(of)
	}
	group := func(yes, no uint32, is bool) bool {
		set := flags & (yes | no)
		return set == 0 || set == yes|no || set == yes && is || set == no && !is
	}
	var out []*snapshot
	for _, s := range list {
		state := uint32(virt.DomainSnapshotListActive)
		switch s.state {
		case "shutoff":
			state = virt.DomainSnapshotListInactive
		case "disk-snapshot":
			state = virt.DomainSnapshotListDiskOnly
		}
		states := flags & (virt.DomainSnapshotListInactive | virt.DomainSnapshotListActive | virt.DomainSnapshotListDiskOnly)
		if group(virt.DomainSnapshotListMetadata, virt.DomainSnapshotListNoMetadata, true) &&
			group(virt.DomainSnapshotListLeaves, virt.DomainSnapshotListNoLeaves, len(d.snaps.children(s.name)) == 0) &&
			group(virt.DomainSnapshotListExternal, virt.DomainSnapshotListInternal, s.external()) &&
			(states == 0 || states&state != 0) {
			out = append(out, s)
		}
	}
	return out
}

func checkSnapshotFilters(flags uint32, fn string) error {
	return call.CheckFlags(flags, snapshotFilters|virt.DomainSnapshotListRoots, liberr.FromQemu, fn)
}

func names(list []*snapshot, most int32) []string {
	var out []string
	for _, s := range list[:min(len(list), max(0, int(most)))] {
		out = append(out, s.name)
	}
	slices.Sort(out)
	return out
}

func (d *domain) snapRefs(list []*snapshot) []protocol.DomainSnapshot {
	var out []protocol.DomainSnapshot
	for _, s := range list {
		out = append(out, d.snapRef(s.name))
	}
	return out
}

func (d *domain) snapshotNum(_ actor.Context, _ *call.Request, a *protocol.DomainSnapshotNumArgs) (*protocol.DomainSnapshotNumRet, error) {
	if err := checkSnapshotFilters(a.Flags, "qemuDomainSnapshotNum"); err != nil {
		return nil, err
	}
	return &protocol.DomainSnapshotNumRet{Num: int32(len(d.selectSnapshots("", a.Flags)))}, nil
}

func (d *domain) snapshotNames(_ actor.Context, _ *call.Request, a *protocol.DomainSnapshotListNamesArgs) (*protocol.DomainSnapshotListNamesRet, error) {
	if err := checkSnapshotFilters(a.Flags, "qemuDomainSnapshotListNames"); err != nil {
		return nil, err
	}
	return &protocol.DomainSnapshotListNamesRet{Names: names(d.selectSnapshots("", a.Flags), a.Maxnames)}, nil
}

func (d *domain) listSnapshots(_ actor.Context, _ *call.Request, a *protocol.DomainListAllSnapshotsArgs) (*protocol.DomainListAllSnapshotsRet, error) {
	if err := checkSnapshotFilters(a.Flags, "qemuDomainListAllSnapshots"); err != nil {
		return nil, err
	}
	list := d.selectSnapshots("", a.Flags)
	ret := &protocol.DomainListAllSnapshotsRet{Ret: int32(len(list))}
	if a.NeedResults != 0 {
		ret.Snapshots = d.snapRefs(list)
	}
	return ret, nil
}

func (d *domain) snapshotNumChildren(_ actor.Context, _ *call.Request, a *protocol.DomainSnapshotNumChildrenArgs) (*protocol.DomainSnapshotNumChildrenRet, error) {
	if err := checkSnapshotFilters(a.Flags, "qemuDomainSnapshotNumChildren"); err != nil {
		return nil, err
	}
	if _, err := d.snap(a.Snap.Name); err != nil {
		return nil, err
	}
	return &protocol.DomainSnapshotNumChildrenRet{Num: int32(len(d.selectSnapshots(a.Snap.Name, a.Flags)))}, nil
}

func (d *domain) snapshotChildrenNames(_ actor.Context, _ *call.Request, a *protocol.DomainSnapshotListChildrenNamesArgs) (*protocol.DomainSnapshotListChildrenNamesRet, error) {
	if err := checkSnapshotFilters(a.Flags, "qemuDomainSnapshotListChildrenNames"); err != nil {
		return nil, err
	}
	if _, err := d.snap(a.Snap.Name); err != nil {
		return nil, err
	}
	return &protocol.DomainSnapshotListChildrenNamesRet{Names: names(d.selectSnapshots(a.Snap.Name, a.Flags), a.Maxnames)}, nil
}

func (d *domain) snapshotChildren(_ actor.Context, _ *call.Request, a *protocol.DomainSnapshotListAllChildrenArgs) (*protocol.DomainSnapshotListAllChildrenRet, error) {
	if err := checkSnapshotFilters(a.Flags, "qemuDomainSnapshotListAllChildren"); err != nil {
		return nil, err
	}
	if _, err := d.snap(a.Snapshot.Name); err != nil {
		return nil, err
	}
	list := d.selectSnapshots(a.Snapshot.Name, a.Flags)
	ret := &protocol.DomainSnapshotListAllChildrenRet{Ret: int32(len(list))}
	if a.NeedResults != 0 {
		ret.Snapshots = d.snapRefs(list)
	}
	return ret, nil
}

func (d *domain) snapshotLookup(_ actor.Context, _ *call.Request, a *protocol.DomainSnapshotLookupByNameArgs) (*protocol.DomainSnapshotLookupByNameRet, error) {
	if _, err := d.snap(a.Name); err != nil {
		return nil, err
	}
	return &protocol.DomainSnapshotLookupByNameRet{Snap: d.snapRef(a.Name)}, nil
}

func (d *domain) hasCurrentSnapshot(_ actor.Context, _ *call.Request, _ *protocol.DomainHasCurrentSnapshotArgs) (*protocol.DomainHasCurrentSnapshotRet, error) {
	return &protocol.DomainHasCurrentSnapshotRet{Result: truth(d.snaps.current != "")}, nil
}

func (d *domain) snapshotParent(_ actor.Context, _ *call.Request, a *protocol.DomainSnapshotGetParentArgs) (*protocol.DomainSnapshotGetParentRet, error) {
	s, err := d.snap(a.Snap.Name)
	if err != nil {
		return nil, err
	}
	if s.parent == "" {
		return nil, liberr.New(liberr.FromQemu, liberr.NoDomainSnapshot, "snapshot '%s' does not have a parent", s.name)
	}
	return &protocol.DomainSnapshotGetParentRet{Snap: d.snapRef(s.parent)}, nil
}

func (d *domain) snapshotCurrent(_ actor.Context, _ *call.Request, _ *protocol.DomainSnapshotCurrentArgs) (*protocol.DomainSnapshotCurrentRet, error) {
	if d.snaps.current == "" {
		return nil, liberr.New(liberr.FromQemu, liberr.NoDomainSnapshot, "%s", "the domain does not have a current snapshot")
	}
	return &protocol.DomainSnapshotCurrentRet{Snap: d.snapRef(d.snaps.current)}, nil
}

func (d *domain) snapshotIsCurrent(_ actor.Context, _ *call.Request, a *protocol.DomainSnapshotIsCurrentArgs) (*protocol.DomainSnapshotIsCurrentRet, error) {
	s, err := d.snap(a.Snap.Name)
	if err != nil {
		return nil, err
	}
	return &protocol.DomainSnapshotIsCurrentRet{Current: truth(s.name == d.snaps.current)}, nil
}

// snapshotHasMetadata: of snapshots without it nothing is known here.
func (d *domain) snapshotHasMetadata(_ actor.Context, _ *call.Request, a *protocol.DomainSnapshotHasMetadataArgs) (*protocol.DomainSnapshotHasMetadataRet, error) {
	if _, err := d.snap(a.Snap.Name); err != nil {
		return nil, err
	}
	return &protocol.DomainSnapshotHasMetadataRet{Metadata: 1}, nil
}

func (d *domain) snapshotXML(ctx actor.Context, r *call.Request, a *protocol.DomainSnapshotGetXMLDescArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainSnapshotXMLSecure, liberr.FromQemu, "qemuDomainSnapshotGetXMLDesc"); err != nil {
		return err
	}
	s, err := d.snap(a.Snap.Name)
	if err != nil {
		return err
	}
	env, secure := d.drv.xmlEnv, a.Flags&virt.DomainSnapshotXMLSecure != 0
	d.look(ctx, r, func(context.Context) (protocol.Encoder, error) {
		shown := *s
		if !secure {
			def, err := s.definitionOf(env, false)
			if err != nil {
				return nil, err
			}
			if shown.domain, err = domxml.Format(def, domxml.Inactive); err != nil {
				return nil, err
			}
		}
		return &protocol.DomainSnapshotGetXMLDescRet{XML: shown.xml(false, false)}, nil
	})
	return nil
}
