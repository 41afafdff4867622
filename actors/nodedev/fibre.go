package nodedev

import (
	"path/filepath"
	"strings"
)

// fcHost is a fibre channel host: what /sys/class/fc_host says of a SCSI host.
type fcHost struct {
	dir  string // below class/fc_host
	scsi string // below class/scsi_host
}

func (h host) fcHost(name string) fcHost {
	return fcHost{filepath.Join(h.sys, "class/fc_host", name), filepath.Join(h.sys, "class/scsi_host", name)}
}

func (f fcHost) is() bool { return exists(f.dir, "") }

// ops is the folder with the files that make and remove virtual ports, "" when the host cannot do so.
func (f fcHost) ops() string {
	for _, dir := range []string{f.dir, f.scsi} {
		if exists(dir, "vport_create") {
			return dir
		}
	}
	return ""
}

func (f fcHost) vports() bool { return f.ops() != "" }

// wwn reads a name of the host ("port_name") as libvirt writes it: hexadecimal without 0x.
func (f fcHost) wwn(name string) string { return strings.TrimPrefix(attr(f.dir, name), "0x") }

// scsiHost prints a SCSI host, and what it is to fibre channel.
func (h host) scsiHost(p *printer, d *device) {
	base := filepath.Base(d.dir)
	p.text("host", strings.TrimPrefix(base, "host"))
	p.text("unique_id", attr(filepath.Join(h.sys, "class/scsi_host", base), "unique_id"))
	fc := h.fcHost(base)
	if fc.is() {
		end := p.open("capability", "type='fc_host'")
		p.text("wwnn", fc.wwn("node_name"))
		p.text("wwpn", fc.wwn("port_name"))
		p.text("fabric_wwn", fc.wwn("fabric_name"))
		end()
	}
	if ops := fc.ops(); ops != "" {
		end := p.open("capability", "type='vport_ops'")
		p.line("<max_vports>%s</max_vports>", escape(first(attr(ops, "max_npiv_vports"), "0")))
		p.line("<vports>%s</vports>", escape(first(attr(ops, "npiv_vports_inuse"), "0")))
		end()
	}
}

// scsiTarget prints a target, and through which remote port it is reached.
func (h host) scsiTarget(p *printer, d *device) {
	p.text("target", filepath.Base(d.dir))
	rport := filepath.Base(filepath.Dir(d.dir))
	if !strings.HasPrefix(rport, "rport-") {
		return
	}
	wwpn := attr(filepath.Join(h.sys, "class/fc_remote_ports", rport), "port_name")
	if wwpn == "" {
		return
	}
	end := p.open("capability", "type='fc_remote_port'")
	p.text("rport", rport)
	p.text("wwpn", wwpn)
	end()
}
