package lab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Kind is what answers at the other end of the sockets.
type Kind string

// The daemons that a test or benchmark can be run against.
const (
	Reference Kind = "libvirtd" // Debian's libvirtd with its virtlogd
	Single    Kind = "single"   // virtree run
	Split     Kind = "split"    // virtree run --split, reached through the proxy
	Direct    Kind = "direct"   // virtree run --split, reached at virtqemud's own socket
)

// Target is one running daemon, or tree of daemons, in a box of its own.
type Target struct {
	Kind Kind
	Dir  string // the root that its paths lie below
	Box  *Box
	Main *Proc // libvirtd, or virtree run
	log  *Proc // virtlogd beside libvirtd; nil elsewhere
	args []string

	guest bool // the box is another target's
}

// Options changes how Open starts a target.
type Options struct {
	Args []string // more arguments for the daemon
	Fill func(dir string) error
	// Beside is a target in whose box the new one starts, and which must be closed after it; nil for a box of its own.
	Beside *Target
	// Exchange lets Swap put another kind of daemon in this one's place.
	Exchange bool
}

// Missing says why this kind of target cannot be opened here, or "".
func Missing(kind Kind) string {
	if os.Geteuid() != 0 {
		return "needs root: daemons run in namespaces of their own"
	}
	need := []string{"virsh", "qemu-system-x86_64", "nsenter"}
	if kind == Reference {
		need = append(need, "libvirtd", "virtlogd")
	} else if _, err := os.Stat(Binary()); err != nil {
		return "needs " + Binary() + ": run make build"
	}
	for _, n := range need {
		if _, err := exec.LookPath(n); err != nil {
			return "needs the program " + n
		}
	}
	return ""
}

// Binary is the virtree under test: $VIRTREE_BIN, or bin/virtree of this checkout.
func Binary() string {
	if b := os.Getenv("VIRTREE_BIN"); b != "" {
		return b
	}
	return filepath.Join(ModuleRoot(), "bin", "virtree")
}

// ModuleRoot is the folder of go.mod above the working directory.
func ModuleRoot() string {
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, e := os.Stat(filepath.Join(dir, "go.mod")); e == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "."
}

// CacheDir keeps what is slow to make and safe to keep: the guest image and the
// daemons' probing results.
func CacheDir() string {
	if d := os.Getenv("VIRTREE_CACHE"); d != "" {
		return d
	}
	if d, err := os.UserCacheDir(); err == nil {
		return filepath.Join(d, "virtree")
	}
	return "/var/tmp/virtree-cache"
}

// Open starts a daemon below a new folder and waits until it takes connections.
func Open(ctx context.Context, kind Kind, opt Options) (*Target, error) {
	if why := Missing(kind); why != "" {
		return nil, fmt.Errorf("%s: %s", kind, why)
	}
	dir, err := newRoot()
	if err != nil {
		return nil, err
	}
	t := &Target{Kind: kind, Dir: dir, args: opt.Args}
	var cfg BoxConfig
	if kind == Reference || opt.Exchange {
		cfg.Binds = map[string]string{
			"/run/libvirt":       dir + "/run/libvirt",
			"/etc/libvirt":       dir + "/etc/libvirt",
			"/var/lib/libvirt":   dir + "/var/lib/libvirt",
			"/var/log/libvirt":   dir + "/var/log/libvirt",
			"/var/cache/libvirt": filepath.Join(CacheDir(), "libvirtd"),
		}
	}
	if kind != Reference {
		if err := shareProbes(dir); err != nil {
			os.RemoveAll(dir)
			return nil, err
		}
	}
	if opt.Fill != nil {
		if err := opt.Fill(dir); err != nil {
			os.RemoveAll(dir)
			return nil, err
		}
	}
	if opt.Beside != nil {
		t.Box, t.guest = opt.Beside.Box, true
	} else if t.Box, err = OpenBox(cfg); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	if err := t.Start(ctx); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// newRoot makes a folder whose name is short, because monitor sockets lie deep below
// it and a path may have 107 bytes; always of one length, because virsh's tables are
// as wide as the paths in them; open to others, because QEMU may run as its own user.
func newRoot() (string, error) {
	for {
		dir := fmt.Sprintf("/tmp/vt%06x", rand.IntN(1<<24))
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			err = os.Chmod(dir, 0o755) // whatever the umask says
		}
		if !os.IsExist(err) {
			return dir, err
		}
	}
}

// shareProbes lets every tree of one build share what it learned about QEMU, as the
// trees of one host would; another build starts afresh.
func shareProbes(dir string) error {
	st, err := os.Stat(Binary())
	if err != nil {
		return err
	}
	probes := filepath.Join(CacheDir(), fmt.Sprintf("virtree-%x-%x", st.Size(), st.ModTime().UnixNano()))
	if _, err := os.Stat(probes); err != nil {
		old, _ := filepath.Glob(filepath.Join(CacheDir(), "virtree-*"))
		for _, o := range old {
			os.RemoveAll(o)
		}
	}
	if err := os.MkdirAll(probes, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(dir+"/var/cache", 0o755); err != nil {
		return err
	}
	return os.Symlink(probes, dir+"/var/cache/libvirt")
}

// Start runs the daemon (again) in the target's box and waits for its socket.
func (t *Target) Start(ctx context.Context) error {
	var err error
	if t.Kind == Reference {
		if t.log, err = t.Box.Start(t.Dir+"/virtlogd.log", nil, "virtlogd", "-p", t.Dir+"/virtlogd.pid"); err != nil {
			return err
		}
		if err = t.await(ctx, "virtlogd-sock"); err != nil {
			return err
		}
		t.Main, err = t.Box.Start(t.Dir+"/daemon.log", nil,
			append([]string{"libvirtd", "-p", t.Dir + "/libvirtd.pid"}, t.args...)...)
	} else {
		argv := []string{Binary(), "run", "--root", t.Dir}
		if t.Kind != Single {
			argv = append(argv, "--split")
		}
		t.Main, err = t.Box.Start(t.Dir+"/daemon.log", nil, append(argv, t.args...)...)
	}
	if err != nil {
		return err
	}
	return t.await(ctx, t.sockets()...)
}

func (t *Target) sockets() []string {
	if t.Kind == Split || t.Kind == Direct {
		return []string{"libvirt-sock", "virtqemud-sock"}
	}
	return []string{"libvirt-sock"}
}

// await polls until each socket takes a connection: the daemon has no other way to
// tell a stranger that it is there.
func (t *Target) await(ctx context.Context, names ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var d net.Dialer
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for _, n := range names {
		for {
			c, err := d.DialContext(ctx, "unix", t.Socket(n))
			if err == nil {
				c.Close()
				break
			}
			var ended <-chan struct{}
			if t.Main != nil {
				ended = t.Main.Done
			}
			select {
			case <-tick.C:
			case <-ended:
				return fmt.Errorf("%s ended before %s was there:\n%s", t.Kind, n, t.LogTail(20))
			case <-ctx.Done():
				return fmt.Errorf("%s: no %s: %w\n%s", t.Kind, n, err, t.LogTail(20))
			}
		}
	}
	return nil
}

// Socket is the path of one of the daemon's sockets, seen from outside the box.
func (t *Target) Socket(name string) string { return filepath.Join(t.Dir, "run/libvirt", name) }

// URI is what a client passes to reach the QEMU driver.
func (t *Target) URI() string { return t.uri("") }

// ReadOnlyURI reaches the QEMU driver at the read-only socket.
func (t *Target) ReadOnlyURI() string { return t.uri("-ro") }

func (t *Target) uri(suffix string) string {
	name := "libvirt-sock"
	if t.Kind == Direct {
		name = "virtqemud-sock"
	}
	return "qemu:///system?socket=" + t.Socket(name+suffix)
}

// LogTail is the end of what the daemon printed.
func (t *Target) LogTail(lines int) string {
	text, _ := os.ReadFile(t.Dir + "/daemon.log")
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}

// Stop ends the daemon in order; guests run on. It is an error if it lingers.
func (t *Target) Stop(ctx context.Context) error {
	if err := t.Main.Signal(syscall.SIGTERM); err != nil && err != syscall.ESRCH {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	select {
	case <-t.Main.Done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s is still there 15 s after SIGTERM", t.Kind)
	}
}

// Swap ends the daemon in order and starts one of another kind in its place, which finds its files and guests.
func (t *Target) Swap(ctx context.Context, kind Kind) error {
	if why := Missing(kind); why != "" {
		return fmt.Errorf("%s: %s", kind, why)
	}
	if err := t.Stop(ctx); err != nil {
		return err
	}
	if err := t.endLog(); err != nil {
		return err
	}
	t.Kind, t.Main = kind, nil
	return t.Start(ctx)
}

// endLog ends the virtlogd beside libvirtd, if there is one.
func (t *Target) endLog() error {
	if t.log == nil {
		return nil
	}
	if err := t.log.Signal(syscall.SIGTERM); err != nil && err != syscall.ESRCH {
		return err
	}
	<-t.log.Done
	t.log = nil
	return nil
}

// Close ends the daemon and all guests, and removes its folder.
func (t *Target) Close() error {
	var err error
	switch {
	case t.guest:
		err = t.Stop(context.Background())
	case t.Box != nil:
		err = t.Box.Close()
	}
	if os.Getenv("VIRTREE_KEEP") != "" {
		fmt.Fprintln(os.Stderr, "lab: kept", t.Dir)
		return err
	}
	os.RemoveAll(t.Dir)
	return err
}
