package nodedev

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// The capabilities of all kinds but PCI and network devices.

// system prints what the firmware says of the machine.
func (h host) system(p *printer) {
	dmi := filepath.Join(h.sys, "class/dmi/id")
	get := func(name string) string { return strings.TrimSpace(attr(dmi, name)) }
	p.text("product", get("product_name"))
	end := p.open("hardware", "")
	p.text("vendor", get("sys_vendor"))
	p.text("version", get("product_version"))
	p.text("serial", get("product_serial"))
	id, _ := uuid.Parse(get("product_uuid")) // all zero when it is none
	p.text("uuid", id.String())
	end()
	end = p.open("firmware", "")
	p.text("vendor", get("bios_vendor"))
	p.text("version", get("bios_version"))
	p.text("release_date", get("bios_date"))
	end()
}

// hexNumber prints a hexadecimal number without 0x as a decimal one.
func hexNumber(s string) string {
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// idElement prints <product id='0x1041'>Its name</product>.
func idElement(p *printer, element, id, text string) {
	if text == "" {
		p.line("<%s id='0x%s'/>", element, escape(id))
		return
	}
	p.line("<%s id='0x%s'>%s</%s>", element, escape(id), escape(text), element)
}

func first(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}

func (h host) usbDevice(p *printer, d *device, pr props) {
	p.text("bus", attr(d.dir, "busnum"))
	p.text("device", attr(d.dir, "devnum"))
	vendor, product := attr(d.dir, "idVendor"), attr(d.dir, "idProduct")
	vendorName, productName := h.idName("usb.ids", vendor, product)
	idElement(p, "product", product, first(pr.env["ID_MODEL_FROM_DATABASE"], productName, attr(d.dir, "product")))
	idElement(p, "vendor", vendor, first(pr.env["ID_VENDOR_FROM_DATABASE"], vendorName, attr(d.dir, "manufacturer")))
}

// scsiTypes are the names of the kinds of SCSI devices by their number.
var scsiTypes = map[string]string{
	"0": "disk", "1": "tape", "2": "printer", "3": "processor", "4": "worm", "5": "cdrom", "6": "scanner", "7": "mod",
	"8": "changer", "9": "comms", "12": "raid", "13": "enclosure", "14": "rbc", "17": "osd",
}

func scsiDevice(p *printer, d *device) {
	part := strings.Split(filepath.Base(d.dir), ":")
	for i, element := range []string{"host", "bus", "target", "lun"} {
		if i < len(part) {
			p.text(element, part[i])
		}
	}
	p.text("type", scsiTypes[attr(d.dir, "type")])
}

func (h host) storage(p *printer, d *device, pr props) {
	p.text("block", h.node(pr))
	p.text("bus", pr.env["ID_BUS"])
	drive := driveType(pr)
	if drive == "cd" {
		drive = "cdrom"
	}
	p.text("drive_type", drive)
	p.text("model", strings.TrimSpace(attr(d.dir, "device/model")))
	p.text("vendor", strings.TrimSpace(attr(d.dir, "device/vendor")))
	p.text("serial", pr.env["ID_SERIAL"])
	blocks, _ := number(d.dir, "size") // in sectors of 512 bytes, whatever the device's own are
	size := blocks * 512
	logical, _ := number(d.dir, "queue/logical_block_size")
	sizes := func() {
		if logical > 0 {
			p.line("<logical_block_size>%d</logical_block_size>", logical)
			if blocks > 0 {
				p.line("<num_blocks>%d</num_blocks>", size/logical)
			}
		}
	}
	if removable, _ := number(d.dir, "removable"); removable == 0 {
		p.line("<size>%d</size>", size)
		sizes()
		return
	}
	end := p.open("capability", "type='removable'")
	media := 0
	if pr.env["ID_CDROM_MEDIA"] == "1" || drive != "cdrom" && size > 0 {
		media = 1
	}
	p.line("<media_available>%d</media_available>", media)
	p.line("<media_size>%d</media_size>", size)
	p.text("media_label", pr.env["ID_FS_LABEL"])
	sizes()
	end()
}

// drmMinor tells the kind of a DRM node by its name: card0, controlD64, renderD128.
func drmMinor(p *printer, d *device) {
	for prefix, t := range map[string]string{"card": "primary", "controlD": "control", "renderD": "render"} {
		if strings.HasPrefix(filepath.Base(d.dir), prefix) {
			p.text("type", t)
		}
	}
}

func (h host) mdev(p *printer, d *device) {
	p.line("<type id='%s'/>", escape(linkName(d.dir, "mdev_type")))
	p.text("uuid", filepath.Base(d.dir))
	p.text("parent_addr", filepath.Base(filepath.Dir(d.dir)))
	if group := linkName(d.dir, "iommu_group"); group != "" {
		p.line("<iommuGroup number='%s'/>", group)
	}
}

// mdevTypes prints the kinds of mediated devices that a device can make.
func mdevTypes(p *printer, d *device) {
	base := filepath.Join(d.dir, "mdev_supported_types")
	entries, _ := os.ReadDir(base)
	if len(entries) == 0 {
		return
	}
	end := p.open("capability", "type='mdev_types'")
	for _, e := range entries {
		dir := filepath.Join(base, e.Name())
		endType := p.open("type", fmt.Sprintf("id='%s'", escape(e.Name())))
		p.text("name", attr(dir, "name"))
		p.text("deviceAPI", attr(dir, "device_api"))
		p.text("availableInstances", attr(dir, "available_instances"))
		endType()
	}
	end()
}

// vdpa has a character device where it is bound to vhost-vdpa.
func (h host) vdpa(p *printer, d *device) {
	entries, _ := os.ReadDir(d.dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "vhost-vdpa-") {
			p.text("chardev", filepath.Join(h.dev, e.Name()))
		}
	}
}
