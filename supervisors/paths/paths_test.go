package paths

import (
	"os"
	"path/filepath"
	"testing"
)

func env(kv map[string]string) func(string) string { return func(k string) string { return kv[k] } }

func TestPaths(t *testing.T) {
	sys, rooted := System(""), System("/tmp/r/")
	home := map[string]string{"HOME": "/home/u"}
	xdg := map[string]string{"HOME": "/home/u", "XDG_RUNTIME_DIR": "/run/user/7", "XDG_CONFIG_HOME": "/c", "XDG_CACHE_HOME": "relative", "XDG_DATA_HOME": "/d"}
	user, bare, moved := userFrom("", 7, env(xdg)), userFrom("", 7, env(home)), userFrom("/tmp/r", 7, env(xdg))
	for _, c := range []struct{ what, got, want string }{
		{"system sockets are in /run/libvirt", sys.Socket("virtqemud"), "/run/libvirt/virtqemud-sock"},
		{"libvirtd's socket has no d", sys.Socket("libvirtd"), "/run/libvirt/libvirt-sock"},
		{"virtproxyd has libvirtd's names", sys.SocketRO("virtproxyd"), "/run/libvirt/libvirt-sock-ro"},
		{"and its admin socket", sys.AdminSocket("virtproxyd"), "/run/libvirt/libvirt-admin-sock"},
		{"admin socket", sys.AdminSocket("virtqemud"), "/run/libvirt/virtqemud-admin-sock"},
		{"virtlogd has no read-only socket", sys.SocketRO("virtlogd"), ""},
		{"pid files are in /run", sys.PIDFile("virtqemud"), "/run/virtqemud.pid"},
		{"daemon log", sys.LogFile("virtqemud"), "/var/log/libvirt/virtqemud.log"},
		{"configuration", sys.ConfFile("virtqemud"), "/etc/libvirt/virtqemud.conf"},
		{"actor socket", sys.ActorSocket("qemu"), "/run/libvirt/virtree/qemu.sock"},
		{"metrics socket", sys.MetricsSocket("qemu"), "/run/libvirt/virtree/qemu.metrics"},
		{"domain definitions", sys.DriverConfig("qemu"), "/etc/libvirt/qemu"},
		{"network definitions are below qemu", sys.Autostart("network"), "/etc/libvirt/qemu/networks/autostart"},
		{"status XML", sys.DriverRun("qemu"), "/run/libvirt/qemu"},
		{"autostart marker", sys.Autostarted("qemu"), "/run/libvirt/qemu/autostarted"},
		{"lib", sys.DriverLib("qemu"), "/var/lib/libvirt/qemu"},
		{"cache", sys.DriverCache("qemu"), "/var/cache/libvirt/qemu"},
		{"domain logs", sys.DriverLog("qemu"), "/var/log/libvirt/qemu"},
		{"root comes first", rooted.Socket("virtqemud"), "/tmp/r/run/libvirt/virtqemud-sock"},
		{"root moves the configuration", rooted.Config(), "/tmp/r/etc/libvirt"},
		{"root moves pid files", rooted.PIDFile("libvirtd"), "/tmp/r/run/libvirtd.pid"},
		{"session sockets", user.Socket("virtqemud"), "/run/user/7/libvirt/virtqemud-sock"},
		{"a session has no read-only socket", user.SocketRO("virtqemud"), ""},
		{"session pid files are beside the sockets", user.PIDFile("virtqemud"), "/run/user/7/libvirt/virtqemud.pid"},
		{"session configuration", user.DriverConfig("qemu"), "/c/libvirt/qemu"},
		{"session lib is below the configuration", user.DriverLib("qemu"), "/c/libvirt/qemu/lib"},
		{"a relative XDG value is ignored", user.Cache(), "/home/u/.cache/libvirt"},
		{"session domain logs", user.DriverLog("qemu"), "/home/u/.cache/libvirt/qemu/log"},
		{"session daemon log", user.LogFile("virtqemud"), "/home/u/.cache/libvirt/virtqemud.log"},
		{"session cache", user.DriverCache("qemu"), "/home/u/.cache/libvirt/qemu/cache"},
		{"session state", user.DriverRun("qemu"), "/run/user/7/libvirt/qemu/run"},
		{"session data", user.Data(), "/d/libvirt"},
		{"without a runtime dir the cache takes its place", bare.Socket("libvirtd"), "/home/u/.cache/libvirt/libvirt-sock"},
		{"root moves a session too", moved.Socket("virtqemud"), "/tmp/r/run/user/7/libvirt/virtqemud-sock"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, c.got, c.want)
		}
	}
}

func TestRelativeRootBecomesAbsolute(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, _ := os.Getwd()
	if got, want := System("x").Run(), filepath.Join(dir, "x/run/libvirt"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if System("/").Root != "" {
		t.Error("root / is no root")
	}
}

func TestPrepareClosesTheActorFolder(t *testing.T) {
	p := System(t.TempDir())
	for range 2 { // again over what is there
		if err := p.Prepare(); err != nil {
			t.Fatal(err)
		}
	}
	fi, err := os.Stat(p.ActorDir())
	if err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("actor folder: %v %v, want 0700", fi.Mode(), err)
	}
}
