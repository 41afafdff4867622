package caps

import "runtime"

// archNames pairs libvirt's names with QEMU's where they differ.
var archNames = map[string]string{
	"i686": "i386", "armv7l": "arm", "armv6l": "arm", "ppc64le": "ppc64", "itanium": "ia64",
	"parisc": "hppa", "openrisc": "or1k",
}

// ArchToQEMU is the last part of the emulator's name for an architecture.
func ArchToQEMU(arch string) string {
	if q, ok := archNames[arch]; ok {
		return q
	}
	return arch
}

func archFromQEMU(name string) string {
	switch name {
	case "i386":
		return "i686"
	case "arm":
		return "armv7l"
	case "hppa":
		return "parisc"
	case "or1k":
		return "openrisc"
	}
	return name
}

// allArchs are libvirt's architectures in its order, which is that of the guests in the capabilities.
var allArchs = []string{
	"alpha", "armv6l", "armv7l", "armv7b", "aarch64", "cris", "i686", "itanium", "lm32", "m68k", "microblaze",
	"microblazeel", "mips", "mipsel", "mips64", "mips64el", "openrisc", "parisc", "parisc64", "ppc", "ppc64",
	"ppc64le", "ppcemb", "riscv32", "riscv64", "s390", "s390x", "sh4", "sh4eb", "sparc", "sparc64", "unicore32",
	"x86_64", "xtensa", "xtensaeb",
}

// ValidArch says whether libvirt knows the name.
func ValidArch(arch string) bool {
	for _, a := range allArchs {
		if a == arch {
			return true
		}
	}
	return false
}

// wordSize is the number of bits of an architecture's registers.
func wordSize(arch string) int {
	switch arch {
	case "alpha", "aarch64", "itanium", "mips64", "mips64el", "parisc64", "ppc64", "ppc64le", "riscv64", "s390x",
		"sparc64", "x86_64":
		return 64
	}
	return 32
}

// HostArch is libvirt's name of the architecture this host runs.
func HostArch() string {
	switch runtime.GOARCH {
	case "amd64":
		return "x86_64"
	case "386":
		return "i686"
	case "arm64":
		return "aarch64"
	case "arm":
		return "armv7l"
	case "loong64":
		return "loongarch64"
	}
	return runtime.GOARCH // ppc64le, riscv64, s390x, mips64, ...
}
