package nodedev

import (
	"strings"
)

// driveType is udev's type of the drive, or what the name tells of those that udev has none for. Loops, memory disks and
// mapped devices have none, and are not listed. What is not a drive that libvirt knows has none either.
func driveType(p props) string {
	t := p.env["ID_TYPE"]
	if t == "" || t == "generic" {
		t = ""
		for _, guess := range []struct{ property, drive string }{{"ID_DRIVE_FLOPPY", "floppy"}, {"ID_CDROM", "cd"}, {"ID_DRIVE_FLASH_SD", "sd"}} {
			if p.env[guess.property] == "1" {
				t = guess.drive
				break
			}
		}
	}
	if t == "" {
		for prefix, drive := range map[string]string{"vd": "disk", "nvme": "disk", "dasd": "dasd"} {
			if strings.HasPrefix(p.env["DEVNAME"], prefix) {
				t = drive
			}
		}
	}
	switch t {
	case "cd":
		return "cdrom"
	case "disk", "floppy", "sd", "dasd":
		return t
	}
	return ""
}

func (h host) storage(p *printer, d *device, pr props) {
	p.text("block", h.node(pr))
	p.text("bus", pr.env["ID_BUS"])
	drive := driveType(pr)
	p.text("drive_type", drive)
	p.text("model", strings.TrimSpace(attr(d.dir, "device/model")))
	p.text("vendor", strings.TrimSpace(attr(d.dir, "device/vendor")))
	p.text("serial", pr.env["ID_SERIAL"])
	// Compat: the kernel counts sectors of 512 bytes; libvirt takes them for the device's own blocks.
	blocks, _ := number(d.dir, "size")
	logical, _ := number(d.dir, "queue/logical_block_size")
	sizes := func() {
		if logical > 0 {
			p.line("<logical_block_size>%d</logical_block_size>", logical)
		}
		if blocks > 0 {
			p.line("<num_blocks>%d</num_blocks>", blocks)
		}
	}
	if drive != "cdrom" && drive != "floppy" {
		p.line("<size>%d</size>", blocks*logical)
		sizes()
		return
	}
	end := p.open("capability", "type='removable'")
	defer end()
	media := pr.env["ID_CDROM_MEDIA"] == "1"
	if drive == "floppy" {
		tells, known := pr.env["DKD_MEDIA_AVAILABLE"]
		media = known && tells != "0" || !known && pr.env["ID_FS_LABEL"] != ""
	}
	if !media {
		p.line("<media_available>0</media_available>")
		p.line("<media_size>0</media_size>")
		return
	}
	p.line("<media_available>1</media_available>")
	p.line("<media_size>%d</media_size>", blocks*logical)
	p.text("media_label", pr.env["ID_FS_LABEL"])
	sizes()
}
