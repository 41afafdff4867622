package command

import "libvirt.org/go/libvirtxml"

// DiskPath is how the monitor names the device of a disk for block commands.
func DiskPath(d *libvirtxml.DomainDisk) string {
	alias := aliasOf(d.Alias)
	switch targetOf(d).Bus {
	case "virtio":
		return "/machine/peripheral/" + alias + "/virtio-backend"
	case "usb":
		return "/machine/peripheral/" + alias + "/" + alias + ".0/legacy[0]"
	}
	return alias
}

// Throttle gives the command that sets a disk's I/O limits; nil where it has none. Limits are not on the command line
// since they can change while the guest runs.
func Throttle(d *libvirtxml.DomainDisk) *QMP {
	t := d.IOTune
	if t == nil || *t == (libvirtxml.DomainDiskIOTune{GroupName: t.GroupName}) && t.GroupName == "" {
		return nil
	}
	p := Props{{"id", DiskPath(d)},
		{"bps", t.TotalBytesSec}, {"bps_rd", t.ReadBytesSec}, {"bps_wr", t.WriteBytesSec},
		{"iops", t.TotalIopsSec}, {"iops_rd", t.ReadIopsSec}, {"iops_wr", t.WriteIopsSec},
		{"bps_max", t.TotalBytesSecMax}, {"bps_rd_max", t.ReadBytesSecMax}, {"bps_wr_max", t.WriteBytesSecMax},
		{"iops_max", t.TotalIopsSecMax}, {"iops_rd_max", t.ReadIopsSecMax}, {"iops_wr_max", t.WriteIopsSecMax},
		{"iops_size", t.SizeIopsSec}}
	p.text("group", t.GroupName)
	// QEMU takes a length of zero for an error, so that only those that are set are passed.
	for _, l := range []Prop{
		{"bps_max_length", t.TotalBytesSecMaxLength}, {"bps_rd_max_length", t.ReadBytesSecMaxLength},
		{"bps_wr_max_length", t.WriteBytesSecMaxLength}, {"iops_max_length", t.TotalIopsSecMaxLength},
		{"iops_rd_max_length", t.ReadIopsSecMaxLength}, {"iops_wr_max_length", t.WriteIopsSecMaxLength},
	} {
		if l.Value != uint64(0) {
			p.Set(l.Name, l.Value)
		}
	}
	return &QMP{"block_set_io_throttle", p}
}
