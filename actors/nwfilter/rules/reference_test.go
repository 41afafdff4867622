package rules

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtree/actors/internal/nettest"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// reference is libvirt's own daemon in the namespaces of the test, whose filters stand in iptables and ebtables.
type reference struct {
	t testing.TB
}

// startReference starts libvirtd with folders of its own over those of the host.
func startReference(t testing.TB) *reference {
	t.Helper()
	nettest.Need(t)
	for _, tool := range []string{"libvirtd", "virsh", "ebtables", "iptables", "ip6tables"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is needed: packages libvirt-daemon-system, libvirt-clients, ebtables, iptables", tool)
		}
	}
	for _, dir := range []string{"/run", "/var/lib/libvirt", "/var/cache/libvirt", "/etc/libvirt"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	if err := os.MkdirAll("/run/lock", 0o755); err != nil {
		t.Fatal(err)
	}
	conf := `auth_unix_rw = "none"` + "\n"
	if err := os.WriteFile("/etc/libvirt/libvirtd.conf", []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command("/usr/sbin/libvirtd")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	r := &reference{t: t}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if out, err := r.virsh("nwfilter-list"); err == nil {
			return r
		} else if time.Now().After(deadline) {
			t.Fatalf("libvirtd does not serve: %s\n%s", out, log.String())
		}
		time.Sleep(50 * time.Millisecond) // for another process
	}
}

func (r *reference) virsh(args ...string) (string, error) {
	out, err := exec.Command("virsh", append([]string{"-q", "-c", "qemu:///system"}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// bind defines filters and filters port vnet0 by the first. The error is libvirt's.
func (r *reference) bind(docs []string, root string, vars map[string][]string) error {
	dir := r.t.TempDir()
	path := filepath.Join(dir, "document.xml")
	with := func(doc, verb string) error {
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			return err
		}
		if out, err := r.virsh(verb, path); err != nil {
			return fmt.Errorf("%s", out)
		}
		return nil
	}
	for i := range docs {
		if err := with(docs[len(docs)-1-i], "nwfilter-define"); err != nil {
			return err
		}
	}
	var parameters strings.Builder
	for name, values := range vars {
		for _, v := range values {
			fmt.Fprintf(&parameters, "<parameter name='%s' value='%s'/>", name, v)
		}
	}
	return with(fmt.Sprintf(`<filterbinding><owner><name>t</name><uuid>97fe85e6-6c46-4e0c-8a3e-6d2d1cdb9b7f</uuid></owner>
		<portdev name='vnet0'/><mac address='52:54:00:00:00:00'/><filterref filter='%s'>%s</filterref></filterbinding>`, root, parameters.String()),
		"nwfilter-binding-create")
}

// unbind takes it all away again.
func (r *reference) unbind(names ...string) {
	_, _ = r.virsh("nwfilter-binding-delete", "vnet0")
	for _, n := range names {
		_, _ = r.virsh("nwfilter-undefine", n)
	}
}

// forget makes connection tracking forget all connections.
func forget(t testing.TB) {
	t.Helper()
	if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		t.Fatal(err)
	}
}
