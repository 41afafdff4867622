package qemu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/actors/nodedev/assign"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Devices of the host that guests have: taken at the start of a guest and given back at its end, or by a client who
// detaches, resets and reattaches them himself.

// assignDriver is what this driver calls itself as the user of a device.
const assignDriver = "QEMU"

func (s *shared) assign() assign.Host {
	return assign.Host{Sys: sysfs, Dev: "/dev", State: filepath.Join(s.env.Paths.Run(), "hostdevmgr", "pci")}
}

// hostDevices takes the devices of a guest that is about to start.
func (p *launchPlan) hostDevices(ctx context.Context, undo *kit.Undo) error {
	return p.takeHostdevs(ctx, undo, p.def.Devices.Hostdevs)
}

// takeHostdevs finds devices of the host, and takes those from the host's own drivers that go to the guest whole.
func (p *launchPlan) takeHostdevs(ctx context.Context, undo *kit.Undo, list []libvirtxml.DomainHostdev) error {
	var devices []assign.Device
	for i := range list {
		h := &list[i]
		switch {
		case h.SubsysUSB != nil:
			if err := findUSB(filepath.Join(sysfs, "bus/usb/devices"), h.SubsysUSB.Source); err != nil {
				return err
			}
		case h.SubsysSCSI != nil && h.Alias != nil:
			if err := p.hostSCSI(h.Alias.Name, h.SubsysSCSI); err != nil {
				return err
			}
		case h.SubsysPCI != nil:
			devices = append(devices, assign.Device{Address: pciName(h), Managed: h.Managed == "yes"})
		}
	}
	if len(devices) == 0 {
		return nil
	}
	if !vfioReady() {
		return unsupportedConfig("host doesn't support passthrough of host PCI devices")
	}
	owner := assign.Owner{Driver: assignDriver, Domain: p.name}
	if err := p.drv.assign().Take(ctx, owner, devices); err != nil {
		return err
	}
	undo.Add("give devices back to the host", func(ctx context.Context) error { return p.drv.assign().Give(ctx, owner, addressesOf(list)) })
	return nil
}

func addressesOf(list []libvirtxml.DomainHostdev) (addresses []string) {
	for i := range list {
		if list[i].SubsysPCI != nil {
			addresses = append(addresses, pciName(&list[i]))
		}
	}
	return addresses
}

// returnHostdevs gives devices back. What does not work is logged: the guest does not have them any more.
func (s *shared) returnHostdevs(domain string, list []libvirtxml.DomainHostdev) {
	addresses := addressesOf(list)
	if len(addresses) == 0 {
		return
	}
	if err := s.assign().Give(context.Background(), assign.Owner{Driver: assignDriver, Domain: domain}, addresses); err != nil {
		s.env.Log.Warn().Err(err).Str("domain", domain).Strs("devices", addresses).Msg("cannot give devices back to the host")
	}
}

// recoverHostdevs takes back what this process was doing with devices when it was killed, and gives back those of guests
// whose start it did not live to see the end of. A guest that runs, or ran, has a status file; the devices of one that has
// died are given back with all else that it left.
func (s *shared) recoverHostdevs() {
	err := s.assign().Recover(func(o assign.Owner) bool { return o.Driver != assignDriver || disk.Exists(s.statusPath(o.Domain)) })
	if err != nil {
		s.env.Log.Warn().Err(err).Msg("cannot put the host's devices in order that guests were to have")
	}
}

// hostSCSI finds the generic device through which QEMU talks to a SCSI device of the host.
func (p *launchPlan) hostSCSI(alias string, s *libvirtxml.DomainHostdevSubsysSCSI) error {
	if s.Source == nil || s.Source.Host == nil || s.Source.Host.Adapter == nil || s.Source.Host.Address == nil {
		return nil
	}
	a := s.Source.Host.Address
	host := strings.TrimPrefix(s.Source.Host.Adapter.Name, "scsi_host")
	dir := fmt.Sprintf("/sys/bus/scsi/devices/%s:%d:%d:%d/scsi_generic", host, value(a.Bus), value(a.Target), value(a.Unit))
	list, err := os.ReadDir(dir)
	if err != nil {
		return liberr.System(liberr.FromNone, err, "cannot open directory '%s'", dir)
	}
	if len(list) == 0 {
		return liberr.New(liberr.FromNone, liberr.InternalError, "no generic device in '%s'", dir)
	}
	if p.rt.HostSCSI == nil {
		p.rt.HostSCSI = map[string]string{}
	}
	p.rt.HostSCSI[alias] = "/dev/" + list[0].Name()
	return nil
}

// devicePatience is how long binding or resetting a device may take.
const devicePatience = time.Minute

func (dr *driver) deviceDettach(ctx actor.Context, r *call.Request, a *protocol.NodeDeviceDettachArgs) error {
	return dr.detachDevice(ctx, r, a.Name, nil, 0)
}

func (dr *driver) deviceDetachFlags(ctx actor.Context, r *call.Request, a *protocol.NodeDeviceDetachFlagsArgs) error {
	return dr.detachDevice(ctx, r, a.Name, a.DriverName, a.Flags)
}

func (dr *driver) detachDevice(ctx actor.Context, r *call.Request, name string, driver *string, flags uint32) error {
	if err := call.CheckFlags(flags, 0, liberr.FromQemu, "qemuNodeDeviceDetachFlags"); err != nil {
		return err
	}
	switch {
	case driver == nil, *driver == "vfio":
	case *driver == "kvm":
		return liberr.New(liberr.FromQemu, liberr.ArgumentUnsupported, "KVM device assignment is no longer supported on this system")
	default:
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "unknown driver name '%s'", *driver)
	}
	if !dr.shared.assign().Supported() {
		return liberr.New(liberr.FromQemu, liberr.ArgumentUnsupported, "VFIO device assignment is currently not supported on this system")
	}
	dr.withPCI(ctx, r, name, assign.Host.Detach)
	return nil
}

func (dr *driver) deviceReattach(ctx actor.Context, r *call.Request, a *protocol.NodeDeviceReAttachArgs) error {
	dr.withPCI(ctx, r, a.Name, assign.Host.Reattach)
	return nil
}

func (dr *driver) deviceReset(ctx actor.Context, r *call.Request, a *protocol.NodeDeviceResetArgs) error {
	dr.withPCI(ctx, r, a.Name, assign.Host.Reset)
	return nil
}

// withPCI runs what is to be done to a node device in a job, when the node device driver has said that it is a PCI device.
func (dr *driver) withPCI(ctx actor.Context, r *call.Request, name string, run func(assign.Host, context.Context, string) error) {
	s := dr.shared
	dr.desk.Answer(ctx, r, devicePatience, func(jc context.Context) (protocol.Encoder, error) {
		address, err := s.pciAddressOf(jc, name)
		if err != nil {
			return nil, err
		}
		return &protocol.Void{}, run(s.assign(), jc, address)
	})
}

// pciAddressOf asks the node device driver, which may be libvirt's, what a device is.
func (s *shared) pciAddressOf(ctx context.Context, name string) (string, error) {
	r, err := s.ask(ctx, "nodedev", protocol.NodeDeviceGetXMLDesc.Procedure, &protocol.NodeDeviceGetXMLDescArgs{Name: name})
	if err != nil {
		return "", err
	}
	var ret protocol.NodeDeviceGetXMLDescRet
	if err := protocol.Unmarshal(r.Ret, &ret); err != nil {
		return "", err
	}
	var def libvirtxml.NodeDevice
	if err := def.Unmarshal(ret.XML); err != nil {
		return "", liberr.New(liberr.FromNodedev, liberr.InternalError, "the document of node device '%s' is not understood", name).WithCause(err)
	}
	c := def.Capability.PCI
	if c == nil || c.Domain == nil || c.Bus == nil || c.Slot == nil || c.Function == nil {
		return "", liberr.New(liberr.FromDomain, liberr.InvalidArg, "device %s is not a PCI device", name)
	}
	return fmt.Sprintf("%04x:%02x:%02x.%x", *c.Domain, *c.Bus, *c.Slot, *c.Function), nil
}
