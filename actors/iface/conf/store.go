package conf

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"virtree/actors/iface/def"
)

// Store is the configuration in one of its formats.
type Store interface {
	// Kind is "ifupdown" or "networkd".
	Kind() string
	// Interfaces reads all definitions; ports of bridges and bonds are within those.
	Interfaces() ([]*def.Interface, error)

	define(*def.Interface) (change, error)
	undefine(name string) (change, error)
}

// change is what is to become of files: their new text, nil to remove them.
type change map[string][]byte

// Host is the host's configuration below a root.
type Host struct {
	Root string // prefix of /etc; "" is the host's own
	Lib  string // folder of our own, where copies are kept
	Boot string // the boot's id
}

// ErrInvalidOperation is wrapped by errors that are about the state and not about the file system.
var ErrInvalidOperation = errors.New("operation invalid in current state")

func (h Host) at(path string) string { return filepath.Join("/", h.Root, path) }

func (h Host) ifupdown() *ifupdown { return &ifupdown{h.Root, h.at("/etc/network/interfaces")} }

func (h Host) networkd() *networkd { return &networkd{h.at("/etc/systemd/network")} }

func (h Host) open(kind string) Store {
	if kind == "networkd" {
		return h.networkd()
	}
	return h.ifupdown()
}

// Store is the configuration in use; nil where there is none.
func (h Host) Store() (Store, error) {
	u, n := h.ifupdown(), h.networkd()
	declares, err := u.inUse()
	if err != nil {
		return nil, err
	}
	if declares == beyondLoopback {
		return u, nil
	}
	has, err := n.inUse()
	if err != nil {
		return nil, err
	}
	if has {
		return n, nil
	}
	if declares == exists {
		return u, nil
	}
	return nil, nil
}

// Find returns the definition of a name; nil when there is none.
func Find(s Store, name string) (*def.Interface, error) {
	all, err := s.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if i.Name == name {
			return i, nil
		}
	}
	return nil, nil
}

// Define enters a definition, or replaces that of its name. It is on disk when Define returns nil; else nothing has
// changed.
func (h Host) Define(s Store, i *def.Interface) error {
	return h.apply(func() (change, error) { return s.define(i) })
}

// Undefine removes the definition of a name.
func (h Host) Undefine(s Store, name string) error {
	return h.apply(func() (change, error) { return s.undefine(name) })
}

// apply carries a change out under a copy of its own.
func (h Host) apply(plan func() (change, error)) error {
	c, err := plan()
	if err != nil || len(c) == 0 {
		return err
	}
	if err := h.copyTo(changeCopy, nil); err != nil {
		return err
	}
	if err := c.carryOut(); err != nil {
		if _, back := h.restore(changeCopy); back != nil {
			return errors.Join(err, back)
		}
		return err
	}
	return h.discard(changeCopy)
}

// readIfThere is a file's text; nil when there is no file.
func readIfThere(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}
