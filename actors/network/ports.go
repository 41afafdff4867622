package network

import (
	"context"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Ports: what a hypervisor asks for before it starts a guest with an interface of type network, and gives back after.

func (n *network) findPort(id protocol.UUID) (*port, error) {
	if p := n.ports[id]; p != nil {
		return p, nil
	}
	return nil, liberr.New(from, liberr.NoNetworkPort, "Network port with UUID %s does not exist", id)
}

func (n *network) sortedPorts() []*port {
	all := make([]*port, 0, len(n.ports))
	for _, p := range n.ports {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *port) int { return strings.Compare(a.uuid.String(), b.uuid.String()) })
	return all
}

func (n *network) listPorts(_ actor.Context, _ *call.Request, a *protocol.NetworkListAllPortsArgs) (*protocol.NetworkListAllPortsRet, error) {
	if n.live == nil {
		return nil, inactive(n.name)
	}
	ret := &protocol.NetworkListAllPortsRet{Ret: uint32(len(n.ports))}
	if a.NeedResults != 0 {
		for _, p := range n.sortedPorts() {
			ret.Ports = append(ret.Ports, p.ref(n.ref()))
		}
	}
	return ret, nil
}

func (n *network) lookupPort(_ actor.Context, _ *call.Request, a *protocol.NetworkPortLookupByUUIDArgs) (*protocol.NetworkPortLookupByUUIDRet, error) {
	if n.live == nil {
		return nil, inactive(n.name)
	}
	p, err := n.findPort(a.UUID)
	if err != nil {
		return nil, err
	}
	return &protocol.NetworkPortLookupByUUIDRet{Port: p.ref(n.ref())}, nil
}

func inactive(name string) error {
	return liberr.New(from, liberr.OperationInvalid, "network '%s' is not active", name)
}

func (n *network) portXML(_ actor.Context, _ *call.Request, a *protocol.NetworkPortGetXMLDescArgs) (*protocol.NetworkPortGetXMLDescRet, error) {
	if n.live == nil {
		return nil, inactive(n.name)
	}
	p, err := n.findPort(a.Port.UUID)
	if err != nil {
		return nil, err
	}
	return &protocol.NetworkPortGetXMLDescRet{XML: p.format()}, nil
}

// changed is what a change of the ports makes of the network.
type changed struct {
	status *status
	port   *port
}

// createPort connects a guest. With RECLAIM the document says where the guest is plugged in already: the network had
// forgotten the port, as after a restart of a daemon whose run-time files were lost.
func (n *network) createPort(ctx actor.Context, r *call.Request, a *protocol.NetworkPortCreateXMLArgs) error {
	p, err := parsePort(a.XML)
	if err != nil {
		return err
	}
	reclaim := a.Flags&virt.NetworkPortCreateReclaim != 0
	switch {
	case reclaim && p.plug.typ == "":
		return liberr.New(from, liberr.InvalidArg, "Port reclaim requested but plug type is none")
	case !reclaim && p.plug.typ != "":
		return liberr.New(from, liberr.InvalidArg, "Port reclaim not requested but plug type is not none")
	}
	drv := n.drv
	n.begin(ctx, &task{
		name: "create port", req: r,
		decide: func(n *network) (work, error) {
			if n.live == nil {
				return nil, inactive(n.name)
			}
			if n.ports[p.uuid] != nil {
				return nil, liberr.New(from, liberr.NetworkPortExist, "Network port with UUID %s already exists", p.uuid)
			}
			before := n.live
			floors := before.floor
			st := before.clone()
			if err := st.allocate(p, n.ports); err != nil {
				return nil, err
			}
			others := n.sortedPorts()
			ports := append(slices.Clone(others), p)
			return func(jc context.Context, undo *kit.Undo) (any, error) {
				if p.class != 0 {
					net := st.def.bandwidth.in
					undo.Add("remove the port's bandwidth", func(context.Context) error { return shape(st.def.bridge, unplugSteps(net, p, floors)) })
					if err := shape(st.def.bridge, plugSteps(net, p, st.floor)); err != nil {
						return nil, err
					}
				}
				if err := drv.storePort(st.def.name, p); err != nil {
					return nil, err
				}
				undo.Add("remove the port's file", func(context.Context) error { return drv.dropPort(st.def.name, p.uuid) })
				undo.Add("put the status back", func(context.Context) error { return drv.storeStatus(before) })
				if err := drv.storeStatus(st); err != nil {
					return nil, err
				}
				undo.Add("put the list of addresses back", func(context.Context) error { return drv.storeMACs(st.def, others) })
				if err := drv.storeMACs(st.def, ports); err != nil {
					return nil, err
				}
				_, err := drv.hook(jc, st.def, hookPortCreated, p.format())
				return changed{st, p}, err
			}, nil
		},
		apply: func(n *network, _ actor.Context, out any) (protocol.Encoder, error) {
			c := out.(changed)
			n.live = c.status
			n.ports[p.uuid] = c.port
			n.log.Info().Str("port", p.uuid.String()).Str("owner", p.owner).Str("mac", p.mac).Msg("port created")
			return &protocol.NetworkPortCreateXMLRet{Port: p.ref(n.ref())}, nil
		},
	})
	return nil
}

// deletePort disconnects a guest.
func (n *network) deletePort(ctx actor.Context, r *call.Request, a *protocol.NetworkPortDeleteArgs) error {
	drv, id := n.drv, a.Port.UUID
	n.begin(ctx, &task{
		name: "delete port", req: r,
		decide: func(n *network) (work, error) {
			if n.live == nil {
				return nil, inactive(n.name)
			}
			p, err := n.findPort(id)
			if err != nil {
				return nil, err
			}
			st := n.live.clone()
			st.takeFloor(p)
			rest := slices.DeleteFunc(n.sortedPorts(), func(o *port) bool { return o.uuid == id })
			return func(jc context.Context, _ *kit.Undo) (any, error) {
				if p.class != 0 {
					if err := shape(st.def.bridge, unplugSteps(st.def.bandwidth.in, p, st.floor)); err != nil {
						drv.env.Log.Error().Err(err).Str("port", id.String()).Msg("cannot remove the bandwidth of a port")
					}
				}
				if err := drv.dropPort(st.def.name, id); err != nil {
					return nil, liberr.System(from, err, "cannot remove port file '%s'", drv.portPath(st.def.name, id))
				}
				if err := drv.storeStatus(st); err != nil {
					return nil, err
				}
				if err := drv.storeMACs(st.def, rest); err != nil {
					return nil, err
				}
				if _, err := drv.hook(jc, st.def, hookPortDeleted, p.format()); err != nil {
					drv.env.Log.Error().Err(err).Msg("hook failed") // the guest is gone, whatever the script thinks
				}
				return changed{st, p}, nil
			}, nil
		},
		apply: func(n *network, _ actor.Context, out any) (protocol.Encoder, error) {
			n.live = out.(changed).status
			delete(n.ports, id)
			n.log.Info().Str("port", id.String()).Msg("port deleted")
			return nil, nil
		},
	})
	return nil
}

// Parameters of a port are its bandwidth.

func (n *network) portParameters(_ actor.Context, _ *call.Request, a *protocol.NetworkPortGetParametersArgs) (*protocol.NetworkPortGetParametersRet, error) {
	if n.live == nil {
		return nil, inactive(n.name)
	}
	p, err := n.findPort(a.Port.UUID)
	if err != nil {
		return nil, err
	}
	ret := &protocol.NetworkPortGetParametersRet{}
	if b := p.bandwidth; b != nil {
		for _, f := range b.fields() {
			ret.Params = append(ret.Params, protocol.TypedParam{Field: f.name, Value: protocol.TypedParamValue{Type: virt.TypedParamUint, UI: uint32(*f.value)}})
		}
	}
	if a.Nparams == 0 { // the client asks how many there are
		return &protocol.NetworkPortGetParametersRet{Nparams: int32(len(ret.Params))}, nil
	}
	ret.Params = ret.Params[:min(len(ret.Params), int(a.Nparams))]
	return ret, nil
}

type bandwidthField struct {
	name  string
	value *uint64
}

// fields names the numbers of a bandwidth, of those directions that it has.
func (b *bandwidth) fields() (out []bandwidthField) {
	if b.in != nil {
		out = append(out, bandwidthField{virt.NetworkPortBandwidthInAverage, &b.in.average}, bandwidthField{virt.NetworkPortBandwidthInPeak, &b.in.peak},
			bandwidthField{virt.NetworkPortBandwidthInFloor, &b.in.floor}, bandwidthField{virt.NetworkPortBandwidthInBurst, &b.in.burst})
	}
	if b.out != nil {
		out = append(out, bandwidthField{virt.NetworkPortBandwidthOutAverage, &b.out.average}, bandwidthField{virt.NetworkPortBandwidthOutPeak, &b.out.peak},
			bandwidthField{virt.NetworkPortBandwidthOutBurst, &b.out.burst})
	}
	return out
}

// setPortParameters gives the port a new bandwidth, made of the parameters alone. A direction without an average has none.
func (n *network) setPortParameters(ctx actor.Context, r *call.Request, a *protocol.NetworkPortSetParametersArgs) error {
	b := &bandwidth{in: &rate{}, out: &rate{}}
	fields := map[string]*uint64{}
	for _, f := range b.fields() {
		fields[f.name] = f.value
	}
	for _, p := range a.Params {
		to := fields[p.Field]
		if to == nil {
			return liberr.New(liberr.FromNone, liberr.ArgumentUnsupported, "parameter '%s' not supported", p.Field)
		}
		if p.Value.Type != virt.TypedParamUint {
			return liberr.New(liberr.FromNone, liberr.InvalidArg, "invalid type for parameter '%s', expected 'uint'", p.Field)
		}
		*to = uint64(p.Value.UI)
	}
	if b.in.average == 0 && b.in.floor == 0 {
		b.in = nil
	}
	if b.out.average == 0 {
		b.out = nil
	}
	drv, id := n.drv, a.Port.UUID
	n.begin(ctx, &task{
		name: "set port parameters", req: r,
		decide: func(n *network) (work, error) {
			if n.live == nil {
				return nil, inactive(n.name)
			}
			old, err := n.findPort(id)
			if err != nil {
				return nil, err
			}
			next := *old
			next.bandwidth = b
			before := n.live
			st := before.clone()
			st.takeFloor(old)
			if err := st.giveFloor(&next); err != nil {
				return nil, err
			}
			forth, back := refloor(before, old, &next, st.floor), refloor(st, &next, old, before.floor)
			return func(_ context.Context, undo *kit.Undo) (any, error) {
				if len(forth) > 0 {
					undo.Add("put the port's bandwidth back", func(context.Context) error { return shape(st.def.bridge, back) })
					if err := shape(st.def.bridge, forth); err != nil {
						return nil, err
					}
				}
				undo.Add("put the port's file back", func(context.Context) error { return drv.storePort(st.def.name, old) })
				if err := drv.storePort(st.def.name, &next); err != nil {
					return nil, err
				}
				return changed{st, &next}, drv.storeStatus(st)
			}, nil
		},
		apply: func(n *network, _ actor.Context, out any) (protocol.Encoder, error) {
			c := out.(changed)
			n.live, n.ports[id] = c.status, c.port
			return nil, nil
		},
	})
	return nil
}

// refloor is what leads from one floor of a port to another; floors is the sum of all afterwards.
func refloor(st *status, before, after *port, floors uint64) []tcStep {
	if st.def.bandwidth == nil || st.def.bandwidth.in == nil {
		return nil
	}
	net := st.def.bandwidth.in
	switch {
	case before.class != 0 && after.class != 0:
		return floorSteps(net, after, floors)
	case after.class != 0:
		return plugSteps(net, after, floors)
	case before.class != 0:
		return unplugSteps(net, before, floors)
	}
	return nil
}
