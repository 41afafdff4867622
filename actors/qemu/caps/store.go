package caps

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"virtree/actors/internal/disk"
	"virtree/actors/internal/node"
)

// formatVersion changes when probing learns to ask more, or Caps changes its shape.
const formatVersion = 2

// identity is everything the answers of a binary depend on. A stored answer counts only for an equal identity.
type identity struct {
	Format      int
	Binary      string
	Size        int64
	MTime       int64 // ns
	CTime       int64 // ns
	ModuleMTime int64 // of QEMU's folder of modules: a display or a block driver may come as a package of its own
	KVM         bool  // /dev/kvm can be opened
	Kernel      string
	CPU         string // vendor, name and stepping of the host's processor
	Microcode   uint32
}

// moduleDirs are where distributions keep QEMU's modules.
var moduleDirs = []string{"/usr/lib/x86_64-linux-gnu/qemu", "/usr/lib64/qemu", "/usr/lib/qemu", "/usr/lib/aarch64-linux-gnu/qemu"}

func identify(binary string, kvm bool) (identity, error) {
	fi, err := os.Stat(binary)
	if err != nil {
		return identity{}, err
	}
	if !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0 {
		return identity{}, &fs.PathError{Op: "exec", Path: binary, Err: syscall.EACCES}
	}
	st := fi.Sys().(*syscall.Stat_t)
	id := identity{
		Format: formatVersion, Binary: binary, Size: fi.Size(), MTime: fi.ModTime().UnixNano(), CTime: st.Ctim.Nano(), KVM: kvm,
	}
	for _, dir := range moduleDirs {
		if fi, err := os.Stat(dir); err == nil {
			id.ModuleMTime = max(id.ModuleMTime, fi.ModTime().UnixNano())
		}
	}
	h := hostIdentity()
	id.Kernel, id.CPU, id.Microcode = h.Kernel, h.CPU, h.Microcode
	return id, nil
}

// hostIdentity is the part that stays as long as we run.
var hostIdentity = sync.OnceValue(func() identity {
	host := node.Host()
	return identity{Kernel: host.KernelVersion(), CPU: host.CPUSignature(), Microcode: host.MicrocodeVersion()}
})

// KVMUsable says whether this process can open /dev/kvm.
func KVMUsable() bool {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// stored is the document on disk.
type stored struct {
	Identity identity
	Caps     *Caps
}

// cacheFile names the document of a binary. libvirt's own, which end in .xml, lie beside it undisturbed.
func cacheFile(dir, binary string) string {
	sum := sha256.Sum256([]byte(binary))
	return filepath.Join(dir, hex.EncodeToString(sum[:])+".json")
}

// load returns nil when there is nothing that counts: a damaged or outdated document is as good as none.
func load(dir string, id identity) *Caps {
	b, err := os.ReadFile(cacheFile(dir, id.Binary))
	if err != nil {
		return nil
	}
	var s stored
	if json.Unmarshal(b, &s) != nil || s.Identity != id || s.Caps == nil {
		return nil
	}
	s.Caps.share()
	return s.Caps
}

func save(dir string, id identity, c *Caps) error {
	b, err := json.Marshal(stored{id, c})
	if err != nil {
		return err
	}
	if err := disk.Write(cacheFile(dir, id.Binary), b, 0o600); err != nil {
		return fmt.Errorf("cannot store what %s can do: %w", id.Binary, err)
	}
	return nil
}

// share makes equal strings and equal property sets one: the devices of a binary have most of their properties in
// common, and a daemon holds several binaries for its whole life.
func (c *Caps) share() {
	interned := make(map[string]string)
	intern := func(s string) string {
		if have, ok := interned[s]; ok {
			return have
		}
		interned[s] = s
		return s
	}
	for _, sets := range []map[string]Props{c.Devices, c.Objects, c.Options, c.Args} {
		for key, set := range sets {
			if set == nil {
				continue
			}
			compact := make(Props, len(set))
			for name := range set {
				compact[intern(name)] = true
			}
			sets[key] = compact
		}
	}
	for _, models := range c.CPUs {
		for i := range models {
			for j, name := range models[i].Blockers {
				models[i].Blockers[j] = intern(name)
			}
		}
	}
}
