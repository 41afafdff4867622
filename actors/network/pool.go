package network

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"virtree/wire/liberr"
)

// expandPool lists the virtual functions of a pool that is given by its physical function: by PCI address where guests get
// them whole, by the names of their links where guests are put on top of them. sys is the root of sysfs.
func expandPool(def *definition, sys string) error {
	f := &def.forward
	if f.pf == "" || len(f.ifaces) > 0 {
		return nil
	}
	vfs, err := filepath.Glob(filepath.Join(sys, "class/net", filepath.Base(f.pf), "device/virtfn*"))
	if err != nil || len(vfs) == 0 {
		return liberr.New(from, liberr.InternalError, "No usable Vf's present on SRIOV PF %s", f.pf)
	}
	number := func(path string) int {
		n, _ := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "virtfn"))
		return n
	}
	slices.SortFunc(vfs, func(a, b string) int { return number(a) - number(b) })
	for _, vf := range vfs {
		target, err := os.Readlink(vf)
		if err != nil {
			return liberr.System(from, err, "Could not get Virtual functions on %s", f.pf)
		}
		var i forwardIf
		if f.mode == modeHostdev {
			if i.pci = parsePCIName(filepath.Base(target)); i.pci == nil {
				continue
			}
		} else {
			names, _ := filepath.Glob(filepath.Join(vf, "net/*"))
			if len(names) == 0 {
				continue // a guest has it, or its driver has no link for it
			}
			i.dev = filepath.Base(names[0])
		}
		f.ifaces = append(f.ifaces, i)
	}
	return nil
}
