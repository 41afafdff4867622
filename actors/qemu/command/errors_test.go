package command

import (
	"errors"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

// TestRefusals: what a client reads when a definition, or the binary, does not allow a start or a plug.
func TestRefusals(t *testing.T) {
	const head = `<domain type='qemu'><name>r</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>` +
		`<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>`
	const pcie = `<controller type='pci' index='0' model='pcie-root'><alias name='pcie.0'/></controller>`
	at := `<address type='pci' domain='0' bus='0' slot='5' function='0'/>`
	tests := []struct {
		name, doc string
		without   string // device the binary lacks
		code      liberr.Code
		message   string
	}{
		{"an unknown machine", strings.Replace(head, "pc-q35-7.2", "pc-q35-99", 1) + `<devices/></domain>`, "", liberr.ConfigUnsupported,
			"unsupported configuration: Emulator '/usr/bin/qemu-system-x86_64' does not support machine type 'pc-q35-99'"},
		{"another hypervisor", strings.Replace(head, "'qemu'", "'xen'", 1) + `<devices/></domain>`, "", liberr.ConfigUnsupported,
			"unsupported configuration: the QEMU binary does not support xen"},
		{"a binary without USB storage", head + `<devices><controller type='usb' index='0' model='none'><alias name='usb'/></controller>` +
			`<disk type='file' device='disk'><target dev='sda' bus='usb'/><alias name='usb-disk0'/><address type='usb' bus='0' port='1'/></disk></devices></domain>`,
			"usb-storage", liberr.ConfigUnsupported, "unsupported configuration: This QEMU doesn't support '-device usb-storage'"},
		{"a binary without a device that has no words of its own", head + `<devices>` + pcie + `<rng model='virtio'><backend model='builtin'/><alias name='rng0'/>` + at + `</rng></devices></domain>`,
			"virtio-rng-pci", liberr.ConfigUnsupported, "unsupported configuration: The 'virtio-rng-pci' device is not supported by this QEMU binary"},
		{"a device on a bus that is not there", head + `<devices><rng model='virtio'><backend model='builtin'/><alias name='rng0'/>` + at + `</rng></devices></domain>`,
			"", liberr.InternalError, "internal error: Could not find pci controller with index 0 required for device"},
		{"a CPU that nobody has expanded", head + `<cpu mode='host-model'/><devices/></domain>`, "", liberr.InternalError,
			"internal error: unexpected host-model CPU for x86_64 architecture"},
		{"host-passthrough under emulation", head + `<cpu mode='host-passthrough'/><devices/></domain>`, "", liberr.ConfigUnsupported,
			"unsupported configuration: CPU mode 'host-passthrough' is only supported with kvm"},
		{"huge pages without a mount", strings.Replace(head, "<vcpu>", "<memoryBacking><hugepages/></memoryBacking><vcpu>", 1) + `<devices/></domain>`, "",
			liberr.InternalError, "internal error: hugetlbfs filesystem is not mounted or disabled by administrator config"},
		{"a bridge without a tap", head + `<devices>` + pcie + `<interface type='bridge'><source bridge='b'/><model type='virtio'/><alias name='netX'/>` + at + `</interface></devices></domain>`,
			"", liberr.InternalError, "internal error: no tap device was opened for interface 'netX'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := testCaps(t)
			delete(c.Devices, tt.without)
			def := parseText(t, tt.doc)
			rt := testRuntime(t, def)
			delete(rt.NICs, "netX")
			rt.Hugepages = nil
			_, err := Build(def, c, rt)
			if !errors.Is(err, tt.code) || err.Error() != tt.message {
				t.Errorf("error is %v\nwant     %s", err, tt.message)
			}
		})
	}
}

func TestPlugRefusals(t *testing.T) {
	c, def := testCaps(t), board(t)
	tests := []struct {
		name    string
		device  any
		message string
	}{
		{"IDE disk", &libvirtxml.DomainDisk{Device: "disk", Target: &libvirtxml.DomainDiskTarget{Dev: "hda", Bus: "ide"}},
			"disk bus 'ide' cannot be hotplugged."},
		{"floppy", &libvirtxml.DomainDisk{Device: "floppy", Target: &libvirtxml.DomainDiskTarget{Dev: "fda", Bus: "fdc"}},
			"floppy device hotplug isn't supported"},
		{"USB controller", &libvirtxml.DomainController{Type: "usb"}, "'usb' controller cannot be hot plugged."},
		{"PS/2 mouse", &libvirtxml.DomainInput{Type: "mouse", Bus: "ps2"}, "input device on bus 'ps2' cannot be hot plugged."},
		{"ISA watchdog", &libvirtxml.DomainWatchdog{Model: "ib700"}, "hotplug of watchdog of model ib700 is not supported"},
		{"9p", &libvirtxml.DomainFilesystem{}, "only virtiofs filesystems can be hotplugged"},
		{"sound card", &libvirtxml.DomainSound{}, "live attach of device 'sound' is not supported"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := DevicePlug(def, c, Runtime{}, tt.device)
			want := "Operation not supported: " + tt.message
			if !errors.Is(err, liberr.OperationUnsupported) || err.Error() != want {
				t.Errorf("error is %v, want %s", err, want)
			}
		})
	}
}
