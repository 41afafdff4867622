package command

import "libvirt.org/go/libvirtxml"

// Line is a character device of a definition: what it is called, and the host's end.
type Line struct {
	Alias  string
	Source *libvirtxml.DomainChardevSource
}

// Lines lists the character devices that may be connections to other hosts.
func Lines(dev *libvirtxml.DomainDeviceList) []Line {
	var out []Line
	add := func(alias *libvirtxml.DomainAlias, src *libvirtxml.DomainChardevSource) {
		if src != nil {
			out = append(out, Line{aliasOf(alias), src})
		}
	}
	for i := range dev.Serials {
		add(dev.Serials[i].Alias, dev.Serials[i].Source)
	}
	for i := range dev.Parallels {
		add(dev.Parallels[i].Alias, dev.Parallels[i].Source)
	}
	for i := range dev.Consoles {
		add(dev.Consoles[i].Alias, dev.Consoles[i].Source)
	}
	for i := range dev.Channels {
		add(dev.Channels[i].Alias, dev.Channels[i].Source)
	}
	for i := range dev.RedirDevs {
		add(dev.RedirDevs[i].Alias, dev.RedirDevs[i].Source)
	}
	for i := range dev.Smartcards {
		add(dev.Smartcards[i].Alias, dev.Smartcards[i].Passthrough)
	}
	for i := range dev.RNGs {
		if be := dev.RNGs[i].Backend; be != nil && be.EGD != nil {
			add(dev.RNGs[i].Alias, be.EGD.Source)
		}
	}
	return out
}
