package caps

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sort"
)

// Firmware is one of QEMU's firmware descriptors (docs/interop/firmware.json), as much as is needed to choose.
type Firmware struct {
	Path           string   // of the descriptor; "" for one of the built-in pairs
	InterfaceTypes []string `json:"interface-types"` // "uefi", "bios"
	Mapping        struct {
		Device     string `json:"device"` // "flash", "memory", "kernel"
		Mode       string `json:"mode"`   // of flash: "split" (the default), "combined", "stateless"
		Filename   string `json:"filename"`
		Executable struct {
			Filename string `json:"filename"`
			Format   string `json:"format"`
		} `json:"executable"`
		NVRAMTemplate struct {
			Filename string `json:"filename"`
			Format   string `json:"format"`
		} `json:"nvram-template"`
	} `json:"mapping"`
	Targets []struct {
		Architecture string   `json:"architecture"`
		Machines     []string `json:"machines"`
	} `json:"targets"`
	Features []string `json:"features"`
}

// Loader is the file that holds the program.
func (f *Firmware) Loader() string {
	if f.Mapping.Device == "flash" {
		return f.Mapping.Executable.Filename
	}
	return f.Mapping.Filename
}

// NVRAM is the template of the variables, "" where there is none.
func (f *Firmware) NVRAM() string { return f.Mapping.NVRAMTemplate.Filename }

// Has says whether the descriptor names a feature ("secure-boot", "requires-smm", "enrolled-keys", "amd-sev", ...).
func (f *Firmware) Has(feature string) bool { return slices.Contains(f.Features, feature) }

// Serves says whether it is meant for an architecture and a machine, whose canonical name is asked for.
func (f *Firmware) Serves(arch, machine string) bool {
	for _, t := range f.Targets {
		if archFromQEMU(t.Architecture) != arch {
			continue
		}
		for _, pattern := range t.Machines {
			if ok, _ := filepath.Match(pattern, machine); ok {
				return true
			}
		}
	}
	return false
}

// Firmwares reads the descriptors of this host in order of preference: by file name, where a file in a later folder
// of dirs hides one of the same name in an earlier, and an empty file hides without replacing. nil dirs are the system's.
func Firmwares(dirs []string) []*Firmware {
	if dirs == nil {
		dirs = []string{"/usr/share/qemu/firmware", "/etc/qemu/firmware"}
	}
	files := make(map[string]string)
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if filepath.Ext(e.Name()) == ".json" {
				files[e.Name()] = filepath.Join(dir, e.Name())
			}
		}
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	var list []*Firmware
	for _, name := range names {
		b, err := os.ReadFile(files[name])
		f := &Firmware{Path: files[name]}
		if err != nil || len(b) == 0 || json.Unmarshal(b, f) != nil {
			continue
		}
		list = append(list, f)
	}
	return list
}

// builtinLoaders are libvirt's pairs of program and variables for hosts without descriptors that fit.
var builtinLoaders = [][2]string{
	{"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
	{"/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
	{"/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"},
	{"/usr/share/AAVMF/AAVMF32_CODE.fd", "/usr/share/AAVMF/AAVMF32_VARS.fd"},
}

// firmwareChoice is what domain capabilities say of loaders.
type firmwareChoice struct {
	kinds   []string // "bios", "efi"
	loaders []string
	secure  bool
}

func chooseFirmware(list []*Firmware, arch, machine string) firmwareChoice {
	var c firmwareChoice
	kinds := make(map[string]bool)
	matched := false
	for _, f := range list {
		if !f.Serves(arch, machine) {
			continue
		}
		matched = true
		for _, kind := range f.InterfaceTypes {
			switch kind {
			case "uefi":
				kinds["efi"] = true
			case "bios":
				kinds["bios"] = true
			}
		}
		if f.Has("secure-boot") && f.Has("requires-smm") {
			c.secure = true
		}
		if loader := f.Loader(); loader != "" && exists(loader) && !slices.Contains(c.loaders, loader) {
			c.loaders = append(c.loaders, loader)
		}
	}
	for _, kind := range []string{"bios", "efi"} {
		if kinds[kind] {
			c.kinds = append(c.kinds, kind)
		}
	}
	if !matched {
		for _, pair := range builtinLoaders {
			if exists(pair[0]) {
				c.loaders = append(c.loaders, pair[0])
			}
		}
	}
	return c
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
