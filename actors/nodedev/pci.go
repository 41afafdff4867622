package nodedev

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// pciAddress is where a PCI device sits.
type pciAddress struct{ domain, bus, slot, function uint64 }

func parsePCI(s string) (a pciAddress, ok bool) {
	n, err := fmt.Sscanf(s, "%x:%x:%x.%x", &a.domain, &a.bus, &a.slot, &a.function)
	return a, err == nil && n == 4
}

func (a pciAddress) element() string {
	return fmt.Sprintf("<address domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%x'/>", a.domain, a.bus, a.slot, a.function)
}

func (h host) pci(p *printer, d *device) {
	if class, ok := number(d.dir, "class"); ok {
		p.line("<class>0x%06x</class>", class)
	}
	if a, ok := parsePCI(filepath.Base(d.dir)); ok {
		p.line("<domain>%d</domain>", a.domain)
		p.line("<bus>%d</bus>", a.bus)
		p.line("<slot>%d</slot>", a.slot)
		p.line("<function>%d</function>", a.function)
	}
	vendor, product := strings.TrimPrefix(attr(d.dir, "vendor"), "0x"), strings.TrimPrefix(attr(d.dir, "device"), "0x")
	vendorName, productName := h.idName("pci.ids", vendor, product)
	idElement(p, "product", product, productName)
	idElement(p, "vendor", vendor, vendorName)
	functions(p, d)
	config, _ := os.ReadFile(filepath.Join(d.dir, "config"))
	if len(config) > pciHeaderType {
		if t := map[byte]string{1: "pci-bridge", 2: "cardbus-bridge"}[config[pciHeaderType]&0x7f]; t != "" {
			p.line("<capability type='%s'/>", t)
		}
	}
	mdevTypes(p, d)
	productData(p, d)
	h.iommuGroup(p, d)
	if node, err := strconv.Atoi(attr(d.dir, "numa_node")); err == nil && node >= 0 {
		p.line("<numa node='%d'/>", node)
	}
	express(p, config)
}

// functions prints which physical function a virtual one belongs to, and which virtual ones a physical one has.
func functions(p *printer, d *device) {
	if a, ok := parsePCI(linkName(d.dir, "physfn")); ok {
		end := p.open("capability", "type='phys_function'")
		p.line("%s", a.element())
		end()
	}
	total, ok := number(d.dir, "sriov_totalvfs")
	if !ok || total == 0 {
		return
	}
	attrs := fmt.Sprintf("type='virt_functions' maxCount='%d'", total)
	var vfs []pciAddress
	for i := 0; ; i++ {
		a, ok := parsePCI(linkName(d.dir, fmt.Sprintf("virtfn%d", i)))
		if !ok {
			break
		}
		vfs = append(vfs, a)
	}
	if len(vfs) == 0 {
		p.line("<capability %s/>", attrs)
		return
	}
	end := p.open("capability", attrs)
	for _, a := range vfs {
		p.line("%s", a.element())
	}
	end()
}

func (h host) iommuGroup(p *printer, d *device) {
	group := linkName(d.dir, "iommu_group")
	if group == "" {
		return
	}
	entries, _ := os.ReadDir(filepath.Join(d.dir, "iommu_group/devices"))
	var members []string
	for _, e := range entries {
		if a, ok := parsePCI(e.Name()); ok {
			members = append(members, a.element())
		}
	}
	sort.Strings(members)
	end := p.open("iommuGroup", fmt.Sprintf("number='%s'", group))
	for _, m := range members {
		p.line("%s", m)
	}
	end()
}

// Of a PCI device's configuration space.
const (
	pciHeaderSize = 64
	pciHeaderType = 0x0e // bit 7: there are more functions
	pciConfigSize = 256  // of a device that is not PCI Express
	pciStatus     = 0x06 // bit 4: there is a list of capabilities
	pciCapList    = 0x34
	pciCapExpress = 0x10
)

// expressCap returns the place of the PCI Express capability, 0 when it is not to be found.
func expressCap(c []byte) int {
	if len(c) < 64 || c[pciStatus]&0x10 == 0 {
		return 0
	}
	at := int(c[pciCapList]) &^ 3
	for range 48 { // as many as fit: a list that bites its own tail ends too
		if at < 64 || at+0x14 > len(c) {
			return 0
		}
		if c[at] == pciCapExpress {
			return at
		}
		at = int(c[at+1]) &^ 3
	}
	return 0
}

var linkSpeeds = []string{"", "2.5", "5", "8", "16", "32", "64"}

// express prints that a device is PCI Express, and how wide and fast its link can be and is.
func express(p *printer, config []byte) {
	if len(config) <= pciConfigSize {
		return
	}
	at := expressCap(config)
	if at == 0 {
		p.line("<pci-express/>")
		return
	}
	flags := binary.LittleEndian.Uint16(config[at+2:])
	if t := flags >> 4 & 0xf; t == 9 || t == 10 { // inside the root complex: no link
		p.line("<pci-express/>")
		return
	}
	end := p.open("pci-express", "")
	able, is := binary.LittleEndian.Uint32(config[at+0x0c:]), uint32(binary.LittleEndian.Uint16(config[at+0x12:]))
	link := func(validity, port string, v uint32) {
		speed := ""
		if i := int(v & 0xf); i > 0 && i < len(linkSpeeds) {
			speed = " speed='" + linkSpeeds[i] + "'"
		}
		p.line("<link validity='%s'%s%s width='%d'/>", validity, port, speed, v>>4&0x3f)
	}
	link("cap", fmt.Sprintf(" port='%d'", able>>24), able)
	link("sta", "", is)
	end()
}
