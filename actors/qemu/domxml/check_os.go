package domxml

import (
	"slices"
	"strings"

	"virtree/wire/liberr"
)

var architectures = []string{"alpha", "armv6l", "armv7l", "armv7b", "aarch64", "cris", "i686", "ia64", "lm32", "loongarch64", "m68k", "microblaze", "microblazeel", "mips", "mipsel", "mips64", "mips64el", "openrisc", "parisc", "parisc64", "ppc", "ppc64", "ppc64le", "ppcemb", "riscv32", "riscv64", "s390", "s390x", "sh4", "sh4eb", "sparc", "sparc64", "unicore32", "x86_64", "xtensa", "xtensaeb"}

// checkOS reads <os>: what is booted and how.
func (def *definition) checkOS() error {
	os := def.root.kid("os")
	typ := os.kid("type")
	if typ == nil || strings.TrimSpace(typ.text) == "" {
		return xmlError("an os <type> must be specified")
	}
	switch typ.text {
	case "hvm", "xen", "xenpvh":
	case "linux", "exe", "uml":
		if typ.text == "exe" && os.kidText("init") == "" {
			return xmlError("init binary must be specified")
		}
	default:
		return unsupported("unknown OS type '%s'", typ.text)
	}
	if a, ok := typ.lookup("arch"); ok && !slices.Contains(architectures, a) {
		return unsupported("Unknown architecture %s", a)
	}
	def.arch = typ.get("arch")
	if def.arch == "" {
		def.arch = def.env.arch()
		typ.set("arch", def.arch)
	}
	if err := def.checkBoot(os); err != nil {
		return err
	}
	return def.checkFirmware(os)
}

func (def *definition) checkBoot(os *node) error {
	var boots []*node
	for _, b := range os.all("boot") {
		if err := grammar["osboot"].check(b); err != nil {
			return err
		}
		boots = append(boots, b)
	}
	// More than four are cut off.
	if len(boots) > 4 {
		for _, b := range boots[4:] {
			os.remove(b)
		}
	}
	if m := os.kid("bootmenu"); m != nil {
		if err := grammar["bootmenu"].check(m); err != nil {
			return err
		}
		if m.get("enable") != "yes" {
			m.unset("timeout")
		}
		if m.has("timeout") {
			if t, ok := m.uint("timeout"); !ok || t > 65535 {
				return unsupported("invalid value for boot menu timeout, must be in range [0,65535]")
			}
		}
		if len(m.attrs) == 0 {
			os.remove(m)
		}
	}
	if s := os.kid("smbios"); s != nil {
		mode, ok := s.lookup("mode")
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
	if v, ok := os.lookup("firmware"); ok && v != "efi" && v != "bios" {
		return xmlError("unknown firmware value %s", v)
	}
	if f := os.kid("firmware"); f != nil {
		for _, feature := range f.kids {
			if err := grammar["fwfeature"].check(feature); err != nil {
				return err
			}
		}
		slices.SortStableFunc(f.kids, func(a, b *node) int { return strings.Compare(a.get("name"), b.get("name")) })
		if len(f.kids) == 0 {
			os.remove(f)
		}
	}
	loader, nvram := os.kid("loader"), os.kid("nvram")
	if loader != nil {
		if err := grammar["loader"].check(loader); err != nil {
			return err
		}
		if loader.text != "" && !os.has("firmware") {
			loader.setDefault("type", "rom")
		}
	}
	if nvram != nil {
		if err := def.checkNVRAM(nvram); err != nil {
			return err
		}
	}
	if !os.has("firmware") && (loader == nil || loader.text == "") && (nvram != nil || loader != nil) {
		return liberr.New(liberr.FromDomain, liberr.XMLDetail, "no loader path specified and firmware auto selection disabled")
	}
	if t := os.kid("acpi/table"); t != nil && t.get("type") != "slic" {
		if !t.has("type") {
			return missingAttr(t, "type")
		}
		return badValue(t, "type", t.get("type"))
	}
	return nil
}

func (def *definition) checkNVRAM(nvram *node) error {
	if !nvram.has("type") {
		nvram.drop("source")
		return nil
	}
	nvram.text = ""
	src := nvram.kid("source")
	if src == nil {
		return xmlError("Missing source element with nvram type '%s'", nvram.get("type"))
	}
	return checkStorageSource(nvram, src)
}
