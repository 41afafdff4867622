package command

import (
	"libvirt.org/go/libvirtxml"
)

// SMBIOS is what a guest's firmware tables say of it.
type SMBIOS = libvirtxml.DomainSysInfoSMBIOS

func (b *builder) smbios() error {
	b.arg("-uuid", b.def.UUID)
	if b.def.OS == nil || b.def.OS.SMBios == nil {
		return nil
	}
	var s *SMBIOS
	switch b.def.OS.SMBios.Mode {
	case "", "emulate":
		return nil
	case "host":
		s = b.rt.HostSMBIOS
		if s == nil {
			return unsupported("Host SMBIOS information is not available")
		}
		// Compat: of the host's tables only what names the machine is shown to a guest.
		s = &SMBIOS{BIOS: s.BIOS, System: withoutUUID(s.System)}
	case "sysinfo":
		for i := range b.def.SysInfo {
			if b.def.SysInfo[i].SMBIOS != nil {
				s = b.def.SysInfo[i].SMBIOS
			}
		}
		if s == nil {
			return unsupported("Domain '%s' sysinfo are not available", b.def.Name)
		}
	default:
		return unsupported("unknown smbios mode '%s'", b.def.OS.SMBios.Mode)
	}
	b.smbiosTables(s)
	return nil
}

func withoutUUID(s *libvirtxml.DomainSysInfoSystem) *libvirtxml.DomainSysInfoSystem {
	if s == nil {
		return nil
	}
	out := &libvirtxml.DomainSysInfoSystem{}
	for _, e := range s.Entry {
		if e.Name != "uuid" {
			out.Entry = append(out.Entry, e)
		}
	}
	return out
}

func (b *builder) smbiosTables(s *SMBIOS) {
	if s.BIOS != nil {
		b.smbiosTable("0", s.BIOS.Entry, "vendor", "version", "date", "release")
	}
	if s.System != nil {
		b.smbiosTable("1", s.System.Entry, "manufacturer", "product", "version", "serial", "uuid", "sku", "family")
	}
	for _, t := range s.BaseBoard {
		b.smbiosTable("2", t.Entry, "manufacturer", "product", "version", "serial", "asset", "location")
	}
	if s.Chassis != nil {
		b.smbiosTable("3", s.Chassis.Entry, "manufacturer", "version", "serial", "asset", "sku")
	}
	if s.OEMStrings != nil && len(s.OEMStrings.Entry) > 0 {
		k := keyval{"type=11"}
		for _, v := range s.OEMStrings.Entry {
			k.set("value", v)
		}
		b.arg("-smbios", k.String())
	}
}

// smbiosTable writes the entries that QEMU knows, in its order. An empty table is left out.
func (b *builder) smbiosTable(kind string, entries []libvirtxml.DomainSysInfoEntry, names ...string) {
	k := keyval{"type=" + kind}
	for _, name := range names {
		for _, e := range entries {
			if e.Name == name {
				k.set(name, e.Value)
			}
		}
	}
	if len(k) > 1 {
		b.arg("-smbios", k.String())
	}
}

func (b *builder) fwCfg() error {
	for _, s := range b.def.SysInfo {
		if s.FWCfg == nil {
			continue
		}
		for _, e := range s.FWCfg.Entry {
			k := keyval{}
			k.set("name", e.Name)
			if e.File != "" {
				k.set("file", e.File)
			} else {
				k.set("string", e.Value)
			}
			b.arg("-fw_cfg", k.String())
		}
	}
	return nil
}

func (b *builder) genID() error {
	if b.def.GenID == nil || b.def.GenID.Value == "" {
		return nil
	}
	return b.device(Props{{"driver", "vmgenid"}, {"guid", b.def.GenID.Value}, {"id", "vmgenid0"}})
}
