package command

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

// descriptor writes a firmware descriptor as a package would.
func descriptor(t *testing.T, dir, name, kind, device, features string) {
	t.Helper()
	mapping := `{"device":"flash","executable":{"filename":"/fw/` + name + `.code","format":"raw"},` +
		`"nvram-template":{"filename":"/fw/` + name + `.vars","format":"raw"}}`
	switch device {
	case "memory":
		mapping = `{"device":"memory","filename":"/fw/` + name + `.bin"}`
	case "stateless", "combined":
		mapping = `{"device":"flash","mode":"` + device + `","executable":{"filename":"/fw/` + name + `.code","format":"raw"}}`
	}
	text := `{"interface-types":["` + kind + `"],"mapping":` + mapping +
		`,"targets":[{"architecture":"x86_64","machines":["pc-i440fx-*","pc-q35-*"]}],"features":[` + features + `],"tags":[]}`
	if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func efi(t *testing.T, os string) *libvirtxml.Domain {
	return parseText(t, `<domain type='kvm'><name>vm</name>`+os+`</domain>`)
}

const q35 = `<type arch='x86_64' machine='pc-q35-7.2'>hvm</type>`

func TestFirmwareSelection(t *testing.T) {
	dir := t.TempDir()
	descriptor(t, dir, "40-secure", "uefi", "flash", `"secure-boot","enrolled-keys","requires-smm","acpi-s3"`)
	descriptor(t, dir, "50-secure-empty", "uefi", "flash", `"secure-boot","requires-smm"`)
	descriptor(t, dir, "55-combined", "uefi", "combined", ``)
	descriptor(t, dir, "60-plain", "uefi", "flash", `"acpi-s3"`)
	descriptor(t, dir, "65-stateless", "uefi", "stateless", `"amd-sev"`)
	descriptor(t, dir, "70-bios", "bios", "memory", `"acpi-s4"`)
	list, err := LoadFirmware([]string{dir, filepath.Join(dir, "missing")})
	if err != nil {
		t.Fatal(err)
	}
	feature := func(state, name string) string { return `<feature enabled='` + state + `' name='` + name + `'/>` }
	tests := []struct {
		name, os, rest, loader string
	}{
		{"the first that fits wins", q35, "", "/fw/40-secure.code"},
		{"keys that are enrolled can be refused", q35 + `<firmware>` + feature("no", "enrolled-keys") + `</firmware>`, "", "/fw/50-secure-empty.code"},
		{"secure boot can be refused", q35 + `<firmware>` + feature("no", "secure-boot") + `</firmware>`, "", "/fw/60-plain.code"},
		{"secure boot by the loader's own attribute", q35 + `<loader secure='yes'/><firmware>` + feature("no", "enrolled-keys") + `</firmware>`, "",
			"/fw/50-secure-empty.code"},
		{"stateless is taken only when asked for", q35 + `<loader stateless='yes'/>`, "", "/fw/65-stateless.code"},
		{"suspend to memory has to work", q35 + `<firmware>` + feature("yes", "secure-boot") + feature("no", "enrolled-keys") + `</firmware>`,
			`<pm><suspend-to-mem enabled='yes'/></pm>`, ""},
		{"suspend to disk has to work", q35, `<pm><suspend-to-disk enabled='yes'/></pm>`, ""},
		{"another architecture has none", `<type arch='aarch64' machine='virt-7.2'>hvm</type>`, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			def := efi(t, `<os firmware='efi'>`+tt.os+`</os>`+tt.rest)
			err := list.Select(def, "/nvram")
			if tt.loader == "" {
				if !errors.Is(err, liberr.OperationFailed) || err.Error() != "operation failed: Unable to find any firmware to satisfy 'efi'" {
					t.Fatalf("error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if def.OS.Loader.Path != tt.loader || def.OS.Loader.Type != "pflash" || def.OS.Loader.Readonly != "yes" {
				t.Errorf("loader is %+v, want %s", def.OS.Loader, tt.loader)
			}
		})
	}
	t.Run("variables get a file and a template, SMM is switched on", func(t *testing.T) {
		def := efi(t, `<os firmware='efi'>`+q35+`</os>`)
		if err := list.Select(def, "/nvram"); err != nil {
			t.Fatal(err)
		}
		n := def.OS.NVRam
		if n == nil || n.NVRam != "/nvram/vm_VARS.fd" || n.Template != "/fw/40-secure.vars" {
			t.Errorf("nvram is %+v", n)
		}
		if def.Features == nil || def.Features.SMM == nil || def.Features.SMM.State != "on" || def.OS.Loader.Secure != "yes" {
			t.Error("secure firmware without SMM")
		}
	})
	t.Run("a BIOS is an image in memory", func(t *testing.T) {
		def := efi(t, `<os firmware='bios'>`+q35+`</os>`)
		if err := list.Select(def, "/nvram"); err != nil {
			t.Fatal(err)
		}
		if def.OS.Loader.Path != "/fw/70-bios.bin" || def.OS.Loader.Type != "rom" || def.OS.NVRam != nil {
			t.Errorf("loader is %+v, nvram %+v", def.OS.Loader, def.OS.NVRam)
		}
	})
	t.Run("SMM switched off is an error, not a reason to look further", func(t *testing.T) {
		def := efi(t, `<os firmware='efi'>`+q35+`</os><features><smm state='off'/></features>`)
		if err := list.Select(def, "/nvram"); !errors.Is(err, liberr.OperationInvalid) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("a loader that is named stays", func(t *testing.T) {
		def := efi(t, `<os>`+q35+`<loader type='pflash'>/my/code</loader></os>`)
		if err := list.Select(def, "/nvram"); err != nil || def.OS.Loader.Path != "/my/code" {
			t.Errorf("%v, loader is %+v", err, def.OS.Loader)
		}
	})
}

func TestFirmwareFoldersHideEachOther(t *testing.T) {
	usr, etc := t.TempDir(), t.TempDir()
	descriptor(t, usr, "40-a", "uefi", "flash", ``)
	descriptor(t, usr, "50-b", "uefi", "flash", ``)
	descriptor(t, etc, "60-c", "uefi", "flash", ``)
	if err := os.WriteFile(filepath.Join(etc, "40-a.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	descriptor(t, etc, "50-b", "bios", "memory", ``)
	list, err := LoadFirmware([]string{usr, etc})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Interfaces[0] != "bios" || list[1].File != filepath.Join(etc, "60-c.json") {
		t.Errorf("list is %+v", list)
	}
	if err := os.WriteFile(filepath.Join(etc, "70-d.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadFirmware([]string{usr, etc}); !errors.Is(err, liberr.InternalError) {
		t.Errorf("a broken descriptor gives %v", err)
	}
}
