package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"virtree/actors/storage/def"
	"virtree/wire/liberr"
)

// scsi is a host adapter; the disks behind it are the volumes.
type scsi struct{ blocks }

// host finds the number of the adapter's host.
func (b scsi) host(p *def.Pool) (int, error) {
	a := p.Source.Adapter
	if a.Type == "fc_host" {
		return b.fcHost(a)
	}
	name := a.Name
	if a.ParentPCI != nil {
		var err error
		if name, err = b.hostAt(a); err != nil {
			return 0, err
		}
	}
	text, ok := strings.CutPrefix(name, "scsi_host") // node devices' name
	if !ok {
		text, ok = strings.CutPrefix(name, "host") // the kernel's
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if !ok || err != nil {
		return 0, liberr.New(from, liberr.XMLError, "invalid adapter name '%s' for SCSI pool", name)
	}
	return int(n), nil
}

// hostAt finds the host of a PCI device with the given unique id, which stays the same when hosts are counted anew.
func (b scsi) hostAt(a *def.Adapter) (string, error) {
	hosts, err := os.ReadDir(b.at("/sys/class/scsi_host"))
	if err != nil {
		return "", liberr.System(from, err, "cannot open directory '%s'", "/sys/class/scsi_host")
	}
	for _, h := range hosts {
		dir := b.at("/sys/class/scsi_host/" + h.Name())
		to, _ := os.Readlink(dir)
		id, _ := os.ReadFile(dir + "/unique_id")
		if strings.Contains(to, a.ParentPCI.String()+"/") && strings.TrimSpace(string(id)) == strconv.Itoa(int(a.UniqueID)) {
			return h.Name(), nil
		}
	}
	return "", liberr.New(from, liberr.XMLError, "Failed to find scsi_host using PCI '%s' and unique_id='%d'", a.ParentPCI, a.UniqueID)
}

// fcHost finds the host with the adapter's names in the fabric.
func (b scsi) fcHost(a *def.Adapter) (int, error) {
	hosts, _ := os.ReadDir(b.at("/sys/class/fc_host"))
	for _, h := range hosts {
		if b.wwn(h.Name(), "node_name") == strings.ToLower(strings.TrimPrefix(a.WWNN, "0x")) && b.wwn(h.Name(), "port_name") == strings.ToLower(strings.TrimPrefix(a.WWPN, "0x")) {
			return strconv.Atoi(strings.TrimPrefix(h.Name(), "host"))
		}
	}
	return 0, liberr.New(from, liberr.XMLError, "Failed to find SCSI host with wwnn='%s', wwpn='%s'", a.WWNN, a.WWPN)
}

func (b scsi) wwn(host, file string) string {
	text, _ := os.ReadFile(b.at("/sys/class/fc_host/" + host + "/" + file))
	return strings.TrimPrefix(strings.TrimSpace(string(text)), "0x")
}

// parentHost is the Fibre Channel host that a virtual one is made of.
func (b scsi) parentHost(a *def.Adapter) (string, error) {
	if a.Parent != "" {
		name := "host" + strings.TrimPrefix(a.Parent, "scsi_host")
		if _, err := os.Stat(b.at("/sys/class/fc_host/" + name)); err != nil {
			return "", liberr.New(from, liberr.XMLError, "parent '%s' specified for vHBA does not exist", a.Parent)
		}
		return name, nil
	}
	hosts, _ := os.ReadDir(b.at("/sys/class/fc_host"))
	for _, h := range hosts {
		n := h.Name()
		switch {
		case a.ParentWWNN != "" && (b.wwn(n, "node_name") != a.ParentWWNN || b.wwn(n, "port_name") != a.ParentWWPN),
			a.ParentWWN != "" && b.wwn(n, "fabric_name") != a.ParentWWN:
			continue
		}
		if _, err := os.Stat(b.at("/sys/class/fc_host/" + n + "/vport_create")); err == nil {
			return n, nil
		}
	}
	return "", liberr.New(from, liberr.XMLError, "no suitable parent for the vHBA was found")
}

// vport makes or removes a virtual host.
func (b scsi) vport(a *def.Adapter, operation string) error {
	parent, err := b.parentHost(a)
	if err != nil {
		return err
	}
	file := "/sys/class/fc_host/" + parent + "/" + operation
	if err := os.WriteFile(b.at(file), []byte(strings.TrimPrefix(a.WWPN, "0x")+":"+strings.TrimPrefix(a.WWNN, "0x")), 0); err != nil {
		return liberr.System(from, err, "Write of '%s:%s' to '%s' during vport create/delete failed", a.WWPN, a.WWNN, file)
	}
	return nil
}

func (b scsi) Active(_ context.Context, p *def.Pool) (bool, error) {
	n, err := b.host(p)
	if err != nil {
		return false, nil
	}
	_, err = os.Stat(b.at(fmt.Sprintf("/sys/class/scsi_host/host%d", n)))
	return err == nil, nil
}

// Start makes the virtual host if there is to be one, and has the adapter look for disks.
func (b scsi) Start(ctx context.Context, p *def.Pool) error {
	if a := p.Source.Adapter; a.Type == "fc_host" {
		if _, err := b.fcHost(a); err != nil {
			if err := b.vport(a, "vport_create"); err != nil {
				return err
			}
			b.settle(ctx)
		}
	}
	n, err := b.host(p)
	if err != nil {
		return err
	}
	return b.scan(n)
}

func (b scsi) scan(n int) error {
	file := fmt.Sprintf("/sys/class/scsi_host/host%d/scan", n)
	f, err := os.OpenFile(b.at(file), os.O_WRONLY, 0)
	if err != nil {
		return liberr.System(from, err, "Could not open '%s' to trigger host scan", file)
	}
	defer f.Close()
	if _, err := f.WriteString("- - -"); err != nil {
		return liberr.System(from, err, "Write to '%s' to trigger host scan failed", file)
	}
	return nil
}

// Stop removes a virtual host that is the pool's to manage.
func (b scsi) Stop(_ context.Context, p *def.Pool) error {
	a := p.Source.Adapter
	if a.Type != "fc_host" || a.Managed != "yes" {
		return nil
	}
	if _, err := b.fcHost(a); err != nil {
		return nil // gone already
	}
	return b.vport(a, "vport_delete")
}

func (b scsi) Refresh(ctx context.Context, p *def.Pool, _ map[string]*def.Volume) (*Content, error) {
	n, err := b.host(p)
	if err != nil {
		return nil, err
	}
	b.settle(ctx)
	return b.disks(ctx, p, n)
}

// disks lists the disks of a host, unit:BUS:TARGET:LUN each.
func (b blocks) disks(ctx context.Context, p *def.Pool, host int) (*Content, error) {
	const dir = "/sys/bus/scsi/devices"
	entries, err := os.ReadDir(b.at(dir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, liberr.System(from, err, "cannot open directory '%s'", dir)
	}
	var s Space
	var all []*def.Volume
	for _, e := range entries {
		var h, bus, target, lun int
		if n, _ := fmt.Sscanf(e.Name(), "%d:%d:%d:%d", &h, &bus, &target, &lun); n != 4 || h != host {
			continue
		}
		v, err := b.disk(p, filepath.Join(dir, e.Name()), fmt.Sprintf("unit:%d:%d:%d", bus, target, lun))
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue
		}
		b.identify(ctx, v)
		s.Capacity += v.Capacity
		s.Allocation += v.Allocation
		all = append(all, v)
	}
	return content(p, s, all), nil
}

// disk looks at what has a block device and is a disk or a drive for other media.
func (b blocks) disk(p *def.Pool, dir, name string) (*def.Volume, error) {
	kind, _ := os.ReadFile(b.at(dir + "/type"))
	if t := strings.TrimSpace(string(kind)); t != "0" && t != "5" {
		return nil, nil
	}
	block, _ := os.ReadDir(b.at(dir + "/block"))
	if len(block) == 0 {
		return nil, nil
	}
	v, err := b.device(name, "/dev/"+block[0].Name())
	if v == nil || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EIO) {
		return nil, nil // an empty drive, or a disk of which another host holds a reservation
	}
	if err != nil {
		return nil, err
	}
	return stable(b.Host, p, v), nil
}

// identify gives a disk the key that it has itself, where udev's tool can tell.
func (b blocks) identify(ctx context.Context, v *def.Volume) {
	for _, tool := range []string{"/lib/udev/scsi_id", "/usr/lib/udev/scsi_id"} {
		if _, err := os.Stat(tool); err != nil && b.Tools == nil {
			continue
		}
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		id, err := b.tools().Run(short, nil, tool, "--replace-whitespace", "--whitelisted", "--device", b.at(v.Path))
		cancel()
		if key := strings.TrimSpace(string(id)); err == nil && key != "" && printable(key) {
			v.Key = key
			return
		}
	}
}

func (b scsi) Look(ctx context.Context, p *def.Pool, name string) (*def.Volume, error) {
	return lookIn(ctx, b, p, name)
}

func (b scsi) Space(ctx context.Context, p *def.Pool) (Space, error) { return spaceIn(ctx, b, p) }
