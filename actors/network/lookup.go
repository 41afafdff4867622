package network

import (
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Lookups and lists: answered by the branch from its index, whatever the networks are doing.

func (e *entry) ref() protocol.Network { return protocol.Network{Name: e.Name, UUID: e.UUID} }

func (d *driver) lookupByName(_ actor.Context, _ *call.Request, a *protocol.NetworkLookupByNameArgs) (*protocol.NetworkLookupByNameRet, error) {
	e := d.FindName(a.Name)
	if e == nil {
		return nil, liberr.New(from, liberr.NoNetwork, "no network with matching name '%s'", a.Name)
	}
	return &protocol.NetworkLookupByNameRet{Net: e.ref()}, nil
}

func (d *driver) lookupByUUID(_ actor.Context, _ *call.Request, a *protocol.NetworkLookupByUUIDArgs) (*protocol.NetworkLookupByUUIDRet, error) {
	e := d.Find(a.UUID)
	if e == nil {
		return nil, liberr.New(from, liberr.NoNetwork, "no network with matching uuid '%s'", a.UUID)
	}
	return &protocol.NetworkLookupByUUIDRet{Net: e.ref()}, nil
}

// selected returns the visible networks that fit, in the order of their names.
func (d *driver) selected(fits func(*entry) bool) []*entry {
	all := d.Visible(fits)
	slices.SortFunc(all, func(a, b *entry) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func isActive(e *entry) bool   { return e.Active }
func isInactive(e *entry) bool { return !e.Active }

func (d *driver) count(actor.Context, *call.Request, *protocol.Void) (*protocol.ConnectNumOfNetworksRet, error) {
	return &protocol.ConnectNumOfNetworksRet{Num: int32(len(d.selected(isActive)))}, nil
}

func (d *driver) countDefined(actor.Context, *call.Request, *protocol.Void) (*protocol.ConnectNumOfDefinedNetworksRet, error) {
	return &protocol.ConnectNumOfDefinedNetworksRet{Num: int32(len(d.selected(isInactive)))}, nil
}

func (d *driver) list(_ actor.Context, _ *call.Request, a *protocol.ConnectListNetworksArgs) (*protocol.ConnectListNetworksRet, error) {
	names, err := d.names(isActive, a.Maxnames)
	return &protocol.ConnectListNetworksRet{Names: names}, err
}

func (d *driver) listDefined(_ actor.Context, _ *call.Request, a *protocol.ConnectListDefinedNetworksArgs) (*protocol.ConnectListDefinedNetworksRet, error) {
	names, err := d.names(isInactive, a.Maxnames)
	return &protocol.ConnectListDefinedNetworksRet{Names: names}, err
}

// names lists at most limit networks. What is refused here is refused by the daemon's own argument check in libvirt.
func (d *driver) names(fits func(*entry) bool, limit int32) ([]string, error) {
	if err := call.CheckMax(limit, protocol.RemoteNetworkListMax, "maxnames", "REMOTE_NETWORK_LIST_MAX"); err != nil {
		return nil, err
	}
	var names []string
	for _, e := range d.selected(fits) {
		if len(names) < int(limit) {
			names = append(names, e.Name)
		}
	}
	return names, nil
}

// listFlags are the filters of virConnectListAllNetworks.
const listFlags = virt.ConnectListNetworksInactive | virt.ConnectListNetworksActive |
	virt.ConnectListNetworksPersistent | virt.ConnectListNetworksTransient |
	virt.ConnectListNetworksAutostart | virt.ConnectListNetworksNoAutostart

// listAll filters in three groups: within a group one must hold, and of each group that is used.
func (d *driver) listAll(_ actor.Context, _ *call.Request, a *protocol.ConnectListAllNetworksArgs) (*protocol.ConnectListAllNetworksRet, error) {
	if err := call.CheckFlags(a.Flags, listFlags, from, "networkConnectListAllNetworks"); err != nil {
		return nil, err
	}
	pass := func(is bool, yes, no uint32) bool {
		return a.Flags&(yes|no) == 0 || is && a.Flags&yes != 0 || !is && a.Flags&no != 0
	}
	all := d.selected(func(e *entry) bool {
		return pass(e.Active, virt.ConnectListNetworksActive, virt.ConnectListNetworksInactive) &&
			pass(e.Persistent, virt.ConnectListNetworksPersistent, virt.ConnectListNetworksTransient) &&
			pass(e.Autostart, virt.ConnectListNetworksAutostart, virt.ConnectListNetworksNoAutostart)
	})
	ret := &protocol.ConnectListAllNetworksRet{Ret: uint32(len(all))}
	if a.NeedResults != 0 {
		for _, e := range all {
			ret.Nets = append(ret.Nets, e.ref())
		}
	}
	return ret, nil
}

// Definitions come in by two procedures each, of which the newer has flags.

func (d *driver) defineXML(ctx actor.Context, r *call.Request, a *protocol.NetworkDefineXMLArgs) error {
	d.defineDoc(ctx, r, a.XML, 0)
	return nil
}

func (d *driver) defineXMLFlags(ctx actor.Context, r *call.Request, a *protocol.NetworkDefineXMLFlagsArgs) error {
	if err := call.CheckFlags(a.Flags, virt.NetworkDefineValidate, from, "networkDefineXMLFlags"); err != nil {
		return err
	}
	d.defineDoc(ctx, r, a.XML, a.Flags)
	return nil
}

func (d *driver) defineDoc(ctx actor.Context, r *call.Request, doc string, flags uint32) {
	d.parse(ctx, r, doc, flags&virt.NetworkDefineValidate != 0, false, func(ctx actor.Context, e *entry, def *definition) {
		ctx.Send(e.PID, &define{req: r, def: def})
	})
}

func (d *driver) createXML(ctx actor.Context, r *call.Request, a *protocol.NetworkCreateXMLArgs) error {
	d.createDoc(ctx, r, a.XML, 0)
	return nil
}

func (d *driver) createXMLFlags(ctx actor.Context, r *call.Request, a *protocol.NetworkCreateXMLFlagsArgs) error {
	if err := call.CheckFlags(a.Flags, virt.NetworkCreateValidate, from, "networkCreateXMLFlags"); err != nil {
		return err
	}
	d.createDoc(ctx, r, a.XML, a.Flags)
	return nil
}

func (d *driver) createDoc(ctx actor.Context, r *call.Request, doc string, flags uint32) {
	d.parse(ctx, r, doc, flags&virt.NetworkCreateValidate != 0, true, func(ctx actor.Context, e *entry, def *definition) {
		ctx.Send(e.PID, &create{req: r, def: def})
	})
}
