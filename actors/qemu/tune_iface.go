package qemu

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// bandwidthParams are the parameters of an interface in libvirt's order.
var bandwidthParams = []struct {
	name  string
	in    bool
	field func(p *libvirtxml.DomainInterfaceBandwidthParams) **int
}{
	{virt.DomainBandwidthInAverage, true, func(p *libvirtxml.DomainInterfaceBandwidthParams) **int { return &p.Average }},
	{virt.DomainBandwidthInPeak, true, func(p *libvirtxml.DomainInterfaceBandwidthParams) **int { return &p.Peak }},
	{virt.DomainBandwidthInBurst, true, func(p *libvirtxml.DomainInterfaceBandwidthParams) **int { return &p.Burst }},
	{virt.DomainBandwidthInFloor, true, func(p *libvirtxml.DomainInterfaceBandwidthParams) **int { return &p.Floor }},
	{virt.DomainBandwidthOutAverage, false, func(p *libvirtxml.DomainInterfaceBandwidthParams) **int { return &p.Average }},
	{virt.DomainBandwidthOutPeak, false, func(p *libvirtxml.DomainInterfaceBandwidthParams) **int { return &p.Peak }},
	{virt.DomainBandwidthOutBurst, false, func(p *libvirtxml.DomainInterfaceBandwidthParams) **int { return &p.Burst }},
}

func (d *domain) interfaceParameters(_ actor.Context, _ *call.Request, a *protocol.DomainGetInterfaceParametersArgs) (*protocol.DomainGetInterfaceParametersRet, error) {
	if err := call.CheckFlags(a.Flags, readFlags, liberr.FromQemu, "qemuDomainGetInterfaceParameters"); err != nil {
		return nil, err
	}
	if a.Nparams > protocol.RemoteDomainInterfaceParametersMax || a.Nparams < 0 {
		return nil, liberr.New(liberr.FromRPC, liberr.InternalError, "nparams too large")
	}
	def, _, err := d.one(a.Flags)
	if err != nil {
		return nil, err
	}
	ret := &protocol.DomainGetInterfaceParametersRet{}
	if a.Nparams == 0 {
		ret.Nparams = int32(len(bandwidthParams))
		return ret, nil
	}
	n, err := findInterface(def, a.Device)
	if err != nil {
		return nil, err
	}
	ret.Params, ret.Nparams = counted(listBandwidth(n.Bandwidth), a.Nparams)
	return ret, nil
}

// listBandwidth lists an interface's limits, 0 for those it has not.
func listBandwidth(b *libvirtxml.DomainInterfaceBandwidth) []protocol.TypedParam {
	if b == nil {
		b = &libvirtxml.DomainInterfaceBandwidth{}
	}
	var out []protocol.TypedParam
	for _, p := range bandwidthParams {
		way, v := b.Outbound, 0
		if p.in {
			way = b.Inbound
		}
		if way != nil {
			if n := *p.field(way); n != nil {
				v = *n
			}
		}
		out = append(out, paramUInt(p.name, uint32(v)))
	}
	return out
}

// limitable tells interfaces whose host end can be limited: those with a link of their own.
func limitable(n *libvirtxml.DomainInterface) bool {
	s := n.Source
	return s != nil && (s.Network != nil || s.Bridge != nil || s.Ethernet != nil || s.Direct != nil)
}

func (d *domain) setInterfaceParameters(ctx actor.Context, r *call.Request, a *protocol.DomainSetInterfaceParametersArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainSetInterfaceParameters"); err != nil {
		return err
	}
	spec := paramSpec{}
	for _, p := range bandwidthParams {
		spec[p.name] = virt.TypedParamUint
	}
	if err := checkParams(a.Params, spec); err != nil {
		return err
	}
	drv := d.drv
	return d.change(ctx, r, change{
		flags: a.Flags,
		check: func(def *libvirtxml.Domain, live bool) error {
			n, err := findInterface(def, a.Device)
			if err != nil {
				return err
			}
			if !limitable(n) {
				return liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, "setting bandwidth on interfaces of type '%s' is not implemented yet", actualKind(n))
			}
			return nil
		},
		effect: func(jc context.Context, _ *qmp.Client, def *libvirtxml.Domain) error {
			n, err := findInterface(def, a.Device)
			if err != nil {
				return err
			}
			return drv.limitNIC(jc, n, mergeBandwidth(n.Bandwidth, a.Params))
		},
		edit: func(def *libvirtxml.Domain, _ bool) error {
			n, err := findInterface(def, a.Device)
			if err == nil {
				n.Bandwidth = mergeBandwidth(n.Bandwidth, a.Params)
			}
			return err
		},
	})
}

// limitNIC sets the limits of a running interface: its network keeps account of what is guaranteed, its host end enforces.
func (s *shared) limitNIC(ctx context.Context, n *libvirtxml.DomainInterface, to *libvirtxml.DomainInterfaceBandwidth) error {
	onPort := n.Source.Network != nil && n.Source.Network.PortID != ""
	if !onPort && to != nil && to.Inbound != nil && to.Inbound.Floor != nil {
		return unsupportedOperation("Invalid use of 'floor' on interface with MAC address %s - 'floor' is only supported for interface type 'network' with forward type 'nat', 'route', 'open' or none", nicMAC(n))
	}
	if onPort {
		if err := s.limitPort(ctx, n, to); err != nil {
			return err
		}
	}
	err := limitLink(hostLink(n), to, sharesHostView(n))
	if err != nil && onPort {
		if back := s.limitPort(ctx, n, n.Bandwidth); back != nil {
			s.env.Log.Warn().Err(back).Str("link", hostLink(n)).Msg("cannot give a network port its limits back")
		}
	}
	return err
}

// limitPort tells the network the limits of one of its ports.
func (s *shared) limitPort(ctx context.Context, n *libvirtxml.DomainInterface, b *libvirtxml.DomainInterfaceBandwidth) error {
	net, err := s.network(ctx, n.Source.Network.Network)
	if err != nil {
		return err
	}
	args := &protocol.NetworkPortSetParametersArgs{Port: protocol.NetworkPort{Net: net, UUID: parseUUID(n.Source.Network.PortID)}}
	for _, p := range listBandwidth(b) {
		if p.Value.UI != 0 {
			args.Params = append(args.Params, p)
		}
	}
	_, err = s.ask(ctx, "network", protocol.NetworkPortSetParameters.Procedure, args)
	return err
}

// mergeBandwidth is what the limits become: a direction that the client names is replaced, and one
// without an average is dropped.
func mergeBandwidth(old *libvirtxml.DomainInterfaceBandwidth, params []protocol.TypedParam) *libvirtxml.DomainInterfaceBandwidth {
	var out libvirtxml.DomainInterfaceBandwidth
	if old != nil {
		out = *old
	}
	given := map[string]uint32{}
	for _, p := range params {
		given[p.Field] = p.Value.UI
	}
	for _, in := range []bool{true, false} {
		var way libvirtxml.DomainInterfaceBandwidthParams
		named := false
		for _, p := range bandwidthParams {
			if v, ok := given[p.name]; ok && p.in == in {
				named = true
				if v != 0 {
					n := int(v)
					*p.field(&way) = &n
				}
			}
		}
		if !named {
			continue
		}
		to := &out.Outbound
		if in {
			to = &out.Inbound
		}
		*to = &way
		if way.Average == nil && way.Floor == nil {
			*to = nil
		}
	}
	if out.Inbound == nil && out.Outbound == nil {
		return nil
	}
	return &out
}
