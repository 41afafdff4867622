package nodedev

import (
	"fmt"
	"path/filepath"
	"sort"
	"strings"

	"virtree/actors/internal/xmltree"
)

// printer writes elements at a depth.
type printer struct {
	b      strings.Builder
	indent string
}

func (p *printer) line(format string, args ...any) {
	fmt.Fprintf(&p.b, p.indent+format+"\n", args...)
}

// text writes an element with text, unless the text is empty.
func (p *printer) text(element, text string) {
	if text != "" {
		p.line("<%s>%s</%s>", element, escape(text), element)
	}
}

// open starts an element and returns what ends it.
func (p *printer) open(element, attrs string) (close func()) {
	if attrs != "" {
		attrs = " " + attrs
	}
	p.line("<%s%s>", element, attrs)
	p.indent += "  "
	return func() {
		p.indent = p.indent[2:]
		p.line("</%s>", element)
	}
}

func escape(s string) string { return xmltree.Escape(s) }

// format prints a device as libvirt does.
func (h host) format(d *device) string {
	p := &printer{}
	end := p.open("device", "")
	p.text("name", d.name)
	pr := props{}
	if d.dir != "" {
		pr = h.props(d.dir)
		p.text("path", "/sys"+strings.TrimPrefix(d.dir, h.sys))
		if node := h.node(pr); node != "" {
			p.line("<devnode type='dev'>%s</devnode>", escape(node))
		}
		sort.Strings(pr.links)
		for _, l := range pr.links {
			p.line("<devnode type='link'>%s</devnode>", escape(l))
		}
	}
	p.text("parent", d.parent)
	if driver := linkName(d.dir, "driver"); d.dir != "" && driver != "" {
		endDriver := p.open("driver", "")
		p.text("name", driver)
		endDriver()
	}
	endCap := p.open("capability", "type='"+string(d.kind)+"'")
	h.capability(p, d, pr)
	endCap()
	end()
	return p.b.String()
}

func (h host) capability(p *printer, d *device, pr props) {
	switch d.kind {
	case kindSystem:
		h.system(p)
	case kindPCI:
		h.pci(p, d)
	case kindUSBDevice:
		h.usbDevice(p, d, pr)
	case kindUSB:
		for _, a := range [][2]string{{"number", "bInterfaceNumber"}, {"class", "bInterfaceClass"}, {"subclass", "bInterfaceSubClass"}, {"protocol", "bInterfaceProtocol"}} {
			p.text(a[0], hexNumber(attr(d.dir, a[1])))
		}
	case kindNet:
		h.net(p, d, pr)
	case kindSCSIHost:
		h.scsiHost(p, d)
	case kindSCSITarget:
		h.scsiTarget(p, d)
	case kindSCSI:
		scsiDevice(p, d)
	case kindStorage:
		h.storage(p, d, pr)
	case kindSCSIGeneric:
		p.text("char", h.node(pr))
	case kindDRM:
		drmMinor(p, d, pr)
	case kindMdev:
		h.mdev(p, d)
	case kindVDPA:
		p.text("chardev", h.vdpaNode(d.dir))
	case kindCCW:
		channelAddress(p, filepath.Base(d.dir))
	case kindCSS:
		subchannel(p, d)
	case kindAPCard, kindAPQueue:
		adapter(p, d)
	case kindAPMatrix:
		mdevTypes(p, d)
	}
}
