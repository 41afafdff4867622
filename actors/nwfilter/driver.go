package nwfilter

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

const from = liberr.FromNwfilter

// driver is the branch actor. It has no state but its subscribers, who hear nothing.
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

// routes is the driver's table of contents. What it does not name is not supported.
var routes = call.NewTable(
	call.Answer(protocol.ConnectNumOfNwfilters, (*driver).count),
	call.Answer(protocol.ConnectListNwfilters, (*driver).list),
	call.Answer(protocol.ConnectListAllNwfilters, (*driver).listAll),
	call.Answer(protocol.NwfilterLookupByName, (*driver).lookupByName),
	call.Answer(protocol.NwfilterLookupByUUID, (*driver).lookupByUUID),
	call.Answer(protocol.NwfilterGetXMLDesc, (*driver).xml),
	call.Answer(protocol.NwfilterUndefine, (*driver).undefine),

	call.Answer(protocol.ConnectListAllNwfilterBindings, (*driver).listBindings),
	call.Answer(protocol.NwfilterBindingLookupByPortDev, (*driver).lookupBinding),
	call.Answer(protocol.NwfilterBindingGetXMLDesc, (*driver).bindingXML),
	call.Answer(protocol.NwfilterBindingDelete, (*driver).deleteBinding),
)

func (d *driver) count(actor.Context, *call.Request, *protocol.Void) (*protocol.ConnectNumOfNwfiltersRet, error) {
	return &protocol.ConnectNumOfNwfiltersRet{}, nil
}

func (d *driver) list(_ actor.Context, _ *call.Request, a *protocol.ConnectListNwfiltersArgs) (*protocol.ConnectListNwfiltersRet, error) {
	switch {
	case a.Maxnames < 0:
		return nil, liberr.Raw(liberr.FromRPC, liberr.RPC, "maxnames must be non-negative")
	case a.Maxnames > protocol.RemoteNwfilterListMax:
		return nil, liberr.Raw(liberr.FromRPC, liberr.RPC, "maxnames > REMOTE_NWFILTER_LIST_MAX")
	}
	return &protocol.ConnectListNwfiltersRet{}, nil
}

func (d *driver) listAll(_ actor.Context, _ *call.Request, a *protocol.ConnectListAllNwfiltersArgs) (*protocol.ConnectListAllNwfiltersRet, error) {
	return &protocol.ConnectListAllNwfiltersRet{}, call.CheckFlags(a.Flags, 0, from, "nwfilterConnectListAllNWFilters")
}

func (d *driver) lookupByName(_ actor.Context, _ *call.Request, a *protocol.NwfilterLookupByNameArgs) (*protocol.NwfilterLookupByNameRet, error) {
	return nil, liberr.New(from, liberr.NoNwfilter, "no nwfilter with matching name '%s'", a.Name)
}

func (d *driver) lookupByUUID(_ actor.Context, _ *call.Request, a *protocol.NwfilterLookupByUUIDArgs) (*protocol.NwfilterLookupByUUIDRet, error) {
	return nil, missing(a.UUID)
}

func (d *driver) xml(_ actor.Context, _ *call.Request, a *protocol.NwfilterGetXMLDescArgs) (*protocol.NwfilterGetXMLDescRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "nwfilterGetXMLDesc"); err != nil {
		return nil, err
	}
	return nil, missing(a.Nwfilter.UUID)
}

func (d *driver) undefine(_ actor.Context, _ *call.Request, a *protocol.NwfilterUndefineArgs) (*protocol.Void, error) {
	return nil, missing(a.Nwfilter.UUID)
}

func (d *driver) listBindings(_ actor.Context, _ *call.Request, a *protocol.ConnectListAllNwfilterBindingsArgs) (*protocol.ConnectListAllNwfilterBindingsRet, error) {
	return &protocol.ConnectListAllNwfilterBindingsRet{}, call.CheckFlags(a.Flags, 0, from, "nwfilterConnectListAllNWFilterBindings")
}

func (d *driver) lookupBinding(_ actor.Context, _ *call.Request, a *protocol.NwfilterBindingLookupByPortDevArgs) (*protocol.NwfilterBindingLookupByPortDevRet, error) {
	return nil, missingBinding(a.Name)
}

func (d *driver) bindingXML(_ actor.Context, _ *call.Request, a *protocol.NwfilterBindingGetXMLDescArgs) (*protocol.NwfilterBindingGetXMLDescRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "nwfilterBindingGetXMLDesc"); err != nil {
		return nil, err
	}
	return nil, missingBinding(a.Nwfilter.Portdev)
}

func (d *driver) deleteBinding(_ actor.Context, _ *call.Request, a *protocol.NwfilterBindingDeleteArgs) (*protocol.Void, error) {
	return nil, missingBinding(a.Nwfilter.Portdev)
}

func missing(id protocol.UUID) error {
	return liberr.New(from, liberr.NoNwfilter, "no nwfilter with matching uuid '%s'", id)
}

func missingBinding(port string) error {
	return liberr.New(from, liberr.NoNwfilterBinding, "no nwfilter binding for port dev '%s'", port)
}
