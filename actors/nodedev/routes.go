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
	call.Answer(protocol.NodeDeviceSetAutostart, (*driver).setAutostart),
	call.Answer(protocol.NodeDeviceDestroy, (*driver).destroy),
	call.Answer(protocol.NodeDeviceUndefine, (*driver).undefine),
	call.Answer(protocol.NodeDeviceCreate, (*driver).create),
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

// listAll filters by capability and by state; a group of which no flag is set does not filter. All devices are active.
func (d *driver) listAll(_ actor.Context, _ *call.Request, a *protocol.ConnectListAllNodeDevicesArgs) (*protocol.ConnectListAllNodeDevicesRet, error) {
	if err := call.CheckFlags(a.Flags, capFlags|stateFlags, from, "nodeConnectListAllNodeDevices"); err != nil {
		return nil, err
	}
	ret := &protocol.ConnectListAllNodeDevicesRet{}
	if a.Flags&stateFlags == virt.ConnectListNodeDevicesInactive {
		return ret, nil
	}
	for _, dev := range d.devices {
		var flags uint32
		for _, c := range dev.caps {
			flags |= listFlag[c]
		}
		if a.Flags&capFlags != 0 && a.Flags&flags == 0 {
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

// lookupWWN finds nothing, and says so as libvirt does: without a reason.
func (d *driver) lookupWWN(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceLookupSCSIHostByWWNArgs) (*protocol.NodeDeviceLookupSCSIHostByWWNRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "nodeDeviceLookupSCSIHostByWWN"); err != nil {
		return nil, err
	}
	e := liberr.Raw(liberr.FromNone, liberr.InternalError, "An error occurred, but the cause is unknown")
	e.Str1, e.Str2 = "", ""
	return nil, e
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

func (d *driver) isActive(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceIsActiveArgs) (*protocol.NodeDeviceIsActiveRet, error) {
	_, err := d.find(a.Name)
	return &protocol.NodeDeviceIsActiveRet{Active: 1}, err
}

// Only mediated devices can be defined, start with the host, or be made and destroyed; all others just are. The machine
// counts as persistent.

func (d *driver) isPersistent(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceIsPersistentArgs) (*protocol.NodeDeviceIsPersistentRet, error) {
	dev, err := d.find(a.Name)
	ret := &protocol.NodeDeviceIsPersistentRet{}
	if err == nil && dev.kind == kindSystem {
		ret.Persistent = 1
	}
	return ret, err
}

func (d *driver) autostart(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceGetAutostartArgs) (*protocol.NodeDeviceGetAutostartRet, error) {
	_, err := d.find(a.Name)
	return &protocol.NodeDeviceGetAutostartRet{}, err
}

func (d *driver) setAutostart(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceSetAutostartArgs) (*protocol.Void, error) {
	if _, err := d.find(a.Name); err != nil {
		return nil, err
	}
	return nil, liberr.New(from, liberr.OperationUnsupported, "Unsupported device type")
}

func (d *driver) destroy(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceDestroyArgs) (*protocol.Void, error) {
	if _, err := d.find(a.Name); err != nil {
		return nil, err
	}
	return nil, liberr.New(from, liberr.ConfigUnsupported, "Unsupported device type")
}

func (d *driver) undefine(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceUndefineArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "nodeDeviceUndefine"); err != nil {
		return nil, err
	}
	dev, err := d.find(a.Name)
	if err != nil {
		return nil, err
	}
	if dev.kind == kindSystem {
		return nil, liberr.New(from, liberr.ConfigUnsupported, "Unsupported device type")
	}
	return nil, liberr.New(from, liberr.OperationInvalid, "Node device '%s' is not defined", a.Name)
}

func (d *driver) create(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceCreateArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "nodeDeviceCreate"); err != nil {
		return nil, err
	}
	if _, err := d.find(a.Name); err != nil {
		return nil, err
	}
	return nil, liberr.New(from, liberr.OperationInvalid, "Device is already active")
}
