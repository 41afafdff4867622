package nodedev

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Virtual ports: SCSI hosts that a fibre channel host makes when two world-wide names are written to it.

// fcHosts are the devices that are fibre channel hosts, with their names.
func (d *driver) fcHosts(each func(dev *device, fc fcHost) (stop bool)) {
	for _, dev := range d.devices {
		if dev.has(capFCHost) && each(dev, d.host.fcHost(filepath.Base(dev.dir))) {
			return
		}
	}
}

// byWWN is the name of the fibre channel host with these world-wide names, "" when there is none.
func (d *driver) byWWN(wwnn, wwpn string) (name string) {
	d.fcHosts(func(dev *device, fc fcHost) bool {
		if fc.wwn("node_name") == wwnn && fc.wwn("port_name") == wwpn {
			name = dev.name
		}
		return name != ""
	})
	return name
}

// lookupWWN finds a host by its names; when there is none it says so as libvirt does, without a reason.
func (d *driver) lookupWWN(_ actor.Context, _ *call.Request, a *protocol.NodeDeviceLookupSCSIHostByWWNArgs) (*protocol.NodeDeviceLookupSCSIHostByWWNRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "nodeDeviceLookupSCSIHostByWWN"); err != nil {
		return nil, err
	}
	if name := d.byWWN(a.Wwnn, a.Wwpn); name != "" {
		return &protocol.NodeDeviceLookupSCSIHostByWWNRet{Dev: protocol.NodeDevice{Name: name}}, nil
	}
	return nil, errNothing()
}

var errNoHBA = liberr.New(from, liberr.InternalError, "Device is not a fibre channel HBA")

// vportParent finds the host that is to make a port: the one that is named, by its own name, its world-wide names or its
// fabric's, or else any that can.
func (d *driver) vportParent(w *wanted) (*device, error) {
	able := func(dev *device) (*device, error) {
		if !dev.has(capVports) {
			return nil, liberr.New(from, liberr.InternalError, "Parent device %s is not capable of vport operations", dev.name)
		}
		return dev, nil
	}
	missing := liberr.New(from, liberr.InternalError, "Could not find parent device for '%s'", w.name)
	var found *device
	switch p := w.vport; {
	case w.parent != "":
		if found = d.byName[w.parent]; found == nil {
			return nil, missing
		}
	case p.parentWWNN != "" && p.parentWWPN != "":
		found = d.byName[d.byWWN(p.parentWWNN, p.parentWWPN)]
	case p.parentFabric != "":
		d.fcHosts(func(dev *device, fc fcHost) bool {
			if fc.wwn("fabric_name") == p.parentFabric {
				found = dev
			}
			return found != nil
		})
	default:
		for _, dev := range d.devices {
			if dev.has(capVports) {
				return dev, nil
			}
		}
	}
	if found == nil {
		return nil, missing
	}
	return able(found)
}

func (d *driver) createVport(ctx actor.Context, r *call.Request, w *wanted, reply func(string)) error {
	if !w.vport.fc {
		return errNoHBA
	}
	parent, err := d.vportParent(w)
	if err != nil {
		return err
	}
	h, wwnn, wwpn := d.host, w.vport.wwnn, w.vport.wwpn
	d.use(ctx, r, mdevTask{name: "create virtual port", run: func(context.Context) (any, error) {
		return nil, h.vportOperation(filepath.Base(parent.dir), wwpn, wwnn, "vport_create")
	}}, func(ctx actor.Context) {
		d.await(ctx, r, func() string { return d.byWWN(wwnn, wwpn) }, reply,
			liberr.New(from, liberr.NoNodeDevice, "no node device for '%s' with matching wwnn '%s' and wwpn '%s'", w.name, wwnn, wwpn))
	})
	return nil
}

// vportOperation writes two names to the file of a host that makes or removes a port.
func (h host) vportOperation(scsiHost, wwpn, wwnn, operation string) error {
	ops := h.fcHost(scsiHost).ops()
	if ops == "" || !exists(ops, operation) {
		return liberr.New(liberr.FromNone, liberr.OperationInvalid, "vport operation '%s' is not supported for host%s", operation, strings.TrimPrefix(scsiHost, "host"))
	}
	path, names := filepath.Join(ops, operation), wwpn+":"+wwnn
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		_, err = f.WriteString(names)
		if bad := f.Close(); err == nil {
			err = bad
		}
	}
	if err != nil {
		return liberr.System(liberr.FromNone, err, "Write of '%s' to '%s' during vport create/delete failed", names, path)
	}
	return nil
}

// destroyVport has the host above a port remove it. Compat: any fibre channel host may be asked for; one whose parent is
// no SCSI host cannot be removed, in the words that libvirt has for that.
func (d *driver) destroyVport(ctx actor.Context, r *call.Request, dev *device) error {
	if !dev.has(capFCHost) {
		return errNoHBA
	}
	number, ok := strings.CutPrefix(dev.parent, "scsi_host")
	if _, err := strconv.ParseUint(number, 10, 32); !ok || err != nil {
		return liberr.New(liberr.FromNone, liberr.InternalError, "Invalid adapter name '%s' for SCSI pool", dev.parent)
	}
	fc := d.host.fcHost(filepath.Base(dev.dir))
	h, wwnn, wwpn := d.host, fc.wwn("node_name"), fc.wwn("port_name")
	d.use(ctx, r, mdevTask{name: "delete virtual port", run: func(context.Context) (any, error) {
		return nil, h.vportOperation("host"+number, wwpn, wwnn, "vport_delete")
	}}, func(ctx actor.Context) { d.afterScan(ctx, func() { r.Reply(nil) }) })
	return nil
}
