package domxml

import (
	"strings"
	"testing"

	"virtree/actors/qemu/caps"
	"virtree/wire/liberr"
)

// reference describes QEMU 7.2 as Debian 12 builds it, the binary the documents of testdata were recorded with.
func referenceCaps(t testing.TB) *caps.Caps {
	c := &caps.Caps{
		Binary: "/usr/bin/qemu-system-x86_64", Version: 7002022, Arch: "x86_64", KVM: true, TCG: true,
		Devices: map[string]caps.Props{},
		TPM:     caps.TPMSet{Models: []string{"tpm-tis", "tpm-crb"}, Types: []string{"passthrough", "emulator"}},
	}
	for _, d := range strings.Fields(read(t, "testdata/devices.txt")) {
		c.Devices[d] = caps.Props{}
	}
	for _, m := range strings.Fields(read(t, "testdata/machines.txt")) {
		machine := caps.Machine{Name: m, MaxCPUs: 255, HotplugCPUs: true, DefaultCPU: "qemu64-x86_64-cpu"}
		switch m {
		case "pc", "q35":
			continue
		case "pc-i440fx-7.2":
			machine.Alias, machine.Default = "pc", true
		case "pc-q35-7.2":
			machine.Alias = "q35"
		case "isapc":
			machine.MaxCPUs = 1
		}
		if strings.HasPrefix(m, "pc-q35") {
			machine.MaxCPUs = 288
		}
		c.Machines = append(c.Machines, machine)
	}
	return c
}

func referenceEnv(t testing.TB) Env {
	c := referenceCaps(t)
	return Env{
		Caps: func(bin string) (*caps.Caps, error) {
			switch bin {
			case "/usr/bin/qemu-system-x86_64":
				return c, nil
			case "/usr/bin/qemu-system-i386":
				i386 := *c
				i386.Binary, i386.Arch = bin, "i686"
				return &i386, nil
			case "/etc/passwd":
				return nil, liberr.New(liberr.FromQemu, liberr.SystemError, "QEMU binary %s is not executable: Permission denied", bin)
			}
			return nil, liberr.New(liberr.FromQemu, liberr.SystemError, "Cannot check QEMU binary %s: No such file or directory", bin)
		},
		SecurityModels: []string{"none"},
		PCIExpress:     func(address string) bool { return address != "0000:00:01.0" },
	}
}
