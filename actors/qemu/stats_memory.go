package qemu

import (
	"context"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// memoryStat is one figure about a guest's memory, in KiB where it is an amount.
type memoryStat struct {
	tag   int32
	value uint64
}

// balloonStats are the figures of the guest's balloon driver in libvirt's order, and what to divide by.
var balloonStats = []struct {
	name string
	tag  int32
	unit uint64
}{
	{"stat-swap-in", virt.DomainMemoryStatSwapIn, 1024},
	{"stat-swap-out", virt.DomainMemoryStatSwapOut, 1024},
	{"stat-major-faults", virt.DomainMemoryStatMajorFault, 1},
	{"stat-minor-faults", virt.DomainMemoryStatMinorFault, 1},
	{"stat-free-memory", virt.DomainMemoryStatUnused, 1024},
	{"stat-total-memory", virt.DomainMemoryStatAvailable, 1024},
	{"stat-available-memory", virt.DomainMemoryStatUsable, 1024},
	{"last-update", virt.DomainMemoryStatLastUpdate, 1},
	{"stat-disk-caches", virt.DomainMemoryStatDiskCaches, 1024},
	{"stat-htlb-pgalloc", virt.DomainMemoryStatHugetlbPgalloc, 1},
	{"stat-htlb-pgfail", virt.DomainMemoryStatHugetlbPgfail, 1},
}

// guestMemory asks the balloon what the guest says of its memory. Figures that the guest's driver does
// not tell are -1 in QEMU, and left out.
func guestMemory(ctx context.Context, mon *qmp.Client, balloon string) ([]memoryStat, error) {
	actual, err := qmp.QueryBalloon(ctx, mon)
	if err != nil {
		return nil, err
	}
	out := []memoryStat{{virt.DomainMemoryStatActualBalloon, actual >> 10}}
	if balloon == "" {
		return out, nil
	}
	g, err := qmp.QueryBalloonStats(ctx, mon, "/machine/peripheral/"+balloon)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return out, nil // a balloon without figures
	}
	return append(out, balloonFigures(g)...), nil
}

func balloonFigures(g qmp.BalloonStats) []memoryStat {
	var out []memoryStat
	for _, s := range balloonStats {
		v, ok := g.Stats[s.name]
		if s.name == "last-update" {
			v, ok = uint64(g.LastUpdate), true
		}
		if ok && v != math.MaxUint64 {
			out = append(out, memoryStat{s.tag, v / s.unit})
		}
	}
	return out
}

// residentKiB is the memory of the host that a process occupies.
func residentKiB(pid int) (uint64, error) {
	b, err := os.ReadFile("/proc/" + itoa(pid) + "/statm")
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0, strconv.ErrSyntax
	}
	pages, err := strconv.ParseUint(f[1], 10, 64)
	return pages * uint64(os.Getpagesize()) >> 10, err
}

// balloonAlias is the balloon's name in QEMU.
func balloonAlias(def *libvirtxml.Domain) string {
	if b := def.Devices.MemBalloon; b != nil && b.Alias != nil {
		return b.Alias.Name
	}
	return ""
}

func (d *domain) memoryStats(ctx actor.Context, r *call.Request, a *protocol.DomainMemoryStatsArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainMemoryStats"); err != nil {
		return err
	}
	def, err := d.liveDef()
	if err != nil {
		return err
	}
	most, pid, balloon := int(min(a.MaxStats, protocol.RemoteDomainMemoryStatsMax)), d.run.proc.pid, balloonAlias(def)
	answer := func(stats []memoryStat) protocol.Encoder {
		if rss, err := residentKiB(pid); err == nil {
			stats = append(stats, memoryStat{virt.DomainMemoryStatRss, rss})
		}
		ret := &protocol.DomainMemoryStatsRet{}
		for _, s := range stats[:min(most, len(stats))] {
			ret.Stats = append(ret.Stats, protocol.DomainMemoryStat{Tag: s.tag, Val: s.value})
		}
		return ret
	}
	if !hasBalloon(def) {
		d.look(ctx, r, func(context.Context) (protocol.Encoder, error) { return answer(nil), nil })
		return nil
	}
	return d.query(ctx, r, func(jc context.Context, mon *qmp.Client) (protocol.Encoder, error) {
		stats, err := guestMemory(jc, mon, balloon)
		if err != nil {
			return nil, err
		}
		return answer(stats), nil
	})
}
