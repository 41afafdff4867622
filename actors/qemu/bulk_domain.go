package qemu

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/qmp"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// collector gathers one domain's record. It works on copies and shared definitions, in a job.
type collector struct {
	dom     protocol.Domain
	life    life
	def     *libvirtxml.Domain
	active  bool
	pid     int
	vcpus   []vcpuTID
	mon     *qmp.Client // nil: QEMU is not asked
	backing bool
	kvm     bool

	params []protocol.TypedParam
}

// bulkStats serves the branch, which asks for one record.
func (d *domain) bulkStats(ctx actor.Context, r *call.Request, a *protocol.ConnectGetAllDomainStatsArgs) error {
	def, err := d.current().Def()
	if err != nil {
		return err
	}
	c := &collector{
		dom: d.ref(), life: d.life, def: def, active: d.active(),
		backing: a.Flags&virt.ConnectGetAllDomainsStatsBacking != 0, kvm: def.Type == "kvm",
	}
	if c.active {
		c.pid, c.vcpus = d.run.proc.pid, d.onlineThreads()
	}
	groups := a.Stats
	nowait := a.Flags&virt.ConnectGetAllDomainsStatsNowait != 0 && len(d.queue.Running()) > 0
	if a.Flags&statsPlain != 0 || nowait || !c.active || d.run.mon == nil || groups&monitorGroups == 0 {
		d.look(ctx, r, func(jc context.Context) (protocol.Encoder, error) { return c.collect(jc, groups), nil })
		return nil
	}
	c.mon = d.run.mon
	d.start(ctx, &task{kind: jobQuery, req: r, limit: statsPatience,
		run: func(jc context.Context, _ *kit.Undo) (any, error) { return c.collect(jc, groups), nil },
		apply: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			return out.(protocol.Encoder), nil
		},
	})
	return nil
}

// monitorGroups are the groups for which QEMU is asked.
const monitorGroups = virt.DomainStatsCPUTotal | virt.DomainStatsBalloon | virt.DomainStatsVCPU | virt.DomainStatsBlock |
	virt.DomainStatsIOThread | virt.DomainStatsDirtyrate | virt.DomainStatsVm

// statsWorkers are the groups in the order of the record.
var statsWorkers = []struct {
	group uint32
	add   func(c *collector, ctx context.Context)
}{
	{virt.DomainStatsState, (*collector).state},
	{virt.DomainStatsCPUTotal, (*collector).cpu},
	{virt.DomainStatsBalloon, (*collector).balloon},
	{virt.DomainStatsVCPU, (*collector).vcpu},
	{virt.DomainStatsInterface, (*collector).interfaces},
	{virt.DomainStatsBlock, (*collector).blocks},
	{virt.DomainStatsIOThread, (*collector).ioThreads},
	{virt.DomainStatsDirtyrate, (*collector).dirtyRate},
	{virt.DomainStatsVm, (*collector).vm},
	// DomainStatsPerf and DomainStatsMemory have nothing to tell: no counter is ever opened for a guest, and no
	// bandwidth monitor either.
}

// collect makes the record. What cannot be found out is left out of it.
func (c *collector) collect(ctx context.Context, groups uint32) *protocol.ConnectGetAllDomainStatsRet {
	for _, w := range statsWorkers {
		if groups&w.group != 0 {
			w.add(c, ctx)
		}
	}
	return &protocol.ConnectGetAllDomainStatsRet{RetStats: []protocol.DomainStatsRecord{{Dom: c.dom, Params: c.params}}}
}

func (c *collector) add(params ...protocol.TypedParam) { c.params = append(c.params, params...) }

func (c *collector) state(context.Context) {
	c.add(paramInt("state.state", c.life.State), paramInt("state.reason", c.life.Reason))
}

// cpu tells the time the guest has used.
//
// Compat: of an inactive domain libvirt tells the daemon's own time, since it looks for process 0.
func (c *collector) cpu(ctx context.Context) {
	who := "self"
	if c.active {
		who = itoa(c.pid)
	}
	u, err := processUsage(who)
	if err != nil {
		return
	}
	c.add(paramULLong("cpu.time", u.total), paramULLong("cpu.user", u.user), paramULLong("cpu.system", u.system))
	if !c.active {
		return
	}
	c.add(paramUInt("cpu.cache.monitor.count", 0))
	success, fail := uint64(0), uint64(0)
	if c.mon != nil && c.kvm {
		success, fail = haltPolling(ctx, c.mon)
	}
	c.add(paramULLong("cpu.haltpoll.success.time", success), paramULLong("cpu.haltpoll.fail.time", fail))
}

// balloonNames are the figures of memory in a record.
var balloonNames = map[int32]string{
	virt.DomainMemoryStatSwapIn: "balloon.swap_in", virt.DomainMemoryStatSwapOut: "balloon.swap_out",
	virt.DomainMemoryStatMajorFault: "balloon.major_fault", virt.DomainMemoryStatMinorFault: "balloon.minor_fault",
	virt.DomainMemoryStatUnused: "balloon.unused", virt.DomainMemoryStatAvailable: "balloon.available",
	virt.DomainMemoryStatRss: "balloon.rss", virt.DomainMemoryStatUsable: "balloon.usable",
	virt.DomainMemoryStatLastUpdate: "balloon.last-update", virt.DomainMemoryStatDiskCaches: "balloon.disk_caches",
	virt.DomainMemoryStatHugetlbPgalloc: "balloon.hugetlb_pgalloc", virt.DomainMemoryStatHugetlbPgfail: "balloon.hugetlb_pgfail",
}

func (c *collector) balloon(ctx context.Context) {
	current := currentMemory(c.def)
	c.add(paramULLong("balloon.current", current), paramULLong("balloon.maximum", maxMemory(c.def)))
	if !c.active {
		return
	}
	var stats []memoryStat
	if c.mon != nil && hasBalloon(c.def) {
		stats, _ = guestMemory(ctx, c.mon, balloonAlias(c.def))
	}
	if rss, err := residentKiB(c.pid); err == nil {
		stats = append(stats, memoryStat{virt.DomainMemoryStatRss, rss})
	}
	for _, s := range stats {
		if name := balloonNames[s.tag]; name != "" {
			c.add(paramULLong(name, s.value))
		}
	}
}

func (c *collector) vcpu(ctx context.Context) {
	c.add(paramUInt("vcpu.current", uint32(currentVCPUs(c.def))), paramUInt("vcpu.maximum", uint32(maxVCPUs(c.def))))
	if !c.active {
		return
	}
	var figures map[int][]protocol.TypedParam
	if c.mon != nil && c.kvm {
		figures = vcpuFigures(ctx, c.mon)
	}
	for i, v := range c.vcpus {
		t, err := readThread(c.pid, v.tid, v.id)
		if err != nil {
			continue
		}
		p := "vcpu." + itoa(v.id) + "."
		c.add(paramInt(p+"state", virt.VCPURunning), paramULLong(p+"time", t.time), paramULLong(p+"wait", t.wait))
		if t.delays {
			c.add(paramULLong(p+"delay", t.delay))
		}
		for _, f := range figures[i] {
			f.Field = p + f.Field
			c.add(f)
		}
	}
}

func (c *collector) interfaces(context.Context) {
	if !c.active {
		return
	}
	list := c.def.Devices.Interfaces
	c.add(paramUInt("net.count", uint32(len(list))))
	for i := range list {
		name := hostLink(&list[i])
		if name == "" {
			continue
		}
		p := "net." + itoa(i) + "."
		c.add(paramString(p+"name", name))
		s, err := readLinkStats(name, !sharesHostView(&list[i]))
		if err != nil {
			continue
		}
		for way, dir := range []string{"rx.", "tx."} {
			c.add(paramULLong(p+dir+"bytes", uint64(s.bytes[way])), paramULLong(p+dir+"pkts", uint64(s.packets[way])),
				paramULLong(p+dir+"errs", uint64(s.errs[way])), paramULLong(p+dir+"drop", uint64(s.drop[way])))
		}
	}
}

func (c *collector) ioThreads(ctx context.Context) {
	if c.mon == nil {
		return
	}
	threads, err := guestIOThreads(ctx, c.mon)
	if err != nil || len(threads) == 0 {
		return
	}
	c.add(paramUInt("iothread.count", uint32(len(threads))))
	for _, t := range threads {
		n, _ := ioThreadNumber(t.ID)
		p := "iothread." + itoa(int(n)) + "."
		c.add(paramULLong(p+"poll-max-ns", t.PollMaxNS), paramUInt(p+"poll-grow", uint32(t.PollGrow)), paramUInt(p+"poll-shrink", uint32(t.PollShrink)))
	}
}

// dirtyStates are QEMU's words for how far a measurement is.
var dirtyStates = map[string]int32{"unstarted": virt.DomainDirtyrateUnstarted, "measuring": virt.DomainDirtyrateMeasuring, "measured": virt.DomainDirtyrateMeasured}

func (c *collector) dirtyRate(ctx context.Context) {
	if c.mon == nil {
		return
	}
	d, err := qmp.QueryDirtyRate(ctx, c.mon)
	if err != nil {
		return
	}
	c.add(paramInt("dirtyrate.calc_status", dirtyStates[d.Status]), paramLLong("dirtyrate.calc_start_time", d.StartTime),
		paramInt("dirtyrate.calc_period", int32(d.CalcTime)), paramString("dirtyrate.calc_mode", d.Mode))
	if d.Status != "measured" || d.Rate == nil {
		return
	}
	c.add(paramLLong("dirtyrate.megabytes_per_second", *d.Rate))
	if d.Mode == "dirty-ring" {
		for _, v := range d.VCPUs {
			c.add(paramULLong("dirtyrate.vcpu."+itoa(v.ID)+".megabytes_per_second", uint64(v.Rate)))
		}
	}
}
