package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"virtree/supervisors"
	"virtree/supervisors/paths"
)

// unitMark is the first line of every unit that we write: what has it is ours to change and to remove.
const unitMark = "# Written by `virtree mode`. A change made here is lost at the next switch: use `systemctl edit`."

// unitFile is one systemd unit.
type unitFile struct{ name, text string }

// unitSet makes the units of one way to run: libvirtd alone, or a daemon per branch. All of it comes from the tree's
// own description, so that a branch added there has its units.
type unitSet struct {
	binary string // of virtree
	paths  paths.Paths
}

const (
	modeSingle = "single"
	modeSplit  = "split"
	modeOff    = "off"
)

// socketKinds are the units of a daemon's sockets.
var socketKinds = []struct {
	kind   supervisors.Sockets
	suffix string
	what   string
	mode   string
	path   func(p paths.Paths, daemon string) string
}{
	{supervisors.SocketRW, ".socket", "local socket", "0666", paths.Paths.Socket},
	{supervisors.SocketRO, "-ro.socket", "local read-only socket", "0666", paths.Paths.SocketRO},
	{supervisors.SocketAdmin, "-admin.socket", "admin socket", "0600", paths.Paths.AdminSocket},
}

// daemonsOf lists the daemons of a mode: libvirtd's sockets are those of the proxy, in whose place it stands.
func daemonsOf(mode string) []supervisors.Branch {
	if mode == modeSplit {
		return supervisors.Host
	}
	return []supervisors.Branch{{Name: "libvirtd", Daemon: "libvirtd", Sockets: supervisors.AllUNIX}}
}

// unitsOf lists the names of a daemon's units, the service last.
func unitsOf(b supervisors.Branch) (names []string) {
	for _, k := range socketKinds {
		if b.Sockets&k.kind != 0 {
			names = append(names, b.Daemon+k.suffix)
		}
	}
	return append(names, b.Daemon+".service")
}

// modeUnits lists the names of all units of a mode.
func modeUnits(mode string) (names []string) {
	for _, b := range daemonsOf(mode) {
		names = append(names, unitsOf(b)...)
	}
	return names
}

// files makes all units of a mode.
func (u unitSet) files(mode string) (files []unitFile) {
	for _, b := range daemonsOf(mode) {
		for _, k := range socketKinds {
			if b.Sockets&k.kind == 0 {
				continue
			}
			path := k.path(u.paths, b.Daemon)
			files = append(files, unitFile{b.Daemon + k.suffix, u.socket(b, k.suffix, k.what, k.mode, path)})
		}
		files = append(files, unitFile{b.Daemon + ".service", u.service(b, mode)})
	}
	return files
}

func (u unitSet) socket(b supervisors.Branch, suffix, what, mode, path string) string {
	var t text
	t.line(unitMark)
	t.section("Unit")
	t.linef("Description=%s: %s", b.Daemon, what)
	if suffix != ".socket" {
		t.linef("BindsTo=%s.socket", b.Daemon)
		t.linef("After=%s.socket", b.Daemon)
	}
	t.section("Socket")
	t.linef("ListenStream=%s", path)
	t.linef("Service=%s.service", b.Daemon)
	t.linef("SocketMode=%s", mode)
	t.line("RemoveOnStop=yes")
	t.section("Install")
	t.line("WantedBy=sockets.target")
	return t.String()
}

func (u unitSet) service(b supervisors.Branch, mode string) string {
	var t text
	t.line(unitMark)
	t.section("Unit")
	t.linef("Description=virtree: %s", b.Daemon)
	t.linef("Documentation=https://libvirt.org/manpages/%s.html", b.Daemon)
	for _, s := range unitsOf(b) {
		if strings.HasSuffix(s, ".socket") {
			t.linef("Wants=%s", s)
			t.linef("After=%s", s)
		}
	}
	for _, need := range b.Needs {
		if n, ok := supervisors.Host.Find(need); ok {
			t.linef("Wants=%s.service", n.Daemon)
			t.linef("After=%s.service", n.Daemon)
		}
	}
	t.line("After=network.target local-fs.target remote-fs.target dbus.service apparmor.service firewalld.service nftables.service systemd-machined.service systemd-logind.service")
	// The other way to run has the same guests and the same files.
	if mode == modeSplit {
		t.line("Conflicts=libvirtd.service")
	} else {
		for _, o := range supervisors.Host {
			if !bothModes(o.Daemon) {
				t.linef("Conflicts=%s.service", o.Daemon)
			}
		}
	}
	t.section("Service")
	t.line("Type=notify")
	variable := strings.ToUpper(b.Daemon) + "_ARGS"
	t.linef("EnvironmentFile=-/etc/default/%s", b.Daemon)
	root := ""
	if u.paths.Root != "" {
		root = " --root " + u.paths.Root
	}
	t.linef("ExecStart=%s %s%s $%s", u.binary, b.Daemon, root, variable)
	t.line("ExecReload=/bin/kill -HUP $MAINPID")
	t.line("Restart=on-failure")
	t.line("RestartSec=100ms")
	t.line("WatchdogSec=60")
	t.line("TimeoutStopSec=75") // the daemon's own limit is 60 s
	for _, line := range hardening(b.Name) {
		t.line(line)
	}
	t.section("Install")
	t.line("WantedBy=multi-user.target")
	for _, s := range unitsOf(b) {
		if strings.HasSuffix(s, ".socket") {
			t.linef("Also=%s", s)
		}
	}
	return t.String()
}

// bothModes: libvirt's own monolithic and modular daemons share these two.
func bothModes(daemon string) bool { return daemon == "virtlogd" || daemon == "virtlockd" }

// What a branch may do. A guest or helper that a branch starts inherits seccomp filters, capabilities and mounts, so
// what starts programs that outlive it is confined less: those go by their own means (QEMU's sandbox, AppArmor).
var (
	everyService = []string{"LimitNOFILE=8192", "LockPersonality=yes", "SystemCallArchitectures=native"}
	// Starts guests, dnsmasq, mount and the like, which must live on when it ends and see the host as it is.
	starter = []string{"KillMode=process", "TasksMax=32768", "LimitMEMLOCK=64M"}
	// Starts nothing that outlives it.
	confined = []string{
		"NoNewPrivileges=yes", "ProtectSystem=full", "ProtectKernelModules=yes", "ProtectKernelLogs=yes", "ProtectControlGroups=yes",
		"ProtectHostname=yes", "RestrictNamespaces=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes",
		"MemoryDenyWriteExecute=yes",
	}
	fileCaps = "CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER"
)

func hardening(branch string) []string {
	lines := append([]string(nil), everyService...)
	add := func(more ...string) { lines = append(lines, more...) }
	switch branch {
	case "logd": // log files may be anywhere
		add(confined...)
		// Guests hold the other end of its pipes.
		add("KillMode=process", fileCaps, "ProtectKernelTunables=yes", "PrivateDevices=yes", "ProtectClock=yes", "PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX", "OOMScoreAdjust=-900")
	case "lockd": // leases may be on disks of any kind
		add(confined...)
		add(fileCaps, "ProtectKernelTunables=yes", "PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX", "OOMScoreAdjust=-900")
	case "secret":
		add(confined...)
		add(fileCaps, "ReadWritePaths=-/etc/libvirt", "ProtectKernelTunables=yes", "ProtectHome=yes", "PrivateDevices=yes", "ProtectClock=yes", "PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX", "LimitCORE=0")
	case "proxy": // TCP and TLS too
		add(confined...)
		add("CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH", "ProtectKernelTunables=yes", "ProtectHome=yes", "PrivateDevices=yes", "ProtectClock=yes", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6")
	case "nwfilter":
		add(confined...)
		add("CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_NET_ADMIN CAP_NET_RAW",
			"ReadWritePaths=-/etc/libvirt", "ProtectHome=yes", "RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_PACKET AF_INET AF_INET6")
	case "nodedev", "interface":
		add("NoNewPrivileges=yes", "ProtectHome=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes")
	case "libvirtd", "qemu":
		add(starter...)
		add("Delegate=yes", "OOMScoreAdjust=-500")
	default: // network, storage
		add(starter...)
	}
	return lines
}

// text builds a unit line by line.
type text struct{ strings.Builder }

func (t *text) line(s string)                 { t.WriteString(s + "\n") }
func (t *text) linef(format string, a ...any) { fmt.Fprintf(t, format+"\n", a...) }
func (t *text) section(name string)           { fmt.Fprintf(t, "\n[%s]\n", name) }

// unitDir is where an administrator's units go; they hide those of packages of the same name.
func unitDir(p paths.Paths) string { return filepath.Join("/", p.Root, "etc/systemd/system") }
