package iface

import (
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"virtree/actors/iface/conf"
	"virtree/actors/iface/def"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// host is where the kernel and the configuration tell of interfaces. Tests have one of their own.
type host struct {
	sys, proc string
	files     *conf.Host // nil where nobody may define interfaces: in a session

	// What look has found: who holds the definitions, nil when nobody does, and the definitions by name.
	defines bool
	store   conf.Store
	defs    map[string]*def.Interface
}

// look reads the configuration.
func (h host) look() (host, error) {
	if h.files == nil {
		return h, nil
	}
	var err error
	if h.store, err = h.files.Store(); err != nil || h.store == nil {
		return h, readFailed(err)
	}
	list, err := h.store.Interfaces()
	if err != nil {
		return h, readFailed(err)
	}
	h.defines, h.defs = true, map[string]*def.Interface{}
	for _, i := range list {
		h.defs[i.Name] = i
	}
	return h, nil
}

func readFailed(err error) error {
	if err == nil {
		return nil
	}
	return liberr.System(from, err, "failed to read the configuration of the host's interfaces")
}

// link is one interface: its name, its folder in sysfs, its definition.
type link struct {
	name, dir string         // dir is empty while the kernel has no such interface
	def       *def.Interface // nil when it has none
}

func (h host) class() string { return filepath.Join(h.sys, "class/net") }

// links returns all interfaces in the order of their devices, which is udev's, and behind them those that are only defined.
func (h host) links() ([]link, error) {
	entries, err := os.ReadDir(h.class())
	if err != nil {
		return nil, liberr.System(from, err, "failed to get list of interfaces on host")
	}
	var all, defined []link
	there := map[string]bool{}
	for _, e := range entries {
		if l, err := h.kernelLink(e.Name()); err == nil { // bonding_masters is no interface; others may be gone already
			all = append(all, l)
			there[l.name] = true
		}
	}
	for name, i := range h.defs {
		if !there[name] {
			defined = append(defined, link{name: name, def: i})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].dir < all[j].dir })
	sort.Slice(defined, func(i, j int) bool { return defined[i].name < defined[j].name })
	return append(all, defined...), nil
}

func missing(name string) error {
	return liberr.New(from, liberr.NoInterface, "couldn't find interface named '%s'", name)
}

// link returns the interface of that name.
func (h host) link(name string) (link, error) {
	l, err := h.kernelLink(name)
	if i := h.defs[name]; err != nil && i != nil {
		return link{name: name, def: i}, nil
	}
	return l, err
}

// kernelLink returns the kernel's interface of that name.
func (h host) kernelLink(name string) (link, error) {
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return link{}, missing(name)
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(h.class(), name))
	if err != nil {
		return link{}, missing(name)
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return link{}, missing(name)
	}
	return link{name, dir, h.defs[name]}, nil
}

// inState names the interfaces in that state, as lists have them.
func (h host) inState(state string) (names []string, err error) {
	links, err := h.links()
	for _, l := range links {
		if l.listed() && l.state() == state {
			names = append(names, l.name)
		}
	}
	return names, err
}

// state is "up", "down", or what else the kernel says. An interface that is defined counts as up when it was brought up,
// as with netcf: a bridge without ports has no carrier, and is started all the same.
func (l link) state() string {
	if l.def == nil {
		return l.attr("operstate")
	}
	flags, err := strconv.ParseUint(strings.TrimPrefix(l.attr("flags"), "0x"), 16, 32)
	if err == nil && flags&unix.IFF_UP != 0 {
		return "up"
	}
	return "down"
}

// attr reads one attribute; "" when the interface has none of that name.
func (l link) attr(name string) string {
	if l.dir == "" {
		return ""
	}
	b, err := os.ReadFile(filepath.Join(l.dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(b), "\n")
}

// listed tells whether lists have the interface: those of guests (taps) and ports of bridges are left out, as libvirt's.
func (l link) listed() bool {
	for _, file := range []string{"tun_flags", "brport/state"} {
		if _, err := os.Stat(filepath.Join(l.dir, file)); l.dir != "" && err == nil {
			return false
		}
	}
	return true
}

// devtype is bridge, bond, vlan or, for most, empty.
func (l link) devtype() string {
	for _, line := range strings.Split(l.attr("uevent"), "\n") {
		if t, ok := strings.CutPrefix(line, "DEVTYPE="); ok {
			return t
		}
	}
	return ""
}

func (l link) wire() protocol.Interface {
	mac := l.attr("address")
	if mac == "" && l.def != nil {
		mac = l.def.MAC
	}
	return protocol.Interface{Name: l.name, MAC: mac}
}
