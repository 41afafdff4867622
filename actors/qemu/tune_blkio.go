package qemu

import (
	"context"
	"strconv"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// blkioDeviceParams are the limits by device, in libvirt's order.
var blkioDeviceParams = []string{virt.DomainBlkioDeviceWeight, virt.DomainBlkioDeviceReadIops, virt.DomainBlkioDeviceWriteIops,
	virt.DomainBlkioDeviceReadBps, virt.DomainBlkioDeviceWriteBps}

func blkioField(dev *libvirtxml.DomainBlockIOTuneDevice, name string) *uint {
	switch name {
	case virt.DomainBlkioDeviceReadIops:
		return &dev.ReadIopsSec
	case virt.DomainBlkioDeviceWriteIops:
		return &dev.WriteIopsSec
	case virt.DomainBlkioDeviceReadBps:
		return &dev.ReadBytesSec
	case virt.DomainBlkioDeviceWriteBps:
		return &dev.WriteBytesSec
	}
	return &dev.Weight
}

// blkioDevices prints the limits of one kind: "path,value,path,value".
func blkioDevices(def *libvirtxml.Domain, name string) string {
	if def.BlockIOTune == nil {
		return ""
	}
	var out []string
	for i := range def.BlockIOTune.Device {
		dev := &def.BlockIOTune.Device[i]
		if v := *blkioField(dev, name); v != 0 {
			out = append(out, dev.Path, strconv.FormatUint(uint64(v), 10))
		}
	}
	return strings.Join(out, ",")
}

// deviceLimit is one pair of such a list.
type deviceLimit struct {
	path  string
	value uint
}

// parseDevices reads such a list.
func parseDevices(name, s string) ([]deviceLimit, error) {
	bad := func() error {
		return liberr.New(liberr.FromDomain, liberr.InvalidArg, "unable to parse blkio device '%s' '%s'", name, s)
	}
	if s == "" {
		return nil, nil
	}
	f := strings.Split(strings.TrimSuffix(s, ","), ",")
	if len(f)%2 != 0 {
		return nil, bad()
	}
	bits := 32
	if strings.HasSuffix(name, "_bytes_sec") {
		bits = 64
	}
	var out []deviceLimit
	for i := 0; i < len(f); i += 2 {
		v, err := strconv.ParseUint(f[i+1], 10, bits)
		if err != nil || f[i] == "" {
			return nil, bad()
		}
		out = append(out, deviceLimit{f[i], uint(v)})
	}
	return out, nil
}

func (d *domain) blkioParameters(ctx actor.Context, r *call.Request, a *protocol.DomainGetBlkioParametersArgs) error {
	if err := call.CheckFlags(a.Flags, readFlags, liberr.FromQemu, "qemuDomainGetBlkioParameters"); err != nil {
		return err
	}
	if a.Nparams > protocol.RemoteDomainBlkioParametersMax || a.Nparams < 0 {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "nparams too large")
	}
	def, live, err := d.one(a.Flags)
	if err != nil {
		return err
	}
	answer := func(weight uint) protocol.Encoder {
		params := []protocol.TypedParam{paramUInt(virt.DomainBlkioWeight, uint32(weight))}
		for _, name := range blkioDeviceParams {
			params = append(params, paramString(name, blkioDevices(def, name)))
		}
		ret := &protocol.DomainGetBlkioParametersRet{}
		ret.Params, ret.Nparams = counted(params, a.Nparams)
		return ret
	}
	if !live {
		weight := uint(0)
		if def.BlockIOTune != nil {
			weight = def.BlockIOTune.Weight
		}
		r.Reply(answer(weight))
		return nil
	}
	g := d.group()
	d.look(ctx, r, func(context.Context) (protocol.Encoder, error) {
		w, err := g.weight()
		return answer(w), err
	})
	return nil
}

func (d *domain) setBlkioParameters(ctx actor.Context, r *call.Request, a *protocol.DomainSetBlkioParametersArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainSetBlkioParameters"); err != nil {
		return err
	}
	spec := paramSpec{virt.DomainBlkioWeight: virt.TypedParamUint}
	for _, n := range blkioDeviceParams {
		spec[n] = virt.TypedParamString
	}
	if err := checkParams(a.Params, spec); err != nil {
		return err
	}
	weight, haveWeight, devices := uint(0), false, map[string][]deviceLimit{}
	for _, p := range a.Params {
		if p.Field == virt.DomainBlkioWeight {
			weight, haveWeight = uint(p.Value.UI), true
			continue
		}
		list, err := parseDevices(p.Field, p.Value.S)
		if err != nil {
			return err
		}
		devices[p.Field] = list
	}
	var w groupWork
	return d.change(ctx, r, change{
		flags: a.Flags,
		check: func(_ *libvirtxml.Domain, live bool) error {
			if live {
				w = d.groupWork(ctx)
			}
			return nil
		},
		effect: func(jc context.Context, mon *qmp.Client, _ *libvirtxml.Domain) error {
			if err := w.ensure(jc, mon); err != nil {
				return err
			}
			if haveWeight {
				if err := w.g.setWeight(weight); err != nil {
					return err
				}
			}
			for _, name := range blkioDeviceParams {
				for _, l := range devices[name] {
					if err := w.g.setDevice(name, l.path, uint64(l.value)); err != nil {
						return err
					}
				}
			}
			return nil
		},
		edit: func(def *libvirtxml.Domain, _ bool) error {
			if def.BlockIOTune == nil {
				def.BlockIOTune = &libvirtxml.DomainBlockIOTune{}
			}
			if haveWeight {
				def.BlockIOTune.Weight = weight
			}
			for _, name := range blkioDeviceParams {
				mergeDevices(def.BlockIOTune, name, devices[name])
			}
			if def.BlockIOTune.Weight == 0 && len(def.BlockIOTune.Device) == 0 {
				def.BlockIOTune = nil
			}
			return nil
		},
	})
}

// mergeDevices writes limits of one kind into the definition; devices without any are dropped.
func mergeDevices(t *libvirtxml.DomainBlockIOTune, name string, limits []deviceLimit) {
	for _, l := range limits {
		found := false
		for i := range t.Device {
			if t.Device[i].Path == l.path {
				*blkioField(&t.Device[i], name), found = l.value, true
			}
		}
		if !found {
			dev := libvirtxml.DomainBlockIOTuneDevice{Path: l.path}
			*blkioField(&dev, name) = l.value
			t.Device = append(t.Device, dev)
		}
	}
	kept := t.Device[:0]
	for _, dev := range t.Device {
		if dev != (libvirtxml.DomainBlockIOTuneDevice{Path: dev.Path}) {
			kept = append(kept, dev)
		}
	}
	t.Device = kept
}
