package nwfilter

import (
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// names lists the filters in the order of their names.
func (d *driver) names() []string { return slices.Sorted(maps.Keys(d.filters)) }

func (d *driver) count(actor.Context, *call.Request, *protocol.Void) (*protocol.ConnectNumOfNwfiltersRet, error) {
	return &protocol.ConnectNumOfNwfiltersRet{Num: int32(len(d.filters))}, nil
}

func (d *driver) list(_ actor.Context, _ *call.Request, a *protocol.ConnectListNwfiltersArgs) (*protocol.ConnectListNwfiltersRet, error) {
	switch {
	case a.Maxnames < 0:
		return nil, liberr.Raw(liberr.FromRPC, liberr.RPC, "maxnames must be non-negative")
	case a.Maxnames > protocol.RemoteNwfilterListMax:
		return nil, liberr.Raw(liberr.FromRPC, liberr.RPC, "maxnames > REMOTE_NWFILTER_LIST_MAX")
	}
	names := d.names()
	return &protocol.ConnectListNwfiltersRet{Names: names[:min(len(names), int(a.Maxnames))]}, nil
}

func (d *driver) listAll(_ actor.Context, _ *call.Request, a *protocol.ConnectListAllNwfiltersArgs) (*protocol.ConnectListAllNwfiltersRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "nwfilterConnectListAllNWFilters"); err != nil {
		return nil, err
	}
	if len(d.filters) > protocol.RemoteNwfilterListMax {
		return nil, liberr.New(liberr.FromRPC, liberr.InternalError, "Too many nwfilters '%d' for limit '%d'", len(d.filters), protocol.RemoteNwfilterListMax)
	}
	ret := &protocol.ConnectListAllNwfiltersRet{Ret: uint32(len(d.filters))}
	if a.NeedResults != 0 {
		for _, name := range d.names() {
			ret.Filters = append(ret.Filters, d.filters[name].wire())
		}
	}
	return ret, nil
}

func (d *driver) lookupByName(_ actor.Context, _ *call.Request, a *protocol.NwfilterLookupByNameArgs) (*protocol.NwfilterLookupByNameRet, error) {
	f := d.filters[a.Name]
	if f == nil {
		return nil, liberr.New(from, liberr.NoNwfilter, "no nwfilter with matching name '%s'", a.Name)
	}
	return &protocol.NwfilterLookupByNameRet{Nwfilter: f.wire()}, nil
}

func (d *driver) lookupByUUID(_ actor.Context, _ *call.Request, a *protocol.NwfilterLookupByUUIDArgs) (*protocol.NwfilterLookupByUUIDRet, error) {
	f, err := d.filterOf(a.UUID)
	if err != nil {
		return nil, err
	}
	return &protocol.NwfilterLookupByUUIDRet{Nwfilter: f.wire()}, nil
}

// xml prints a filter, in a job when it is large.
func (d *driver) xml(ctx actor.Context, r *call.Request, a *protocol.NwfilterGetXMLDescArgs) error {
	if err := call.CheckFlags(a.Flags, 0, from, "nwfilterGetXMLDesc"); err != nil {
		return err
	}
	f, err := d.filterOf(a.Nwfilter.UUID)
	if err != nil {
		return err
	}
	if len(f.Entries) <= smallFilter {
		r.Reply(&protocol.NwfilterGetXMLDescRet{XML: f.Format()})
		return nil
	}
	d.parse(ctx, r, func() (any, error) { return f.Format(), nil }, func(_ actor.Context, out any) {
		text := out.(string)
		if len(text) > maxString {
			// Compat: the answer does not fit into a packet, which libvirt notices as it encodes it.
			r.Fail(liberr.New(liberr.FromRPC, liberr.RPC, "Unable to encode message payload"))
			return
		}
		r.Reply(&protocol.NwfilterGetXMLDescRet{XML: text})
	})
	return nil
}

// maxString is the longest text that an answer carries.
const maxString = protocol.RemoteStringMax

// smallFilter is how many entries are printed in no time.
const smallFilter = 100

func (d *driver) listBindings(_ actor.Context, _ *call.Request, a *protocol.ConnectListAllNwfilterBindingsArgs) (*protocol.ConnectListAllNwfilterBindingsRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "nwfilterConnectListAllNWFilterBindings"); err != nil {
		return nil, err
	}
	if len(d.ports) > protocol.RemoteNwfilterBindingListMax {
		return nil, liberr.New(liberr.FromRPC, liberr.InternalError, "Too many nwfilter_bindings '%d' for limit '%d'", len(d.ports), protocol.RemoteNwfilterBindingListMax)
	}
	ret := &protocol.ConnectListAllNwfilterBindingsRet{Ret: uint32(len(d.ports))}
	if a.NeedResults != 0 {
		for _, name := range slices.Sorted(maps.Keys(d.ports)) {
			ret.Bindings = append(ret.Bindings, bindingWire(d.ports[name].binding))
		}
	}
	return ret, nil
}

func (d *driver) lookupBinding(_ actor.Context, _ *call.Request, a *protocol.NwfilterBindingLookupByPortDevArgs) (*protocol.NwfilterBindingLookupByPortDevRet, error) {
	p, err := d.portOf(a.Name)
	if err != nil {
		return nil, err
	}
	return &protocol.NwfilterBindingLookupByPortDevRet{Nwfilter: bindingWire(p.binding)}, nil
}

func (d *driver) bindingXML(_ actor.Context, _ *call.Request, a *protocol.NwfilterBindingGetXMLDescArgs) (*protocol.NwfilterBindingGetXMLDescRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "nwfilterBindingGetXMLDesc"); err != nil {
		return nil, err
	}
	p, err := d.portOf(a.Nwfilter.Portdev)
	if err != nil {
		return nil, err
	}
	return &protocol.NwfilterBindingGetXMLDescRet{XML: p.binding.Format()}, nil
}
