package qemu

import (
	"context"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/agent"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// guestDisk is a disk as the guest addresses it.
type guestDisk struct {
	BusNo  uint `json:"bus"`
	Unit   uint `json:"unit"`
	Target uint `json:"target"`
	PCI    struct {
		Domain   int `json:"domain"`
		Bus      int `json:"bus"`
		Slot     int `json:"slot"`
		Function int `json:"function"`
	} `json:"pci-controller"`
	CCW *struct {
		CSSID uint `json:"cssid"`
		SSID  uint `json:"ssid"`
		DevNo uint `json:"devno"`
	} `json:"ccw-address"`
	Serial string `json:"serial"`
	Dev    string `json:"dev"`
}

// alias finds the disk in a definition and returns the name by which clients know it; "" for one of other making.
func (g *guestDisk) alias(def *libvirtxml.Domain) string {
	for i := range def.Devices.Disks {
		disk := &def.Devices.Disks[i]
		switch a := disk.Address; {
		case a == nil || disk.Target == nil:
		case a.PCI != nil && atPCI(a.PCI, g):
			return disk.Target.Dev
		case a.Drive != nil && is(a.Drive.Bus, g.BusNo) && is(a.Drive.Target, g.Target) && is(a.Drive.Unit, g.Unit) && onController(def, disk, g):
			return disk.Target.Dev
		}
	}
	return ""
}

func is(p *uint, v uint) bool { return p != nil && *p == v || p == nil && v == 0 }

func atPCI(a *libvirtxml.DomainAddressPCI, g *guestDisk) bool {
	p := g.PCI
	return p.Domain >= 0 && p.Bus >= 0 && is(a.Domain, uint(p.Domain)) && is(a.Bus, uint(p.Bus)) && is(a.Slot, uint(p.Slot)) && is(a.Function, uint(p.Function))
}

// onController tells whether the disk's controller is where the guest says.
func onController(def *libvirtxml.Domain, disk *libvirtxml.DomainDisk, g *guestDisk) bool {
	for _, c := range def.Devices.Controllers {
		if c.Type == disk.Target.Bus && is(c.Index, pointed(disk.Address.Drive.Controller)) && c.Address != nil && c.Address.PCI != nil {
			return atPCI(c.Address.PCI, g)
		}
	}
	return false
}

func pointed(p *uint) uint {
	if p == nil {
		return 0
	}
	return *p
}

// guestFS is one mounted file system.
type guestFS struct {
	Mountpoint string      `json:"mountpoint"`
	Name       string      `json:"name"`
	Type       string      `json:"type"`
	Total      *uint64     `json:"total-bytes"`
	Used       *uint64     `json:"used-bytes"`
	Disks      []guestDisk `json:"disk"`
}

// guestFilesystems lists what the guest has mounted, in the order in which it was.
func guestFilesystems(ctx context.Context, ag *agent.Client, timeout int, optional bool) ([]guestFS, error) {
	var list []guestFS
	if err := ag.Execute(ctx, agent.Command{Name: "guest-get-fsinfo", Timeout: timeout, Optional: optional}, &list); err != nil {
		return nil, err
	}
	slices.Reverse(list) // the agent begins with the last one
	return list, nil
}

func (d *domain) fsInfo(ctx actor.Context, r *call.Request, a *protocol.DomainGetFSInfoArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainGetFSInfo"); err != nil {
		return err
	}
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			return guestFilesystems(jc, ag, timeout, false)
		},
		answer: func(d *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			def, err := d.liveDef()
			if err != nil {
				return nil, err
			}
			ret := &protocol.DomainGetFSInfoRet{}
			for _, fs := range out.([]guestFS) {
				info := protocol.DomainFSInfo{Mountpoint: fs.Mountpoint, Name: fs.Name, Fstype: fs.Type}
				for _, g := range fs.Disks {
					if dst := g.alias(def); dst != "" {
						info.DevAliases = append(info.DevAliases, dst)
					}
				}
				ret.Info = append(ret.Info, info)
			}
			ret.Ret = uint32(len(ret.Info))
			return ret, nil
		},
	})
}
