package nodedev

import (
	"fmt"
	"path/filepath"
)

// channelAddress prints where a device sits on a mainframe's channels: "0.0.1a2b".
func channelAddress(p *printer, address string) bool {
	var cssid, ssid, devno uint
	if n, err := fmt.Sscanf(address, "%x.%x.%x", &cssid, &ssid, &devno); err != nil || n != 3 {
		return false
	}
	p.line("<cssid>0x%x</cssid>", cssid)
	p.line("<ssid>0x%x</ssid>", ssid)
	p.line("<devno>0x%04x</devno>", devno)
	return true
}

// subchannel prints a subchannel and the device behind it.
func subchannel(p *printer, d *device) {
	channelAddress(p, filepath.Base(d.dir))
	inner := &printer{indent: p.indent + "  "}
	if channelAddress(inner, attr(d.dir, "dev_busid")) {
		p.line("<channel_dev_addr>")
		p.b.WriteString(inner.b.String())
		p.line("</channel_dev_addr>")
	}
	mdevTypes(p, d)
}

// adapter prints a cryptographic adapter ("card07") or one domain of it ("07.0038").
func adapter(p *printer, d *device) {
	var card, domain uint
	base := filepath.Base(d.dir)
	if d.kind == kindAPCard {
		_, _ = fmt.Sscanf(base, "card%x", &card)
		p.line("<ap-adapter>0x%02x</ap-adapter>", card)
		return
	}
	_, _ = fmt.Sscanf(base, "%x.%x", &card, &domain)
	p.line("<ap-adapter>0x%02x</ap-adapter>", card)
	p.line("<ap-domain>0x%04x</ap-domain>", domain)
}
