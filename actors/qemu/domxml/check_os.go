package domxml

import (
	"slices"
	"strings"

	"virtree/wire/liberr"
)

var architectures = []string{"alpha", "armv6l", "armv7l", "armv7b", "aarch64", "cris", "i686", "ia64", "lm32", "loongarch64", "m68k", "microblaze", "microblazeel", "mips", "mipsel", "mips64", "mips64el", "openrisc", "parisc", "parisc64", "ppc", "ppc64", "ppc64le", "ppcemb", "riscv32", "riscv64", "s390", "s390x", "sh4", "sh4eb", "sparc", "sparc64", "unicore32", "x86_64", "xtensa", "xtensaeb"}

// checkOS reads <os>: what is booted and how.
func (def *definition) checkOS() error {
	os := def.root.Kid("os")
	typ := os.Kid("type")
	if typ == nil || strings.TrimSpace(typ.Text) == "" {
		return xmlError("an os <type> must be specified")
	}
	switch typ.Text {
	case "hvm", "xen", "xenpvh":
	case "linux", "exe", "uml":
		if typ.Text == "exe" && os.KidText("init") == "" {
			return xmlError("init binary must be specified")
		}
	default:
		return unsupported("unknown OS type '%s'", typ.Text)
	}
	if a, ok := typ.Lookup("arch"); ok && !slices.Contains(architectures, a) {
		return unsupported("Unknown architecture %s", a)
	}
	def.arch = typ.Get("arch")
	if def.arch == "" {
		def.arch = def.env.arch()
		typ.Set("arch", def.arch)
	}
	if err := def.checkBoot(os); err != nil {
		return err
	}
	return def.checkFirmware(os)
}

func (def *definition) checkBoot(os *node) error {
	var boots []*node
	for _, b := range os.All("boot") {
		if err := grammar["osboot"].check(b); err != nil {
			return err
		}
		boots = append(boots, b)
	}
	// More than four are cut off.
	if len(boots) > 4 {
		for _, b := range boots[4:] {
			os.Remove(b)
		}
	}
	if m := os.Kid("bootmenu"); m != nil {
		if err := grammar["bootmenu"].check(m); err != nil {
			return err
		}
		if m.Get("enable") != "yes" {
			m.Unset("timeout")
		}
		if m.Has("timeout") {
			if t, ok := uintOf(m, "timeout"); !ok || t > 65535 {
				return unsupported("invalid value for boot menu timeout, must be in range [0,65535]")
			}
		}
		if len(m.Attrs) == 0 {
			os.Remove(m)
		}
	}
	if s := os.Kid("smbios"); s != nil {
		mode, ok := s.Lookup("mode")
		if !ok {
			return missingAttr(s, "mode")
		}
		if !slices.Contains([]string{"none", "emulate", "host", "sysinfo"}, mode) {
			return unsupported("unknown smbios mode '%s'", mode)
		}
	}
	return nil
}

func (def *definition) checkFirmware(os *node) error {
	if v, ok := os.Lookup("firmware"); ok && v != "efi" && v != "bios" {
		return xmlError("unknown firmware value %s", v)
	}
	if f := os.Kid("firmware"); f != nil {
		for _, feature := range f.Kids {
			if err := grammar["fwfeature"].check(feature); err != nil {
				return err
			}
		}
		slices.SortStableFunc(f.Kids, func(a, b *node) int { return strings.Compare(a.Get("name"), b.Get("name")) })
		if len(f.Kids) == 0 {
			os.Remove(f)
		}
	}
	loader, nvram := os.Kid("loader"), os.Kid("nvram")
	if loader != nil {
		if err := grammar["loader"].check(loader); err != nil {
			return err
		}
		if loader.Text != "" && !os.Has("firmware") {
			loader.SetDefault("type", "rom")
		}
	}
	if nvram != nil {
		if err := def.checkNVRAM(nvram); err != nil {
			return err
		}
	}
	if !os.Has("firmware") && (loader == nil || loader.Text == "") && (nvram != nil || loader != nil) {
		return liberr.New(liberr.FromDomain, liberr.XMLDetail, "no loader path specified and firmware auto selection disabled")
	}
	if t := os.Kid("acpi/table"); t != nil && t.Get("type") != "slic" {
		if !t.Has("type") {
			return missingAttr(t, "type")
		}
		return badValue(t, "type", t.Get("type"))
	}
	return nil
}

func (def *definition) checkNVRAM(nvram *node) error {
	if !nvram.Has("type") {
		nvram.Drop("source")
		return nil
	}
	nvram.Text = ""
	src := nvram.Kid("source")
	if src == nil {
		return xmlError("Missing source element with nvram type '%s'", nvram.Get("type"))
	}
	return checkStorageSource(nvram, src)
}
