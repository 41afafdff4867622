package nodedev

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// routes is the driver's table of contents. What it does not name is not supported.
var routes = call.NewTable(
	call.Answer(protocol.NodeNumOfDevices, (*driver).count),
	call.Answer(protocol.NodeListDevices, (*driver).list),
	call.Answer(protocol.ConnectListAllNodeDevices, (*driver).listAll),
	call.Answer(protocol.NodeDeviceLookupByName, (*driver).lookup),
	call.Answer(protocol.NodeDeviceLookupSCSIHostByWWN, (*driver).lookupWWN),
	call.Later(protocol.NodeDeviceGetXMLDesc, (*driver).xml),
	call.Answer(protocol.NodeDeviceGetParent, (*driver).parent),
	call.Answer(protocol.NodeDeviceNumOfCaps, (*driver).countCaps),
	call.Answer(protocol.NodeDeviceListCaps, (*driver).listCaps),
	call.Answer(protocol.NodeDeviceIsActive, (*driver).isActive),
	call.Answer(protocol.NodeDeviceIsPersistent, (*driver).isPersistent),
	call.Answer(protocol.NodeDeviceGetAutostart, (*driver).autostart),
	call.Later(protocol.NodeDeviceSetAutostart, (*driver).setAutostart),
	call.Later(protocol.NodeDeviceCreateXML, (*driver).createXML),
	call.Later(protocol.NodeDeviceDefineXML, (*driver).defineXML),
	call.Later(protocol.NodeDeviceCreate, (*driver).create),
	call.Later(protocol.NodeDeviceDestroy, (*driver).destroy),
	call.Later(protocol.NodeDeviceUndefine, (*driver).undefine),
)

func (d *driver) find(name string) (*device, error) {
	if dev := d.byName[name]; dev != nil {
		return dev, nil
	}
	return nil, liberr.New(from, liberr.NoNodeDevice, "no node device with matching name '%s'", name)
}

// withCap names the devices that have the capability, or all.
func (d *driver) withCap(want *string) (names []string) {
	for _, dev := range d.devices {
		if want == nil || dev.has(kind(*want)) {
			names = append(names, dev.name)
		}
	}
	return names
}

func (d *driver) count(_ actor.Context, _ *call.Request, a *protocol.NodeNumOfDevicesArgs) (*protocol.NodeNumOfDevicesRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "nodeNumOfDevices"); err != nil {
		return nil, err
	}
	return &protocol.NodeNumOfDevicesRet{Num: int32(len(d.withCap(a.Cap)))}, nil
}

func (d *driver) list(_ actor.Context, _ *call.Request, a *protocol.NodeListDevicesArgs) (*protocol.NodeListDevicesRet, error) {
	if err := call.CheckMax(a.Maxnames, protocol.RemoteNodeDeviceListMax, "maxnames", "REMOTE_NODE_DEVICE_LIST_MAX"); err != nil {
		return nil, err
	}
	if err := call.CheckFlags(a.Flags, 0, from, "nodeListDevices"); err != nil {
		return nil, err
	}
	names := d.withCap(a.Cap)
	return &protocol.NodeListDevicesRet{Names: names[:min(len(names), int(a.Maxnames))]}, nil
}

const (
	capFlags   = 1<<22 - 1 // all filters by capability
	stateFlags = virt.ConnectListNodeDevicesInactive | virt.ConnectListNodeDevicesActive
)

// listAll filters by capability and by state; a group of which no flag is set does not filter.
func (d *driver) listAll(_ actor.Context, _ *call.Request, a *protocol.ConnectListAllNodeDevicesArgs) (*protocol.ConnectListAllNodeDevicesRet, error) {
	if err := call.CheckFlags(a.Flags, capFlags|stateFlags, from, "nodeConnectListAllNodeDevices"); err != nil {
		return nil, err
	}
	ret := &protocol.ConnectListAllNodeDevicesRet{}
	for _, dev := range d.devices {
		flags := dev.flags()
		state := uint32(virt.ConnectListNodeDevicesInactive)
		if dev.active() {
			state = virt.ConnectListNodeDevicesActive
		}
		if a.Flags&capFlags != 0 && a.Flags&flags == 0 || a.Flags&stateFlags != 0 && a.Flags&state == 0 {
			continue
		}
		ret.Ret++
		if a.NeedResults != 0 {
			ret.Devices = append(ret.Devices, protocol.NodeDevice{Name: dev.name})
		}
	}
	return ret, nil
}

func (d *driver) lookup(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceLookupByNameArgs) (*protocol.NodeDeviceLookupByNameRet, error) {
	dev, err := d.find(a.Name)
	if err != nil {
		return nil, err
	}
	return &protocol.NodeDeviceLookupByNameRet{Dev: protocol.NodeDevice{Name: dev.name}}, nil
}

// xml is made in a job, of what sysfs says now.
func (d *driver) xml(ctx actor.Context, r *call.Request, a *protocol.NodeDeviceGetXMLDescArgs) error {
	if err := call.CheckFlags(a.Flags, 0, from, "nodeDeviceGetXMLDesc"); err != nil {
		return err
	}
	dev, err := d.find(a.Name)
	if err != nil {
		return err
	}
	h := d.host
	d.desk.Answer(ctx, r, patience, func(context.Context) (protocol.Encoder, error) {
		return &protocol.NodeDeviceGetXMLDescRet{XML: h.format(dev)}, nil
	})
	return nil
}

func (d *driver) parent(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceGetParentArgs) (*protocol.NodeDeviceGetParentRet, error) {
	dev, err := d.find(a.Name)
	if err != nil {
		return nil, err
	}
	ret := &protocol.NodeDeviceGetParentRet{}
	if dev.parent != "" {
		ret.ParentName = &dev.parent
	}
	return ret, nil
}

func (d *driver) countCaps(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceNumOfCapsArgs) (*protocol.NodeDeviceNumOfCapsRet, error) {
	dev, err := d.find(a.Name)
	if err != nil {
		return nil, err
	}
	return &protocol.NodeDeviceNumOfCapsRet{Num: int32(len(dev.caps))}, nil
}

func (d *driver) listCaps(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceListCapsArgs) (*protocol.NodeDeviceListCapsRet, error) {
	if err := call.CheckMax(a.Maxnames, protocol.RemoteNodeDeviceCapsListMax, "maxnames", "REMOTE_NODE_DEVICE_CAPS_LIST_MAX"); err != nil {
		return nil, err
	}
	dev, err := d.find(a.Name)
	if err != nil {
		return nil, err
	}
	ret := &protocol.NodeDeviceListCapsRet{}
	for _, c := range dev.caps[:min(len(dev.caps), int(a.Maxnames))] {
		ret.Names = append(ret.Names, string(c))
	}
	return ret, nil
}

func number01(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

func (d *driver) isActive(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceIsActiveArgs) (*protocol.NodeDeviceIsActiveRet, error) {
	dev, err := d.find(a.Name)
	if err != nil {
		return nil, err
	}
	return &protocol.NodeDeviceIsActiveRet{Active: number01(dev.active())}, nil
}

// Only mediated devices can be defined, and start with the host; all others just are. The machine counts as both.

func (d *driver) isPersistent(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceIsPersistentArgs) (*protocol.NodeDeviceIsPersistentRet, error) {
	dev, err := d.find(a.Name)
	if err != nil {
		return nil, err
	}
	return &protocol.NodeDeviceIsPersistentRet{Persistent: number01(dev.kind == kindSystem || dev.def != nil)}, nil
}

func (d *driver) autostart(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceGetAutostartArgs) (*protocol.NodeDeviceGetAutostartRet, error) {
	dev, err := d.find(a.Name)
	if err != nil {
		return nil, err
	}
	return &protocol.NodeDeviceGetAutostartRet{Autostart: number01(dev.kind == kindSystem || dev.def != nil && dev.def.auto)}, nil
}
