package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

// Firmware is one firmware build installed on the host, as its descriptor says (QEMU's docs/interop/firmware.json).
type Firmware struct {
	File       string   `json:"-"`
	Interfaces []string `json:"interface-types"`
	Mapping    struct {
		Device     string `json:"device"` // flash, memory, kernel
		Mode       string `json:"mode"`   // of flash: split, combined, stateless
		Filename   string `json:"filename"`
		Executable struct {
			Filename, Format string
		} `json:"executable"`
		NVRAMTemplate struct {
			Filename, Format string
		} `json:"nvram-template"`
	} `json:"mapping"`
	Targets []struct {
		Architecture string   `json:"architecture"`
		Machines     []string `json:"machines"`
	} `json:"targets"`
	Features []string `json:"features"`
}

// FirmwareList is the host's firmware in the order in which it is tried.
type FirmwareList []Firmware

// FirmwareDirs are where descriptors are, the least important first.
func FirmwareDirs(userConfig string) []string {
	dirs := []string{"/usr/share/qemu/firmware", "/etc/qemu/firmware"}
	if userConfig != "" {
		dirs = append(dirs, path.Join(userConfig, "qemu/firmware"))
	}
	return dirs
}

// LoadFirmware reads all descriptors. A file hides files of the same name in the folders before it; an empty one hides
// them without taking their place. The order is that of the names, whatever the folder.
func LoadFirmware(dirs []string) (FirmwareList, error) {
	files := map[string]string{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, liberr.System(liberr.FromQemu, err, "Unable to read '%s'", dir)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), ".json") {
				continue
			}
			files[e.Name()] = filepath.Join(dir, e.Name())
		}
	}
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	sort.Strings(names)
	var list FirmwareList
	for _, n := range names {
		text, err := os.ReadFile(files[n])
		if err != nil {
			return nil, liberr.System(liberr.FromQemu, err, "Failed to open file '%s'", files[n])
		}
		if len(text) == 0 {
			continue
		}
		f := Firmware{File: files[n]}
		if err := json.Unmarshal(text, &f); err != nil {
			return nil, internal("failed to parse firmware descriptor '%s': %v", files[n], err)
		}
		list = append(list, f)
	}
	return list, nil
}

// Select chooses the firmware of a domain that leaves it to the daemon (<os firmware='...'>) and writes it into the
// definition: loader, variable store and its template, and what the firmware needs of the machine. A definition that
// asks for nothing, or has its loader already, stays as it is.
func (l FirmwareList) Select(def *libvirtxml.Domain, nvramDir string) error {
	if def.OS == nil || def.OS.Firmware == "" || (def.OS.Loader != nil && def.OS.Loader.Path != "") {
		return nil
	}
	for i := range l {
		if l[i].matches(def) {
			return l[i].apply(def, nvramDir)
		}
	}
	return liberr.New(liberr.FromQemu, liberr.OperationFailed, "Unable to find any firmware to satisfy '%s'", def.OS.Firmware)
}

func (f *Firmware) has(feature string) bool { return contains(f.Features, feature) }

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// matches says whether a firmware is what a definition asks for.
func (f *Firmware) matches(def *libvirtxml.Domain) bool {
	want := map[string]string{"efi": "uefi", "bios": "bios"}[def.OS.Firmware]
	if !contains(f.Interfaces, want) || !f.runsOn(def.OS.Type) || !f.mappable(def.OS.Loader) {
		return false
	}
	if pm := def.PM; pm != nil {
		if pm.SuspendToMem != nil && pm.SuspendToMem.Enabled == "yes" && !f.has("acpi-s3") {
			return false
		}
		if pm.SuspendToDisk != nil && pm.SuspendToDisk.Enabled == "yes" && !f.has("acpi-s4") {
			return false
		}
	}
	for _, name := range []string{"secure-boot", "enrolled-keys"} {
		switch featureWanted(def.OS, name) {
		case "yes":
			if !f.has(name) {
				return false
			}
		case "no":
			if f.has(name) {
				return false
			}
		}
	}
	if l := def.OS.Loader; l != nil && l.Secure == "yes" && !(f.has("secure-boot") && f.has("requires-smm")) {
		return false
	}
	if s := def.LaunchSecurity; s != nil && s.SEV != nil {
		if !f.has("amd-sev") {
			return false
		}
		if s.SEV.Policy != nil && *s.SEV.Policy&4 != 0 && !f.has("amd-sev-es") {
			return false
		}
	}
	return true
}

func featureWanted(os *libvirtxml.DomainOS, name string) string {
	if os.FirmwareInfo == nil {
		return ""
	}
	for _, f := range os.FirmwareInfo.Features {
		if f.Name == name {
			return f.Enabled
		}
	}
	return ""
}

// runsOn compares the machine with the descriptor's patterns.
func (f *Firmware) runsOn(t *libvirtxml.DomainOSType) bool {
	if t == nil {
		return false
	}
	for _, target := range f.Targets {
		if target.Architecture != t.Arch {
			continue
		}
		for _, pattern := range target.Machines {
			if ok, _ := path.Match(pattern, t.Machine); ok {
				return true
			}
		}
	}
	return false
}

// mappable says whether the image goes where the definition allows. Of flash images those with variables of their own
// are used, those in one piece are not.
func (f *Firmware) mappable(l *libvirtxml.DomainLoader) bool {
	stateless := l != nil && l.Stateless == "yes"
	switch f.Mapping.Device {
	case "flash":
		switch f.Mapping.Mode {
		case "", "split":
			return !stateless
		case "stateless":
			return stateless
		}
		return false
	case "memory":
		return l == nil || l.Type == "" || l.Type == "rom"
	}
	return false
}

func (f *Firmware) apply(def *libvirtxml.Domain, nvramDir string) error {
	loader := &libvirtxml.DomainLoader{}
	if def.OS.Loader != nil {
		loader = def.OS.Loader
	}
	def.OS.Loader = loader
	switch f.Mapping.Device {
	case "flash":
		loader.Path = f.Mapping.Executable.Filename
		loader.Type = "pflash"
		loader.Readonly = "yes"
		if f.Mapping.Mode != "stateless" {
			if def.OS.NVRam == nil {
				def.OS.NVRam = &libvirtxml.DomainNVRam{}
			}
			if def.OS.NVRam.Template == "" {
				def.OS.NVRam.Template = f.Mapping.NVRAMTemplate.Filename
			}
			if def.OS.NVRam.NVRam == "" && def.OS.NVRam.Source == nil {
				def.OS.NVRam.NVRam = path.Join(nvramDir, def.Name+"_VARS.fd")
			}
		}
	case "memory":
		loader.Path = f.Mapping.Filename
		loader.Type = "rom"
	default:
		return fmt.Errorf("firmware %s: mapping %q", f.File, f.Mapping.Device)
	}
	if f.has("requires-smm") {
		if def.Features == nil {
			def.Features = &libvirtxml.DomainFeatureList{}
		}
		switch smm := def.Features.SMM; {
		case smm == nil:
			def.Features.SMM = &libvirtxml.DomainFeatureSMM{State: "on"}
		case smm.State == "off":
			// Compat: another firmware might do, but the first that fits is what the domain gets.
			return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain has SMM turned off but chosen firmware requires it")
		}
		loader.Secure = "yes"
	}
	// Compat: a live definition names the image and no longer asks for one.
	def.OS.Firmware = ""
	return nil
}
