package caps

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"virtree/wire/liberr"
)

// probesAtOnce bounds how many binaries run side by side: a host with all of QEMU has about 30.
const probesAtOnce = 4

// Finder answers for binaries, probing each when first asked. Safe for use by many goroutines; its methods block and
// belong into jobs.
type Finder struct {
	opts    Options
	entries sync.Map      // binary path -> *entry
	slots   chan struct{} // one per probe under way
}

// Options of a Finder. The zero value works, without a cache.
type Options struct {
	CacheDir string              // <cache>/qemu/capabilities; "" keeps nothing on disk
	Path     []string            // where to look for emulators; nil is $PATH
	RunAs    *syscall.Credential // the user that emulators run as; nil is ours
	KVM      func() bool         // nil is KVMUsable
	Warn     func(error)         // told what does not hinder; nil drops it
}

// entry is one binary of one identity: asked for, or known.
type entry struct {
	id    identity
	ready chan struct{}
	caps  *Caps // valid after ready, as is err
	err   error
}

// NewFinder makes one.
func NewFinder(o Options) *Finder {
	if o.KVM == nil {
		o.KVM = KVMUsable
	}
	if o.Warn == nil {
		o.Warn = func(error) {}
	}
	return &Finder{opts: o, slots: make(chan struct{}, probesAtOnce)}
}

// Get answers for one binary. One that does not start is remembered too, until its file changes.
func (f *Finder) Get(ctx context.Context, binary string) (*Caps, error) {
	id, err := identify(binary, f.opts.KVM())
	if err != nil {
		return nil, liberr.System(liberr.FromQemu, err, "Cannot check QEMU binary %s", binary)
	}
	for {
		e := &entry{id: id, ready: make(chan struct{})}
		have, loaded := f.entries.LoadOrStore(binary, e)
		if loaded {
			old := have.(*entry)
			if old.id != id {
				if !f.entries.CompareAndSwap(binary, old, e) {
					continue
				}
			} else {
				e = old
			}
		}
		if !loaded || e != have {
			go f.fill(e)
		}
		select {
		case <-e.ready:
			return e.caps, e.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Known tells whether Get would answer at once. What is on disk from an earlier life counts, and is read for it.
func (f *Finder) Known(binary string) bool {
	id, err := identify(binary, f.opts.KVM())
	if err != nil {
		return true // to say what is wrong takes no time
	}
	if have, ok := f.entries.Load(binary); ok && have.(*entry).id == id {
		select {
		case <-have.(*entry).ready:
			return true
		default:
			return false
		}
	}
	if f.opts.CacheDir == "" {
		return false
	}
	e := &entry{id: id, ready: make(chan struct{}), caps: load(f.opts.CacheDir, id)}
	if e.caps == nil {
		return false
	}
	close(e.ready)
	f.entries.LoadOrStore(binary, e)
	return true
}

// fill is not bound to the context of who asked first: others wait for the same answer, and it is bounded by itself.
func (f *Finder) fill(e *entry) {
	defer close(e.ready)
	if f.opts.CacheDir != "" {
		if e.caps = load(f.opts.CacheDir, e.id); e.caps != nil {
			return
		}
	}
	f.slots <- struct{}{}
	defer func() { <-f.slots }()
	ctx, cancel := context.WithTimeout(context.Background(), 2*probeTimeout)
	defer cancel()
	c, err := Probe(ctx, e.id.Binary, e.id.KVM, f.opts.RunAs)
	if err != nil {
		e.err = liberr.New(liberr.FromQemu, liberr.InternalError, "%s", err.Error())
		var failed *ProbeError
		if !errors.As(err, &failed) || failed.Passing {
			f.entries.CompareAndDelete(e.id.Binary, e) // who asks next tries again
		}
		return
	}
	c.share()
	e.caps = c
	if f.opts.CacheDir != "" {
		if err := save(f.opts.CacheDir, e.id, c); err != nil {
			f.opts.Warn(err)
		}
	}
}

// Binary finds the emulator of an architecture by libvirt's rules, "" when there is none.
func (f *Finder) Binary(arch string) string {
	if p := f.look("qemu-system-" + ArchToQEMU(arch)); p != "" {
		return p
	}
	host := HostArch()
	native := arch == host || host == "x86_64" && arch == "i686" || host == "aarch64" && arch == "armv7l"
	if !native {
		return ""
	}
	if arch != host && f.opts.KVM() {
		// A 64 bit emulator runs 32 bit guests as well.
		if p := f.look("qemu-system-" + ArchToQEMU(host)); p != "" {
			return p
		}
	}
	for _, name := range []string{"qemu-kvm", "/usr/libexec/qemu-kvm"} {
		if p := f.look(name); p != "" {
			return p
		}
	}
	return ""
}

func (f *Finder) look(name string) string {
	if filepath.IsAbs(name) {
		if executable(name) {
			return name
		}
		return ""
	}
	dirs := f.opts.Path
	if dirs == nil {
		dirs = filepath.SplitList(os.Getenv("PATH"))
	}
	for _, dir := range dirs {
		if p := filepath.Join(dir, name); dir != "" && executable(p) {
			return p
		}
	}
	return ""
}

func executable(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}

// ForArch answers for the emulator of an architecture.
func (f *Finder) ForArch(ctx context.Context, arch string) (*Caps, error) {
	binary := f.Binary(arch)
	if binary == "" {
		return nil, liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, "unable to find any emulator to serve '%s' architecture", arch)
	}
	return f.Get(ctx, binary)
}

// Found is one architecture that this host can run, with its emulator.
type Found struct {
	Arch   string
	Binary string
	Caps   *Caps
}

// All probes every emulator of the host side by side and returns the usable ones in libvirt's order of architectures.
func (f *Finder) All(ctx context.Context) []Found {
	type result struct {
		found Found
		err   error
	}
	results := make([]result, len(allArchs))
	var wait sync.WaitGroup
	for i, arch := range allArchs {
		binary := f.Binary(arch)
		if binary == "" {
			continue
		}
		wait.Go(func() {
			c, err := f.Get(ctx, binary)
			results[i] = result{Found{arch, binary, c}, err}
		})
	}
	wait.Wait()
	var all []Found
	for _, r := range results {
		if r.err != nil {
			f.opts.Warn(r.err)
		} else if r.found.Caps != nil {
			all = append(all, r.found)
		}
	}
	return all
}

// Forget drops what is remembered in memory, for tests and for a reload of the configuration.
func (f *Finder) Forget() { f.entries.Clear() }
