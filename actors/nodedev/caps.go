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
	n, _ := strconv.ParseUint(s, 16, 32) // 0 when there is none
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

// usbDevice prints names as udev found them in its database; where udev does not run they come from the ids file. What
// neither knows is what the device says of itself.
func (h host) usbDevice(p *printer, d *device, pr props) {
	p.text("bus", attr(d.dir, "busnum"))
	p.text("device", attr(d.dir, "devnum"))
	vendor, product := attr(d.dir, "idVendor"), attr(d.dir, "idProduct")
	vendorName, productName := pr.env["ID_VENDOR_FROM_DATABASE"], pr.env["ID_MODEL_FROM_DATABASE"]
	if !pr.udev {
		vendorName, productName = h.idName("usb.ids", vendor, product)
	}
	idElement(p, "product", product, first(productName, strings.TrimSpace(attr(d.dir, "product"))))
	idElement(p, "vendor", vendor, first(vendorName, strings.TrimSpace(attr(d.dir, "manufacturer"))))
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

// drmMinor tells the kind of a DRM node by its number: 64 of each kind.
func drmMinor(p *printer, d *device, pr props) {
	minor, err := strconv.Atoi(pr.env["MINOR"])
	if types := []string{"primary", "control", "render"}; err == nil && minor>>6 < len(types) {
		p.text("type", types[minor>>6])
		return
	}
	for prefix, t := range map[string]string{"card": "primary", "controlD": "control", "renderD": "render"} {
		if strings.HasPrefix(filepath.Base(d.dir), prefix) {
			p.text("type", t)
		}
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

// vdpaNode is the character device of a vDPA device that is bound to vhost-vdpa; "" of others.
func (h host) vdpaNode(dir string) string {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "vhost-vdpa") {
			return filepath.Join(h.dev, e.Name())
		}
	}
	return ""
}
