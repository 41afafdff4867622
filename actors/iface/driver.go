package iface

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/iface/conf"
	"virtree/actors/iface/live"
	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

const from = liberr.FromInterface

// patience is how long a look at sysfs may take.
const patience = 30 * time.Second

// driver is the branch actor: calls in the hands of jobs, nothing else.
type driver struct {
	env  *branch.Env
	host host
	bus  branch.Bus // interfaces have no events; who subscribes hears nothing
	desk branch.Desk

	changes []func(actor.Context) // wait for their turn; the first one runs
}

// New makes the branch actor.
func New(env *branch.Env) actor.Producer {
	h := host{sys: "/sys", proc: "/proc"}
	if !env.Paths.Session {
		h.files = &conf.Host{Root: env.Paths.Root, Lib: env.Paths.DriverLib("interface"), Boot: bootID()}
	}
	return newOn(env, h)
}

// bootID tells one boot of the host from another.
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

func newOn(env *branch.Env, h host) actor.Producer {
	return func() actor.Actor { return &driver{env: env, host: h, desk: branch.NewDesk(from, "interface driver")} }
}

// Receive serves calls.
func (d *driver) Receive(ctx actor.Context) {
	if d.bus.Receive(ctx) || d.desk.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *actor.Started:
		d.recover(ctx)
	case *actor.Stopping, *actor.Restarting:
		d.changes = nil // the desk has answered for them
	case *call.Call:
		branch.Serve(&d.desk, routes, d, ctx, m)
	default:
		kit.Unhandled(ctx, m)
	}
}

// routes is the driver's table of contents. What it does not name is not supported.
var routes = call.NewTable(
	route(protocol.ConnectNumOfInterfaces, count[protocol.ConnectNumOfInterfacesRet]("up", func(n int32) *protocol.ConnectNumOfInterfacesRet {
		return &protocol.ConnectNumOfInterfacesRet{Num: n}
	})),
	route(protocol.ConnectNumOfDefinedInterfaces, count[protocol.ConnectNumOfDefinedInterfacesRet]("down", func(n int32) *protocol.ConnectNumOfDefinedInterfacesRet {
		return &protocol.ConnectNumOfDefinedInterfacesRet{Num: n}
	})),
	route(protocol.ConnectListInterfaces, list),
	route(protocol.ConnectListDefinedInterfaces, listDefined),
	route(protocol.ConnectListAllInterfaces, listAll),
	route(protocol.InterfaceLookupByName, lookupByName),
	route(protocol.InterfaceLookupByMACString, lookupByMAC),
	route(protocol.InterfaceGetXMLDesc, xmlDesc),
	route(protocol.InterfaceIsActive, isActive),
	changing(protocol.InterfaceDefineXML, define),
	changing(protocol.InterfaceUndefine, undefine),
	changing(protocol.InterfaceCreate, create),
	changing(protocol.InterfaceDestroy, destroy),
	changing(protocol.InterfaceChangeBegin, begin),
	changing(protocol.InterfaceChangeCommit, commit),
	changing(protocol.InterfaceChangeRollback, rollback),
)

// route runs a handler as a job.
func route[A, R any, PA call.Decodable[A], PR call.Encodable[R]](p protocol.Proc[A, R], h func(host, PA) (PR, error)) call.Route[*driver] {
	return branch.Job(p, patience, func(d *driver) (*branch.Desk, host) { return &d.desk, d.host },
		func(_ context.Context, at host, a PA) (PR, error) {
			at, err := at.look()
			if err != nil {
				return nil, err
			}
			return h(at, a)
		})
}

func count[R any](state string, ret func(int32) *R) func(host, *protocol.Void) (*R, error) {
	return func(h host, _ *protocol.Void) (*R, error) {
		names, err := h.inState(state)
		return ret(int32(len(names))), err
	}
}

func list(h host, a *protocol.ConnectListInterfacesArgs) (*protocol.ConnectListInterfacesRet, error) {
	names, err := atMost(h, "up", a.Maxnames)
	return &protocol.ConnectListInterfacesRet{Names: names}, err
}

func listDefined(h host, a *protocol.ConnectListDefinedInterfacesArgs) (*protocol.ConnectListDefinedInterfacesRet, error) {
	names, err := atMost(h, "down", a.Maxnames)
	return &protocol.ConnectListDefinedInterfacesRet{Names: names}, err
}

func atMost(h host, state string, n int32) ([]string, error) {
	if err := call.CheckMax(n, protocol.RemoteInterfaceListMax, "maxnames", "REMOTE_INTERFACE_LIST_MAX"); err != nil {
		return nil, err
	}
	names, err := h.inState(state)
	return names[:min(len(names), int(n))], err
}

const listFlags = virt.ConnectListInterfacesInactive | virt.ConnectListInterfacesActive

func listAll(h host, a *protocol.ConnectListAllInterfacesArgs) (*protocol.ConnectListAllInterfacesRet, error) {
	if err := call.CheckFlags(a.Flags, listFlags, from, "udevConnectListAllInterfaces"); err != nil {
		return nil, err
	}
	links, err := h.links()
	if err != nil {
		return nil, err
	}
	ret := &protocol.ConnectListAllInterfacesRet{}
	for _, l := range links {
		flag := uint32(virt.ConnectListInterfacesInactive)
		if l.state() == "up" {
			flag = virt.ConnectListInterfacesActive
		}
		if !l.listed() || a.Flags != 0 && a.Flags&flag == 0 {
			continue
		}
		ret.Ret++
		if a.NeedResults != 0 {
			ret.Ifaces = append(ret.Ifaces, l.wire())
		}
	}
	return ret, nil
}

func lookupByName(h host, a *protocol.InterfaceLookupByNameArgs) (*protocol.InterfaceLookupByNameRet, error) {
	l, err := h.link(a.Name)
	if err != nil {
		return nil, err
	}
	return &protocol.InterfaceLookupByNameRet{Iface: l.wire()}, nil
}

// lookupByMAC compares addresses as they are written, as libvirt does.
func lookupByMAC(h host, a *protocol.InterfaceLookupByMACStringArgs) (*protocol.InterfaceLookupByMACStringRet, error) {
	links, err := h.links()
	if err != nil {
		return nil, err
	}
	var found []link
	for _, l := range links {
		if l.attr("address") == a.MAC {
			found = append(found, l)
		}
	}
	switch len(found) {
	case 0:
		return nil, liberr.New(from, liberr.NoInterface, "couldn't find interface with MAC address '%s'", a.MAC)
	case 1:
		return &protocol.InterfaceLookupByMACStringRet{Iface: found[0].wire()}, nil
	}
	return nil, liberr.New(from, liberr.MultipleInterfaces, "the MAC address '%s' matches multiple interfaces", a.MAC)
}

func isActive(h host, a *protocol.InterfaceIsActiveArgs) (*protocol.InterfaceIsActiveRet, error) {
	l, err := h.link(a.Iface.Name)
	if err != nil {
		return nil, err
	}
	ret := &protocol.InterfaceIsActiveRet{}
	if l.state() == "up" {
		ret.Active = 1
	}
	return ret, nil
}

// xmlDesc prints the definition when that is asked for and there is one, else the live state.
func xmlDesc(h host, a *protocol.InterfaceGetXMLDescArgs) (*protocol.InterfaceGetXMLDescRet, error) {
	if err := call.CheckFlags(a.Flags, virt.InterfaceXMLInactive, from, "udevInterfaceGetXMLDesc"); err != nil {
		return nil, err
	}
	l, err := h.link(a.Iface.Name)
	if err != nil {
		return nil, err
	}
	i := l.def
	if l.dir != "" && (i == nil || a.Flags&virt.InterfaceXMLInactive == 0) {
		if i, err = h.describe(l, true); err != nil {
			return nil, err
		}
		if h.defines {
			i.Protocols = live.Protocols(l.name)
		}
	}
	return &protocol.InterfaceGetXMLDescRet{XML: i.Format()}, nil
}
