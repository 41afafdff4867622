package caps

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
)

// picker collects the values of an enumeration, in the order of the calls.
type picker []string

func (p *picker) when(ok bool, values ...string) {
	if ok {
		*p = append(*p, values...)
	}
}

func writeDevices(w *xmlWriter, t *Target, m Machine, h DomainCapsHost) {
	c := t.Caps
	x86 := t.Arch == "x86_64" || t.Arch == "i686"

	w.in("disk supported='yes'", func() {
		device := picker{"disk", "cdrom"}
		device.when(x86, "floppy")
		device = append(device, "lun")
		w.enum("diskDevice", device)
		var bus picker
		bus.when(x86 && m.IsI440FX(), "ide")
		bus.when(x86, "fdc")
		bus = append(bus, "scsi", "virtio")
		bus.when(c.HasDevice("usb-storage"), "usb")
		bus.when(c.HasDevice("ich9-ahci"), "sata")
		bus.when(t.Arch == "aarch64" || t.Arch == "armv7l", "sd")
		w.enum("bus", bus)
		w.enum("model", c.virtioModels("virtio-blk-pci"))
	})
	w.in("graphics supported='yes'", func() {
		var types picker
		types.when(c.HasSchema("query-display-options/->/type/^sdl"), "sdl")
		types.when(c.HasCommand("query-vnc"), "vnc")
		types.when(c.HasCommand("query-spice"), "spice")
		types.when(c.HasSchema("query-display-options/->/type/^egl-headless"), "egl-headless")
		types.when(c.HasSchema("query-display-options/->/type/^dbus"), "dbus")
		w.enum("type", types)
	})
	w.in("video supported='yes'", func() {
		var types picker
		types.when(c.HasDevice("VGA"), "vga")
		types.when(c.HasDevice("cirrus-vga"), "cirrus")
		types.when(c.HasDevice("vmware-svga"), "vmvga")
		types.when(c.HasDevice("qxl"), "qxl")
		types.when(c.HasDevice("virtio-gpu-pci") || c.HasDevice("virtio-gpu-ccw"), "virtio")
		types = append(types, "none")
		types.when(c.HasDevice("bochs-display"), "bochs")
		types.when(c.HasDevice("ramfb"), "ramfb")
		w.enum("modelType", types)
	})
	w.in("hostdev supported='yes'", func() {
		w.enum("mode", []string{"subsystem"})
		w.enum("startupPolicy", []string{"default", "mandatory", "requisite", "optional"})
		subsys := picker{"usb", "pci"}
		subsys.when(c.HasDevice("scsi-generic"), "scsi")
		w.enum("subsysType", subsys)
		w.enum("capsType", nil)
		var backend picker
		backend.when(c.HasDevice("vfio-pci") && h.Node.HasIOMMU() && exists("/dev/vfio/vfio"), "default", "vfio")
		w.enum("pciBackend", backend)
	})
	if c.HasDevice("virtio-rng-pci") || c.HasDevice("virtio-rng-ccw") || c.HasDevice("virtio-rng-device") {
		w.in("rng supported='yes'", func() {
			w.enum("model", c.virtioModels("virtio-rng-pci"))
			var backend picker
			backend.when(c.HasObject("rng-random"), "random")
			backend.when(c.HasObject("rng-egd"), "egd")
			backend.when(c.HasObject("rng-builtin"), "builtin")
			w.enum("backendModel", backend)
		})
	} else {
		w.line("<rng supported='no'/>")
	}
	virtiofs := c.HasDevice("vhost-user-fs-device") || c.HasDevice("vhost-user-fs-pci")
	nineP := c.HasDevice("virtio-9p-pci") || c.HasDevice("virtio-9p-ccw") || c.HasDevice("virtio-9p-device")
	if virtiofs || nineP {
		w.in("filesystem supported='yes'", func() {
			var types picker
			types.when(nineP, "path", "handle")
			types.when(virtiofs, "virtiofs")
			w.enum("driverType", types)
		})
	} else {
		w.line("<filesystem supported='no'/>")
	}
	writeTPM(w, c, h.TPM)
	if c.HasDevice("usb-redir") {
		w.in("redirdev supported='yes'", func() { w.enum("bus", []string{"usb"}) })
	} else {
		w.line("<redirdev supported='no'/>")
	}
	w.in("channel supported='yes'", func() {
		types := picker{"pty", "unix"}
		types.when(c.HasSchema("chardev-add/backend/+spicevmc"), "spicevmc")
		w.enum("type", types)
	})
}

func (c *Caps) virtioModels(device string) []string {
	models := picker{"virtio"}
	models.when(c.HasDevice(device+"-non-transitional"), "virtio-transitional", "virtio-non-transitional")
	return models
}

func writeTPM(w *xmlWriter, c *Caps, host TPMHost) {
	var models, backends picker
	for _, name := range []string{"tpm-tis", "tpm-crb", "tpm-spapr", "spapr-tpm-proxy"} {
		models.when(slices.Contains(c.TPM.Models, name) || name == "spapr-tpm-proxy" && c.HasDevice(name), name)
	}
	backends.when(slices.Contains(c.TPM.Types, "passthrough"), "passthrough")
	emulator := slices.Contains(c.TPM.Types, "emulator")
	backends.when(emulator && host.Emulator, "emulator")
	backends.when(emulator, "external")
	if len(models) == 0 || len(backends) == 0 {
		w.line("<tpm supported='no'/>")
		return
	}
	w.in("tpm supported='yes'", func() {
		w.enum("model", models)
		w.enum("backendModel", backends)
		var versions []string
		if emulator && host.Emulator {
			versions = host.Versions
		}
		w.enum("backendVersion", versions)
	})
}

// SWTPM asks the installed TPM emulator which versions it has.
func SWTPM() TPMHost {
	for _, name := range []string{"swtpm", "swtpm_ioctl", "swtpm_setup"} {
		if _, err := exec.LookPath(name); err != nil {
			return TPMHost{}
		}
	}
	host := TPMHost{Emulator: true, Versions: []string{"1.2", "2.0"}}
	cmd := exec.Command("swtpm_setup", "--print-capabilities")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	var said struct {
		Features []string `json:"features"`
	}
	if err != nil || json.Unmarshal(out, &said) != nil {
		return host
	}
	var versions picker
	versions.when(slices.Contains(said.Features, "tpm-1.2"), "1.2")
	versions.when(slices.Contains(said.Features, "tpm-2.0"), "2.0")
	if len(versions) > 0 { // older ones do not tell and have both
		host.Versions = versions
	}
	return host
}
