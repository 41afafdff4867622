package paths

import (
	"os"
	"path/filepath"
)

// base is what a daemon's sockets are named after. virtproxyd stands in for libvirtd, so it has libvirtd's names.
func base(daemon string) string {
	switch daemon {
	case "libvirtd", "virtproxyd", "virtree":
		return "libvirt"
	}
	return daemon
}

// Socket is the read-write socket of a daemon ("virtqemud"): /run/libvirt/virtqemud-sock.
func (p Paths) Socket(daemon string) string { return filepath.Join(p.run, base(daemon)+"-sock") }

// SocketRO is the read-only socket, "" where the daemon has none: in a session, and for virtlogd and virtlockd.
func (p Paths) SocketRO(daemon string) string {
	if p.Session || daemon == "virtlogd" || daemon == "virtlockd" {
		return ""
	}
	return filepath.Join(p.run, base(daemon)+"-sock-ro")
}

// AdminSocket is the socket that virt-admin connects to.
func (p Paths) AdminSocket(daemon string) string {
	return filepath.Join(p.run, base(daemon)+"-admin-sock")
}

// ActorSocket is where the actors of a branch ("qemu") are reached from other processes of the tree.
func (p Paths) ActorSocket(branch string) string {
	return filepath.Join(p.ActorDir(), branch+".sock")
}

// ActorDir is the folder of the actor sockets; only its owner may enter it.
func (p Paths) ActorDir() string { return filepath.Join(p.run, "virtree") }

// MetricsSocket is where the figures of a branch's process are scraped.
func (p Paths) MetricsSocket(branch string) string {
	return filepath.Join(p.ActorDir(), branch+".metrics")
}

// PIDFile is /run/virtqemud.pid; in a session it is beside the sockets.
func (p Paths) PIDFile(daemon string) string { return filepath.Join(p.pids, daemon+".pid") }

// LogFile is the daemon's own log when it does not log to the journal or to stderr.
func (p Paths) LogFile(daemon string) string { return filepath.Join(p.log, daemon+".log") }

// ConfFile is the daemon's or driver's configuration: ConfFile("virtqemud"), ConfFile("qemu").
func (p Paths) ConfFile(name string) string { return filepath.Join(p.config, name+".conf") }

// LockFile is what a client locks while it starts a session daemon, so that two of them do not start two.
func (p Paths) LockFile(daemon string) string { return filepath.Join(p.run, daemon+".lock") }

// Prepare makes the folders that must exist before the first socket. In a session they are for the user alone.
func (p Paths) Prepare() error {
	mode := os.FileMode(0o755)
	if p.Session {
		mode = 0o700
	}
	for _, dir := range []string{p.run, p.pids} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(p.ActorDir(), 0o700); err != nil {
		return err
	}
	return os.Chmod(p.ActorDir(), 0o700) // a folder left by someone else's umask must not stay open
}
