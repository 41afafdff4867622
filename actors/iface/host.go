package iface

import (
	"os"
	"path/filepath"
	"sort"
	"strings"

	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// host is where the kernel tells of its interfaces. Tests have one of their own.
type host struct{ sys, proc string }

// link is one interface: its name and its folder in sysfs.
type link struct{ name, dir string }

func (h host) class() string { return filepath.Join(h.sys, "class/net") }

// links returns all interfaces in the order of their devices, which is udev's.
func (h host) links() ([]link, error) {
	entries, err := os.ReadDir(h.class())
	if err != nil {
		return nil, liberr.System(from, err, "failed to get list of interfaces on host")
	}
	var all []link
	for _, e := range entries {
		if l, err := h.link(e.Name()); err == nil { // bonding_masters is no interface; others may be gone already
			all = append(all, l)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].dir < all[j].dir })
	return all, nil
}

// link returns the interface of that name.
func (h host) link(name string) (link, error) {
	missing := liberr.New(from, liberr.NoInterface, "couldn't find interface named '%s'", name)
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return link{}, missing
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(h.class(), name))
	if err != nil {
		return link{}, missing
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return link{}, missing
	}
	return link{name, dir}, nil
}

// inState names the interfaces the kernel says to be in that state, without taps.
func (h host) inState(state string) (names []string, err error) {
	links, err := h.links()
	for _, l := range links {
		if !l.isTap() && l.attr("operstate") == state {
			names = append(names, l.name)
		}
	}
	return names, err
}

// attr reads one attribute; "" when the interface has none of that name.
func (l link) attr(name string) string {
	b, err := os.ReadFile(filepath.Join(l.dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(b), "\n")
}

func (l link) isTap() bool {
	_, err := os.Stat(filepath.Join(l.dir, "tun_flags"))
	return err == nil
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
	return protocol.Interface{Name: l.name, MAC: l.attr("address")}
}
