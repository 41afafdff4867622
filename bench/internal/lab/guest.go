package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Image is the small guest that bench/guest builds.
type Image struct {
	Kernel, Initrd, Cmdline string
	DomainType              string // "kvm" or "qemu": what really runs the kernel here
}

var buildImage = sync.OnceValues(func() (Image, error) {
	dir := filepath.Join(CacheDir(), "guest")
	script := filepath.Join(ModuleRoot(), "bench/guest/build.sh")
	if out, err := exec.Command(script, dir).CombinedOutput(); err != nil {
		return Image{}, fmt.Errorf("build the guest: %w\n%s", err, out)
	}
	text := func(name string) string {
		b, _ := os.ReadFile(filepath.Join(dir, name))
		return strings.TrimSpace(string(b))
	}
	// QEMU runs as a user of its own and must get at the files.
	for d := dir; d != "/" && d != "."; d = filepath.Dir(d) {
		if st, err := os.Stat(d); err == nil && st.Mode()&0o001 == 0 {
			return copyImage(dir, text)
		}
	}
	return Image{filepath.Join(dir, "vmlinux"), filepath.Join(dir, "initrd"), text("cmdline"), text("domtype")}, nil
})

// copyImage puts the image where any user may read it, once per version.
func copyImage(dir string, text func(string) string) (Image, error) {
	open := "/var/tmp/virtree-guest-" + text("stamp")
	for _, f := range []string{"vmlinux", "initrd"} {
		if _, err := os.Stat(filepath.Join(open, f)); err == nil {
			continue
		}
		if err := os.MkdirAll(open, 0o755); err != nil {
			return Image{}, err
		}
		tmp := filepath.Join(open, fmt.Sprintf(".%s.%d", f, os.Getpid()))
		if out, err := exec.Command("cp", filepath.Join(dir, f), tmp).CombinedOutput(); err != nil {
			return Image{}, fmt.Errorf("copy the guest: %s", out)
		}
		if err := os.Rename(tmp, filepath.Join(open, f)); err != nil {
			return Image{}, err
		}
	}
	return Image{open + "/vmlinux", open + "/initrd", text("cmdline"), text("domtype")}, nil
}

// Guest builds the image if it is not there yet and returns it.
func Guest() (Image, error) { return buildImage() }

// GuestXML is a domain that boots the image. Extra goes among its devices.
func (i Image) GuestXML(name, extra string) string {
	return fmt.Sprintf(`<domain type='%s'>
  <name>%s</name>
  <memory unit='MiB'>192</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>%s</kernel>
    <initrd>%s</initrd>
    <cmdline>%s</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <serial type='pty'/>
    <console type='pty'/>
    <memballoon model='none'/>
%s  </devices>
</domain>
`, i.DomainType, name, i.Kernel, i.Initrd, i.Cmdline, extra)
}

// BareXML is a domain without a kernel or disk: QEMU runs its firmware, which is
// all that a test of management needs. It runs under TCG everywhere alike.
func BareXML(name, extra string) string {
	return fmt.Sprintf(`<domain type='qemu'>
  <name>%s</name>
  <memory unit='MiB'>16</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
%s  </devices>
</domain>
`, name, extra)
}
