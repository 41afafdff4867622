package paths

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// Paths is the layout of one tree. Make one with System or User; the zero value is not usable.
type Paths struct {
	Root    string // prefix of every path; "" = none. Absolute
	Session bool   // per-user tree (qemu:///session)
	UID     int    // owner of a session tree; 0 in system mode

	run, state, config, log, cache, data string // already below Root
	pids                                 string // folder of the pid files: /run, not /run/libvirt, in system mode
}

// System is the layout of the host's own daemons, below root when root is not empty.
func System(root string) Paths {
	root = absolute(root)
	at := func(p string) string { return filepath.Join("/", root, p) }
	return Paths{
		Root:   root,
		run:    at("run/libvirt"),
		state:  at("var/lib/libvirt"),
		config: at("etc/libvirt"),
		log:    at("var/log/libvirt"),
		cache:  at("var/cache/libvirt"),
		data:   at("var/lib/libvirt"),
		pids:   at("run"),
	}
}

// User is the layout of one user's daemons, taken from that user's environment: the XDG variables where they are set
// and absolute, the folders below HOME otherwise. Without XDG_RUNTIME_DIR the cache folder takes its place, as in
// libvirt, whose clients look there too.
func User(root string, uid int) Paths { return userFrom(root, uid, os.Getenv) }

func userFrom(root string, uid int, getenv func(string) string) Paths {
	root = absolute(root)
	home := getenv("HOME")
	if home == "" {
		home = "/"
		if u, err := user.LookupId(strconv.Itoa(uid)); err == nil && u.HomeDir != "" {
			home = u.HomeDir
		}
	}
	xdg := func(variable, fallback string) string {
		dir := getenv(variable)
		if !filepath.IsAbs(dir) { // the XDG rule: a relative value is to be ignored
			dir = fallback
		}
		return filepath.Join("/", root, dir, "libvirt")
	}
	p := Paths{
		Root:    root,
		Session: true,
		UID:     uid,
		config:  xdg("XDG_CONFIG_HOME", filepath.Join(home, ".config")),
		cache:   xdg("XDG_CACHE_HOME", filepath.Join(home, ".cache")),
		data:    xdg("XDG_DATA_HOME", filepath.Join(home, ".local/share")),
		run:     xdg("XDG_RUNTIME_DIR", xdgOr(getenv, "XDG_CACHE_HOME", filepath.Join(home, ".cache"))),
	}
	p.state = p.config // the lib folders of a session live below its configuration
	p.log = p.cache
	p.pids = p.run
	return p
}

func xdgOr(getenv func(string) string, variable, fallback string) string {
	if dir := getenv(variable); filepath.IsAbs(dir) {
		return dir
	}
	return fallback
}

func absolute(root string) string {
	if root == "" || root == "/" {
		return ""
	}
	if abs, err := filepath.Abs(root); err == nil {
		return abs
	}
	return filepath.Clean(root)
}

// Run is the folder of sockets and of what lasts until the next boot: /run/libvirt.
func (p Paths) Run() string { return p.run }

// State is the folder of what the drivers keep: /var/lib/libvirt.
func (p Paths) State() string { return p.state }

// Config is the folder of definitions and *.conf: /etc/libvirt.
func (p Paths) Config() string { return p.config }

// Log is the folder of the daemons' logs: /var/log/libvirt.
func (p Paths) Log() string { return p.log }

// Cache is the folder of what can be computed again: /var/cache/libvirt.
func (p Paths) Cache() string { return p.cache }

// Data is where a user's images go by habit (~/.local/share/libvirt); /var/lib/libvirt in system mode.
func (p Paths) Data() string { return p.data }

// At puts an absolute path that is not libvirt's own (say /usr/share/OVMF) below the root. Only for what the tests of a
// rooted tree must not share with the host; files of the distribution are read where they are.
func (p Paths) At(path string) string { return filepath.Join("/", p.Root, path) }
