package caps

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The list was recorded from libvirtd 9.0.0 with Debian 12's QEMU, on a host with KVM.
func TestFlagsAreLibvirts(t *testing.T) {
	c, err := sharedFinder.ForArch(testContext(t), "x86_64")
	if err != nil {
		t.Skip(err)
	}
	if c.Version/1000 != 7002 || !c.KVM {
		t.Skipf("recorded with another QEMU or host: %d, KVM %v", c.Version, c.KVM)
	}
	b, err := os.ReadFile("testdata/flags-x86_64-7.2.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Fields(string(b)), c.LibvirtFlags()); diff != "" {
		t.Errorf("libvirt (-), ours (+):\n%s", diff)
	}
}

func TestFlagsDependOnTheBinary(t *testing.T) {
	old := &Caps{Version: 4_002_000, Arch: "aarch64", TCG: true, Devices: map[string]Props{"virtio-net-pci": {"rss": true}}}
	flags := strings.Join(old.LibvirtFlags(), " ") + " "
	for _, want := range []string{"tcg ", "virtio-net ", "virtio-net.rss ", "incremental-backup "} {
		if !strings.Contains(flags, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, not := range []string{"kvm ", "no-acpi ", "numa.hmat ", "netdev.stream ", "vnc ", "e1000 "} {
		if strings.Contains(" "+flags, " "+not) {
			t.Errorf("%s is not there", not)
		}
	}
}
