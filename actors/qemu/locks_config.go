package qemu

import (
	"fmt"
	"path/filepath"

	"virtree/sockets/config"
)

// lockConf is what qemu.conf and qemu-lockd.conf say of leases on disks.
type lockConf struct {
	on      bool // lock_manager = "lockd"
	auto    bool // every disk has a lease
	require bool // a guest that writes to disks must have leases
	files   string
	lvm     string
	scsi    string // lockspaces for leases beside the disks; "" is none
}

// readLocks reads which lock manager f, qemu.conf in the folder dir, asks for, and the manager's own file.
func readLocks(f *config.File, dir string) (lockConf, error) {
	c := lockConf{auto: true}
	name := ""
	if err := f.String("lock_manager", &name); err != nil {
		return c, err
	}
	switch name {
	case "", "nop":
		return c, nil
	case "lockd":
		c.on = true
	default: // to go on without would be what nobody wants who asks for locks
		return c, fmt.Errorf("lock_manager of qemu.conf: there is no lock manager %q, only \"lockd\" and \"nop\"", name)
	}
	own, err := config.Read(filepath.Join(dir, "qemu-lockd.conf"))
	if err != nil {
		return c, err
	}
	if err := own.Bool("auto_disk_leases", &c.auto); err != nil {
		return c, err
	}
	c.require = !c.auto
	for _, err := range []error{
		own.Bool("require_lease_for_disks", &c.require),
		own.String("file_lockspace_dir", &c.files),
		own.String("lvm_lockspace_dir", &c.lvm),
		own.String("scsi_lockspace_dir", &c.scsi),
	} {
		if err != nil {
			return c, err
		}
	}
	return c, nil
}
