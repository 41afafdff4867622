package conf

import (
	"fmt"
	"os"
	"path/filepath"

	"virtree/actors/iface/def"
)

// Begin opens a transaction: from here on everything can be taken back. active names the interfaces that are active now.
func (h Host) Begin(active []string) error {
	if h.hasCopy(transactionCopy) {
		return fmt.Errorf("%w - there is already a pending transaction", ErrInvalidOperation)
	}
	return h.copyTo(transactionCopy, active)
}

// Pending is the configuration, by now empty, of the kind that was in use at Begin; nil when there is no transaction.
func (h Host) Pending() (Store, error) {
	if !h.hasCopy(transactionCopy) {
		return nil, nil
	}
	was, err := h.before().Store()
	if err != nil || was == nil {
		return nil, err
	}
	return h.open(was.Kind()), nil
}

// before is the host as the transaction's copy has it.
func (h Host) before() Host { return Host{Root: filepath.Join(h.copyDir(transactionCopy), "tree")} }

// Commit makes what was changed since Begin final.
func (h Host) Commit() error {
	if !h.hasCopy(transactionCopy) {
		return fmt.Errorf("%w - there is no pending transaction", ErrInvalidOperation)
	}
	return h.discard(transactionCopy)
}

// Rollback undoes what was changed since Begin. stop is called with the changed definitions before the files are put
// back; start with the names to start after. What either says is reported but holds nothing up.
func (h Host) Rollback(stop func(*def.Interface) error, start func(*def.Interface) error, warn func(name string, err error)) error {
	if !h.hasCopy(transactionCopy) {
		return fmt.Errorf("%w - there is no pending transaction", ErrInvalidOperation)
	}
	m, err := h.manifest(transactionCopy)
	if err != nil {
		return err
	}
	after, err := h.definitions()
	if err != nil { // whoever broke the files: they are put back
		warn("", err)
	}
	before, err := h.before().definitions()
	if err != nil {
		return err
	}
	for name, now := range after {
		if was := before[name]; was == nil || was.Format() != now.Format() {
			if err := stop(now); err != nil {
				warn(name, err)
			}
		}
	}
	if _, err := h.restore(transactionCopy); err != nil {
		return err
	}
	for _, name := range m.Active {
		was, now := before[name], after[name]
		if was == nil || now != nil && was.Format() == now.Format() {
			continue
		}
		if err := start(was); err != nil {
			warn(name, err)
		}
	}
	return nil
}

func (h Host) definitions() (map[string]*def.Interface, error) {
	s, err := h.Store()
	if err != nil || s == nil {
		return nil, err
	}
	list, err := s.Interfaces()
	all := map[string]*def.Interface{}
	for _, i := range list {
		all[i.Name] = i
	}
	return all, err
}

// Recover is for the start of the driver. A change that was cut short is taken back. A transaction that nobody ended
// before the host went down is rolled back, as netcf does at boot: whoever began it may have lost the way to the host by
// what was changed. It tells whether there was one. Nothing is stopped or started: the host just comes up.
func (h Host) Recover() (rolledBack bool, err error) {
	for _, name := range []string{changeCopy, transactionCopy} {
		for _, rest := range []string{".new", ".old"} {
			if err := os.RemoveAll(h.copyDir(name) + rest); err != nil {
				return false, err
			}
		}
	}
	if h.hasCopy(changeCopy) {
		if _, err := h.restore(changeCopy); err != nil {
			return false, err
		}
	}
	if !h.hasCopy(transactionCopy) {
		return false, nil
	}
	m, err := h.manifest(transactionCopy)
	if err != nil || m.Boot == h.Boot {
		return false, err
	}
	_, err = h.restore(transactionCopy)
	return err == nil, err
}
