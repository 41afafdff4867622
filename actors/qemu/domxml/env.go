package domxml

import (
	"crypto/rand"
	"fmt"

	"virtree/actors/qemu/caps"
)

// Env is what the meaning of a document depends on apart from itself. Only Caps is needed; the other fields have
// working zero values.
type Env struct {
	// Arch is the host's architecture in libvirt's name, "" means x86_64.
	Arch string
	// Caps finds what a binary can do. Its errors go to the client as they are.
	Caps func(binary string) (*caps.Caps, error)
	// Known tells whether Caps answers at once, for who may not wait; nil means that it does.
	Known func(binary string) bool
	// Emulator names the binary for a guest architecture, "" when there is none. nil means /usr/bin/qemu-system-ARCH.
	Emulator func(arch, virtType string) string
	// NVRAMDir is where <nvram> goes that the document does not place; "" means /var/lib/libvirt/qemu/nvram.
	NVRAMDir string
	// SPICETLS and VNCTLS are qemu.conf's spice_tls and vnc_tls.
	SPICETLS, VNCTLS bool
	// SecurityModels lists the security drivers in use besides "dac", the default one first.
	SecurityModels []string

	// PCIExpress says whether the host's device "0000:06:12.5" is a PCI Express one, and so where it may sit in a
	// guest; nil asks sysfs.
	PCIExpress func(address string) bool

	// NewUUID and NewMAC make identities for what has none; nil means random ones.
	NewUUID func() string
	NewMAC  func() string
}

func (e *Env) arch() string {
	if e.Arch == "" {
		return "x86_64"
	}
	return e.Arch
}

func (e *Env) emulator(arch, virtType string) string {
	if e.Emulator != nil {
		return e.Emulator(arch, virtType)
	}
	if arch == "i686" {
		arch = "i386"
	}
	return "/usr/bin/qemu-system-" + arch
}

func (e *Env) nvramDir() string {
	if e.NVRAMDir == "" {
		return "/var/lib/libvirt/qemu/nvram"
	}
	return e.NVRAMDir
}

func (e *Env) pciExpress(address string) bool {
	if e.PCIExpress != nil {
		return e.PCIExpress(address)
	}
	return hostPCIExpress(address)
}

func (e *Env) uuid() string {
	if e.NewUUID != nil {
		return e.NewUUID()
	}
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return formatUUID(b)
}

// mac makes an address below QEMU's own prefix.
func (e *Env) mac() string {
	if e.NewMAC != nil {
		return e.NewMAC()
	}
	var b [3]byte
	rand.Read(b[:])
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", b[0], b[1], b[2])
}

func formatUUID(b [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
