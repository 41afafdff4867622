package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
)

// Guests run as a user of their own, and own while they run what they need: their images, their sockets,
// their keys. Who owned a file before is remembered on the file itself, in libvirt's extended
// attributes, with a count of the guests that use it; the last one gives it back.

// guestUser is who QEMU runs as.
type guestUser struct {
	uid, gid uint32
	groups   []uint32
}

// self tells whether guests run as the daemon itself, so that nothing changes hands.
func (g guestUser) self() bool { return g.uid == uint32(os.Geteuid()) && g.gid == uint32(os.Getegid()) }

// label is the user in libvirt's notation.
func (g guestUser) label() string { return fmt.Sprintf("+%d:+%d", g.uid, g.gid) }

// defaultUser is the account that distributions make for QEMU.
const defaultUser = "libvirt-qemu"

// findGuestUser decides whom guests run as: the configuration's user, else the account made for it. A
// daemon that is not root has no choice, and neither has a tree whose folders that account cannot reach.
func (s *shared) findGuestUser() guestUser {
	own := guestUser{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
	if own.uid != 0 {
		return own
	}
	name := s.conf.User
	if name == "" {
		name = defaultUser
	}
	u, err := user.Lookup(strings.TrimPrefix(name, "+"))
	if err != nil {
		if u, err = user.LookupId(strings.TrimPrefix(name, "+")); err != nil {
			return own
		}
	}
	g := guestUser{uid: idNumber(u.Uid), gid: idNumber(u.Gid)}
	group := s.conf.Group
	if group == "" && s.conf.User == "" {
		group = defaultUser
	}
	if gr, err := user.LookupGroup(group); err == nil {
		g.gid = idNumber(gr.Gid)
	} else if gr, err := user.LookupGroupId(strings.TrimPrefix(group, "+")); err == nil {
		g.gid = idNumber(gr.Gid)
	}
	ids, _ := u.GroupIds()
	for _, id := range ids {
		g.groups = append(g.groups, idNumber(id))
	}
	if s.conf.User == "" && !reaches(g, s.env.Paths.DriverLib("qemu")) {
		s.env.Log.Info().Str("folder", s.env.Paths.DriverLib("qemu")).Str("user", defaultUser).
			Msg("guests run as the daemon's own user: theirs cannot reach the folder")
		return own
	}
	return g
}

func idNumber(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

// reaches tells whether a user may pass through every folder above path.
func reaches(g guestUser, path string) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if err == nil {
			sys := st.Sys().(*syscall.Stat_t)
			mode := st.Mode().Perm()
			ok := mode&0o001 != 0 || sys.Uid == g.uid && mode&0o100 != 0 || sys.Gid == g.gid && mode&0o010 != 0
			for _, id := range g.groups {
				ok = ok || sys.Gid == id && mode&0o010 != 0
			}
			if !ok {
				return false
			}
		}
		if dir == "/" || dir == "." {
			return true
		}
	}
}

// credential is the identity of a new process.
func (g guestUser) credential() *syscall.Credential {
	if g.self() {
		return nil
	}
	return &syscall.Credential{Uid: g.uid, Gid: g.gid, Groups: g.groups}
}

// secure gives the guest what it needs, and says so in the definition.
func (p *launchPlan) secure(_ context.Context, undo *kit.Undo) error {
	p.user = p.drv.guest
	for i := range p.def.SecLabel {
		l := &p.def.SecLabel[i]
		if l.Model == "dac" && l.Type == "static" && l.Label != "" {
			p.user = userOf(l.Label, p.user)
		}
	}
	if p.user.self() {
		return nil
	}
	own := []string{p.dir, p.rt.ChannelDir}
	for _, dir := range own {
		if err := chownTree(dir, p.user); err != nil {
			return liberr.System(liberr.FromSecurity, err, "unable to set user and group to '%d:%d' on '%s'", p.user.uid, p.user.gid, dir)
		}
	}
	for _, t := range p.rt.TPMs {
		_ = os.Chown(t.Socket, int(p.user.uid), int(p.user.gid))
	}
	if relabels(p.def) {
		for _, path := range guestFiles(p.def) {
			if err := takeFile(path, p.user); err != nil {
				return liberr.System(liberr.FromSecurity, err, "unable to set user and group to '%d:%d' on '%s'", p.user.uid, p.user.gid, path)
			}
			undo.Add("give back "+path, func(context.Context) error { return giveBack(path) })
		}
	}
	p.showLabel()
	return nil
}

// showLabel adds the label that was given to a definition that left it to us.
func (p *launchPlan) showLabel() {
	for _, l := range p.def.SecLabel {
		if l.Model == "dac" || l.Type == "none" {
			return
		}
	}
	label := p.user.label()
	p.def.SecLabel = append(p.def.SecLabel, libvirtxml.DomainSecLabel{Type: "dynamic", Model: "dac", Relabel: "yes", Label: label, ImageLabel: label})
}

// relabels tells whether the definition lets its files change hands.
func relabels(def *libvirtxml.Domain) bool {
	for _, l := range def.SecLabel {
		if l.Model == "dac" && l.Relabel == "no" {
			return false
		}
	}
	return true
}

// userOf reads a label "+uid:+gid" or "user:group".
func userOf(label string, otherwise guestUser) guestUser {
	u, g, ok := strings.Cut(label, ":")
	if !ok {
		return otherwise
	}
	out := guestUser{}
	if strings.HasPrefix(u, "+") {
		out.uid = idNumber(u[1:])
	} else if found, err := user.Lookup(u); err == nil {
		out.uid = idNumber(found.Uid)
	} else {
		out.uid = idNumber(u)
	}
	if strings.HasPrefix(g, "+") {
		out.gid = idNumber(g[1:])
	} else if found, err := user.LookupGroup(g); err == nil {
		out.gid = idNumber(found.Gid)
	} else {
		out.gid = idNumber(g)
	}
	return out
}

// guestFiles lists the files of the host that belong to the guest while it runs.
func guestFiles(def *libvirtxml.Domain) []string {
	var out []string
	add := func(path string) {
		if path != "" && filepath.IsAbs(path) {
			out = append(out, path)
		}
	}
	for i := range def.Devices.Disks {
		d := &def.Devices.Disks[i]
		if d.Source == nil || d.Source.File == nil && d.Source.Block == nil || diskKeepsOwner(d) {
			continue
		}
		add(diskPath(d))
		for b := d.BackingStore; b != nil && b.Source != nil; b = b.BackingStore {
			if b.Source.File != nil {
				add(b.Source.File.File)
			}
		}
	}
	if o := def.OS; o != nil {
		add(o.Kernel)
		add(o.Initrd)
		add(o.DTB)
		if o.NVRam != nil {
			add(o.NVRam.NVRam)
		}
	}
	for _, r := range def.Devices.RNGs {
		if r.Backend != nil && r.Backend.Random != nil && !strings.HasPrefix(r.Backend.Random.Device, "/dev/") {
			add(r.Backend.Random.Device)
		}
	}
	return out
}

// diskKeepsOwner is a disk whose definition forbids to change its owner.
func diskKeepsOwner(d *libvirtxml.DomainDisk) bool {
	if d.Source.File == nil {
		return false
	}
	for _, l := range d.Source.File.SecLabel {
		if l.Relabel == "no" && (l.Model == "" || l.Model == "dac") {
			return true
		}
	}
	return false
}

// chownTree gives a folder and what is in it to the guest.
func chownTree(dir string, u guestUser) error {
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(u.uid), int(u.gid))
	})
}

// The attributes in which libvirt remembers the owner, and how many guests use the file.
const (
	attrOwner = "trusted.libvirt.security.dac"
	attrCount = "trusted.libvirt.security.ref_dac"
	attrSince = "trusted.libvirt.security.timestamp_dac"
)

// takeFile gives a file to the guest. File systems without attributes, or read-only ones, remember nothing.
func takeFile(path string, u guestUser) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	sys := st.Sys().(*syscall.Stat_t)
	if n, ok := attrNumber(path); ok {
		setAttr(path, attrCount, strconv.Itoa(n+1))
	} else {
		setAttr(path, attrOwner, fmt.Sprintf("+%d:+%d", sys.Uid, sys.Gid))
		setAttr(path, attrCount, "1")
		setAttr(path, attrSince, strconv.FormatInt(bootTime(), 10))
	}
	if sys.Uid == u.uid && sys.Gid == u.gid {
		return nil
	}
	err = os.Chown(path, int(u.uid), int(u.gid))
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EINVAL) {
		return nil // readable as it is, or QEMU will say that it is not
	}
	return err
}

// giveBack returns a file to who had it, when no other guest uses it.
func giveBack(path string) error {
	n, ok := attrNumber(path)
	if ok && n > 1 {
		setAttr(path, attrCount, strconv.Itoa(n-1))
		return nil
	}
	owner := guestUser{} // root, as libvirt has it for files of which nothing is known
	if b := getAttr(path, attrOwner); b != "" {
		owner = userOf(b, owner)
	}
	_ = unix.Removexattr(path, attrOwner)
	_ = unix.Removexattr(path, attrCount)
	_ = unix.Removexattr(path, attrSince)
	err := os.Chown(path, int(owner.uid), int(owner.gid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.EROFS) {
		return nil
	}
	return err
}

func attrNumber(path string) (int, bool) {
	n, err := strconv.Atoi(getAttr(path, attrCount))
	return n, err == nil && n > 0 && fresh(path)
}

func getAttr(path, name string) string {
	var b [64]byte
	n, err := unix.Getxattr(path, name, b[:])
	if err != nil || n <= 0 {
		return ""
	}
	return strings.TrimRight(string(b[:n]), "\x00")
}

func setAttr(path, name, value string) { _ = unix.Setxattr(path, name, []byte(value), 0) }

// bootTime is when the host booted, in seconds of the epoch: a count from before then is of guests that are no
// more.
func bootTime() int64 {
	b, _ := os.ReadFile("/proc/stat")
	_, rest, _ := strings.Cut(string(b), "btime ")
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseInt(line, 10, 64)
	return n
}

// fresh tells whether a count was made since the boot. Two readings of the boot time may differ a little.
func fresh(path string) bool {
	n, err := strconv.ParseInt(getAttr(path, attrSince), 10, 64)
	const slack = 5
	return err == nil && n > bootTime()-slack && n < bootTime()+slack
}
