package assign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"virtree/actors/internal/disk"
	"virtree/wire/liberr"
)

// stub is the kernel's driver that holds devices for guests.
const stub = "vfio-pci"

// Host is where the devices are, and the records. It has no state of its own.
type Host struct {
	Sys   string // /sys
	Dev   string // /dev
	State string // folder of the records; made when it is needed
}

// Owner is who uses a device.
type Owner struct {
	Driver string `json:"driver"` // "QEMU"
	Domain string `json:"domain"`
}

// record is what is known of a device that is not the host's.
type record struct {
	Owner   *Owner `json:"owner,omitempty"`   // nil: detached, and nobody's
	Managed bool   `json:"managed,omitempty"` // it goes back to the host when its user gives it back
	Pending bool   `json:"pending,omitempty"` // it is on its way there, or back
}

// Device is a PCI device that a guest is to have.
type Device struct {
	Address string // 0000:06:12.5
	Managed bool   // taken from the host, and given back; otherwise it must be detached already
}

// Supported tells whether guests can be given devices here: the kernel has vfio, and an IOMMU.
func (h Host) Supported() bool {
	if _, err := os.Stat(filepath.Join(h.Dev, "vfio/vfio")); err != nil {
		return false
	}
	groups, _ := os.ReadDir(filepath.Join(h.Sys, "kernel/iommu_groups"))
	return len(groups) > 0
}

func (h Host) dir(address string) string { return filepath.Join(h.Sys, "bus/pci/devices", address) }

func (h Host) path(address string) string { return filepath.Join(h.State, address+".json") }

// find refuses an address that no device has.
func (h Host) find(address string) error {
	config := filepath.Join("/sys/bus/pci/devices", address, "config")
	if _, err := os.Stat(filepath.Join(h.dir(address), "config")); err != nil {
		return liberr.New(liberr.FromNone, liberr.OperationFailed, "Device %s not found: could not access %s: %s", address, config, reason(err))
	}
	return nil
}

func reason(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		text := errno.Error()
		return strings.ToUpper(text[:1]) + text[1:]
	}
	return err.Error()
}

// locked runs f while no other process changes devices.
func (h Host) locked(f func() error) error {
	if err := os.MkdirAll(h.State, 0o755); err != nil {
		return liberr.System(liberr.FromNone, err, "cannot create directory '%s'", h.State)
	}
	lock, err := os.OpenFile(filepath.Join(h.State, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return liberr.System(liberr.FromNone, err, "cannot open '%s'", h.State)
	}
	defer lock.Close()
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return liberr.System(liberr.FromNone, err, "cannot lock '%s'", h.State)
	}
	return f()
}

// load returns nil for a device that is the host's.
func (h Host) load(address string) (*record, error) {
	b, err := os.ReadFile(h.path(address))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	r := &record{}
	if err == nil {
		err = json.Unmarshal(b, r)
	}
	if err != nil {
		return nil, liberr.System(liberr.FromNone, err, "cannot read the state of PCI device %s", address)
	}
	return r, nil
}

func (h Host) save(address string, r record) error {
	b, err := json.Marshal(r)
	if err == nil {
		err = disk.Write(h.path(address), append(b, '\n'), 0o600)
	}
	if err != nil {
		return liberr.System(liberr.FromNone, err, "cannot write the state of PCI device %s", address)
	}
	return nil
}

func (h Host) drop(address string) error {
	if err := disk.Remove(h.path(address)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return liberr.System(liberr.FromNone, err, "cannot remove the state of PCI device %s", address)
	}
	return nil
}

// free refuses a device that a guest has, other than who.
func (h Host) free(address string, who *Owner) error {
	r, err := h.load(address)
	if err != nil || r == nil || r.Owner == nil || who != nil && *r.Owner == *who {
		return err
	}
	return liberr.New(liberr.FromNone, liberr.OperationInvalid, "PCI device %s is in use by driver %s, domain %s", address, r.Owner.Driver, r.Owner.Domain)
}

// Detach takes a device from its host's driver and keeps it for guests.
func (h Host) Detach(ctx context.Context, address string) error {
	if err := h.find(address); err != nil {
		return err
	}
	return h.locked(func() error {
		if err := h.free(address, nil); err != nil {
			return err
		}
		if err := h.loadStub(ctx); err != nil {
			return err
		}
		return h.hold(address, record{})
	})
}

// hold binds a device to the stub, and remembers it; a failure leaves it with the host.
func (h Host) hold(address string, r record) error {
	before, err := h.load(address)
	if err != nil {
		return err
	}
	if before == nil {
		if err := h.save(address, record{Pending: true}); err != nil {
			return err
		}
	}
	if err := h.bind(address, stub); err != nil {
		if before == nil {
			if h.restore(address) != nil && h.driver(address) != stub { // what can be mended is; the error is the first
				_ = h.drop(address) // it never left the host
			}
		}
		return err
	}
	return h.save(address, r)
}

// restore gives a device to the host's driver and forgets it.
func (h Host) restore(address string) error {
	if exists(h.dir(address)) { // it may have been pulled out
		if err := h.bind(address, ""); err != nil {
			return err
		}
	}
	return h.drop(address)
}

// Reattach gives a device back to its host's driver. One that is there already is left alone.
func (h Host) Reattach(_ context.Context, address string) error {
	if err := h.find(address); err != nil {
		return err
	}
	return h.locked(func() error {
		if err := h.free(address, nil); err != nil {
			return err
		}
		if r, err := h.load(address); err != nil {
			return err
		} else if r != nil {
			if err := h.save(address, record{Pending: true}); err != nil {
				return err
			}
		}
		return h.restore(address)
	})
}

// Reset resets a device that no guest has.
func (h Host) Reset(_ context.Context, address string) error {
	if err := h.find(address); err != nil {
		return err
	}
	return h.locked(func() error {
		if err := h.free(address, nil); err != nil {
			return err
		}
		return h.reset(address)
	})
}

// Take makes the owner the user of devices: all of them or, when that fails, none.
func (h Host) Take(ctx context.Context, owner Owner, devices []Device) error {
	if len(devices) == 0 {
		return nil
	}
	for _, d := range devices {
		if err := h.find(d.Address); err != nil {
			return err
		}
	}
	return h.locked(func() error {
		var done []Device
		err := h.take(ctx, owner, devices, &done)
		if err != nil {
			for _, d := range slices.Backward(done) {
				_ = h.give(d.Address, owner)
			}
		}
		return err
	})
}

func (h Host) take(ctx context.Context, owner Owner, devices []Device, done *[]Device) error {
	managed := false
	for _, d := range devices {
		for _, a := range append([]string{d.Address}, h.group(d.Address)...) {
			if err := h.free(a, &owner); err != nil {
				return err
			}
		}
		managed = managed || d.Managed
		if !d.Managed && h.driver(d.Address) != stub {
			return liberr.New(liberr.FromNone, liberr.OperationInvalid, "Unmanaged PCI device %s must be manually detached from the host", d.Address)
		}
	}
	if managed {
		if err := h.loadStub(ctx); err != nil {
			return err
		}
	}
	for _, d := range devices {
		r := record{Owner: &owner, Managed: d.Managed}
		if d.Managed {
			// A device that was detached by hand before stays so after.
			if old, err := h.load(d.Address); err != nil {
				return err
			} else if old != nil && old.Owner == nil {
				r.Managed = false
			}
			if err := h.hold(d.Address, r); err != nil {
				return err
			}
		} else if err := h.save(d.Address, r); err != nil {
			return err
		}
		*done = append(*done, d)
	}
	for _, d := range devices {
		if err := h.reset(d.Address); err != nil {
			return err
		}
	}
	return nil
}

// Give takes devices back from their user: those that were managed go back to the host. All are tried; the first error is
// returned. What the owner does not have is passed over.
func (h Host) Give(_ context.Context, owner Owner, addresses []string) (first error) {
	if len(addresses) == 0 {
		return nil
	}
	return h.locked(func() error {
		for _, a := range addresses {
			if err := h.give(a, owner); err != nil && first == nil {
				first = err
			}
		}
		return first
	})
}

// Release takes a device back from whoever uses it.
func (h Host) Release(address string) error {
	return h.locked(func() error {
		r, err := h.load(address)
		if err != nil || r == nil || r.Owner == nil {
			return err
		}
		return h.give(address, *r.Owner)
	})
}

func (h Host) give(address string, owner Owner) error {
	r, err := h.load(address)
	if err != nil || r == nil || r.Owner == nil || *r.Owner != owner {
		return err
	}
	if !r.Managed {
		return h.save(address, record{})
	}
	return h.restore(address)
}

// Recover is for a driver that was started again: what somebody was doing when he was killed is taken back, and so are the
// devices of owners that are not there any more.
func (h Host) Recover(there func(Owner) bool) error {
	entries, err := os.ReadDir(h.State)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return h.locked(func() error {
		var all []error
		for _, e := range entries {
			address, ok := strings.CutSuffix(e.Name(), ".json")
			if !ok {
				continue
			}
			r, err := h.load(address)
			switch {
			case err != nil:
			case r == nil: // gone since
			case r.Pending:
				err = h.restore(address)
			case r.Owner != nil && !there(*r.Owner):
				err = h.give(address, *r.Owner)
			}
			all = append(all, err)
		}
		return errors.Join(all...)
	})
}

// group are the other devices that the IOMMU cannot tell from this one.
func (h Host) group(address string) (others []string) {
	entries, _ := os.ReadDir(filepath.Join(h.dir(address), "iommu_group/devices"))
	for _, e := range entries {
		if e.Name() != address {
			others = append(others, e.Name())
		}
	}
	return others
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// driver is the one that has a device, "" when none has.
func (h Host) driver(address string) string {
	target, err := os.Readlink(filepath.Join(h.dir(address), "driver"))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

func (h Host) loadStub(ctx context.Context) error {
	if exists(filepath.Join(h.Sys, "bus/pci/drivers", stub)) {
		return nil
	}
	out, err := exec.CommandContext(ctx, "modprobe", "-b", stub).CombinedOutput()
	if err == nil && exists(filepath.Join(h.Sys, "bus/pci/drivers", stub)) {
		return nil
	}
	return liberr.New(liberr.FromNone, liberr.InternalError, "Failed to load PCI stub module %s", stub).
		WithCause(fmt.Errorf("modprobe: %w: %s", err, strings.TrimSpace(string(out))))
}

// bind gives a device to the driver; "" is whichever of the host's drivers it fits.
func (h Host) bind(address, driver string) error {
	have := h.driver(address)
	override := filepath.Join(h.dir(address), "driver_override")
	if have == driver && driver != "" {
		return nil
	}
	if err := put(override, driver+"\n"); err != nil {
		return liberr.System(liberr.FromNone, err, "Failed to add driver '%s' to driver_override  interface of PCI device '%s'", first(driver, "\n"), address)
	}
	if driver == "" && have != "" && have != stub {
		return nil // the host's driver has it
	}
	if have != "" {
		if err := put(filepath.Join(h.dir(address), "driver/unbind"), address); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return liberr.System(liberr.FromNone, err, "Failed to unbind PCI device '%s' from %s", address, filepath.Join("/sys/bus/pci/drivers", have))
		}
	}
	if err := put(filepath.Join(h.Sys, "bus/pci/drivers_probe"), address); err != nil {
		return liberr.System(liberr.FromNone, err, "Failed to trigger a probe for PCI device '%s'", address)
	}
	return nil
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// put writes to a file of sysfs, which is never made.
func put(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if bad := f.Close(); err == nil {
		err = bad
	}
	return err
}
