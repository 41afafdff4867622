package sockets

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Peer is who is at the other end, as far as the transport knows. It is a value: it travels with every call.
type Peer struct {
	Kind Kind

	// Of the process that connected; only when Kind.Unix().
	UID, GID  uint32
	PID       int32
	StartTime uint64 // of PID, in clock ticks since boot; 0 if the process is gone already. Tells a reused PID apart
	User      string // "" if the number has no name
	Group     string
	SELinux   string // security context; "" without SELinux

	// Address of the peer; the zero value for UNIX.
	Remote, Local netip.AddrPort

	X509DName string // subject of a verified client certificate, in libvirt's order: "C=GB,O=Example,CN=client"
	SASLUser  string // set by who authenticates
}

// RemoteAddr is the peer's address in the form virt-admin shows it. UNIX clients have the one that libvirt gives them.
func (p *Peer) RemoteAddr() string {
	if p.Kind.Unix() {
		return "127.0.0.1:0"
	}
	return p.Remote.String()
}

// unixPeer asks the kernel about a UNIX peer. What the kernel recorded at connect time (uid, gid, pid) must be there; the rest is
// looked up and may be missing.
func unixPeer(c *net.UnixConn, kind Kind) (Peer, error) {
	cred, err := peerCred(c)
	if err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	p := Peer{Kind: kind, UID: cred.Uid, GID: cred.Gid, PID: cred.Pid}
	p.StartTime, _ = StartTime(cred.Pid)
	if u, err := user.LookupId(strconv.FormatUint(uint64(cred.Uid), 10)); err == nil {
		p.User = u.Username
	}
	if g, err := user.LookupGroupId(strconv.FormatUint(uint64(cred.Gid), 10)); err == nil {
		p.Group = g.Name
	}
	if selinuxEnabled() {
		p.SELinux = peerSec(c)
	}
	return p, nil
}

func peerCred(c *net.UnixConn) (cred *unix.Ucred, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	cerr := rc.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if cerr != nil {
		return nil, cerr
	}
	return cred, err
}

func peerSec(c *net.UnixConn) string {
	rc, err := c.SyscallConn()
	if err != nil {
		return ""
	}
	var label string
	rc.Control(func(fd uintptr) { label, err = unix.GetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_PEERSEC) })
	if err != nil {
		return ""
	}
	return strings.TrimRight(label, "\x00")
}

// selinuxEnabled keeps labels of other security modules, which SO_PEERSEC gives as well, from passing as SELinux contexts.
var selinuxEnabled = sync.OnceValue(func() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
})

// StartTime is when a process started, in clock ticks since boot: the second half of a process's identity.
func StartTime(pid int32) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStartTime(b)
}

// parseStartTime takes field 22. Field 2, the command, may contain spaces and parentheses, so counting starts
// behind its last closing one.
func parseStartTime(stat []byte) (uint64, error) {
	i := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[i+1:]))
	if i < 0 || len(fields) < 20 {
		return 0, fmt.Errorf("unexpected /proc stat line %q", stat)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
