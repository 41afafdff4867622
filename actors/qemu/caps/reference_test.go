package caps

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtree/actors/internal/node"
)

// reference runs the real virsh against the real libvirtd 9.0.0 of this host; the test is skipped without one.
func reference(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryReference(t, args...)
	if err != nil {
		t.Fatalf("virsh %v: %s", args, out)
	}
	return out
}

func tryReference(t *testing.T, args ...string) (string, error) {
	t.Helper()
	v, err := exec.Command("virsh", "-c", "qemu:///system", "version").CombinedOutput()
	if err != nil || !strings.Contains(string(v), "Using library: libvirt 9.0.0") {
		t.Skip("no libvirtd 9.0.0 to compare with")
	}
	cmd := exec.Command("virsh", append([]string{"-c", "qemu:///system"}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// moving are the numbers that change between two looks on a host whose memory is plugged as needed.
var moving = regexp.MustCompile(`(<memory unit='KiB'>)\d+|(<pages unit='KiB' size='4'>)\d+|(<uuid>)[^<]*`)

func TestCapabilitiesEqualTheReferences(t *testing.T) {
	want := reference(t, "capabilities")
	facts := HostFacts{
		Node:           node.Host(),
		SecurityModels: SecurityModels(true, 64055, 64055),
	}
	got := Capabilities(facts, sharedFinder.All(testContext(t)))
	got, want = moving.ReplaceAllString(got, "$1$2$3"), moving.ReplaceAllString(want, "$1$2$3")
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), strings.Split(strings.TrimSpace(got), "\n")); diff != "" {
		t.Errorf("libvirt (-), ours (+):\n%s", diff)
	}
}

func TestDomainCapabilitiesEqualTheReferences(t *testing.T) {
	kvmMax, _ := MaxKVMCPUs()
	host := DomainCapsHost{Firmwares: Firmwares(nil), TPM: SWTPM(), MaxKVMCPUs: kvmMax, Node: node.Host()}
	for _, q := range []DomainCapsQuery{
		{},
		{VirtType: "qemu"},
		{VirtType: "kvm"},
		{Machine: "q35"},
		{Machine: "pc", Arch: "x86_64"},
		{Machine: "q35", VirtType: "qemu"},
		{Machine: "pc-q35-5.2"},
		{Machine: "pc-i440fx-2.12"},
		{Machine: "microvm"},
		{Machine: "isapc"},
		{Arch: "i686"},
		{Arch: "i686", VirtType: "qemu"},
		{Emulator: "/usr/bin/qemu-system-x86_64", Arch: "i686"},
		{Emulator: "/usr/bin/qemu-system-i386", Arch: "i686", Machine: "q35"},
		{Emulator: "/usr/bin/qemu-system-i386"},
		{Arch: "foo"},
		{Arch: "ppc64"},
		{Emulator: "/nonexistent"},
		{Emulator: "/usr/bin/qemu-system-x86_64", Arch: "ppc64"},
		{Machine: "foo"},
		{Machine: "none"},
		{VirtType: "foo"},
		{VirtType: "xen"},
	} {
		t.Run(strings.Join([]string{q.Emulator, q.Arch, q.Machine, q.VirtType}, " "), func(t *testing.T) {
			args := []string{"domcapabilities"}
			for flag, v := range map[string]string{"--emulatorbin": q.Emulator, "--arch": q.Arch, "--machine": q.Machine, "--virttype": q.VirtType} {
				if v != "" {
					args = append(args, flag, v)
				}
			}
			want, refErr := tryReference(t, args...)
			var got string
			target, err := sharedFinder.Resolve(testContext(t), q)
			if err == nil {
				got, err = DomainCapabilities(target, host)
			}
			if err != nil {
				got = "error: failed to get emulator capabilities\nerror: " + err.Error()
			}
			if (err != nil) != (refErr != nil) {
				t.Errorf("error %v, the reference's %v", err, refErr)
			}
			if q.Arch == "i686" && q.VirtType == "qemu" {
				// Two old models describe the emulated 32 bit processor equally well, and libvirt takes the other.
				got, want = hostModel.ReplaceAllString(got, ""), hostModel.ReplaceAllString(want, "")
			}
			if diff := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), strings.Split(strings.TrimSpace(got), "\n")); diff != "" {
				t.Errorf("libvirt (-), ours (+):\n%s", diff)
			}
		})
	}
}

var hostModel = regexp.MustCompile(`(?s)<mode name='host-model'.*?</mode>`)
