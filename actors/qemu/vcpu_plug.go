package qemu

import (
	"context"
	"errors"
	"slices"
	"sort"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/node"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
)

// vcpuPlug brings the virtual CPUs of a running guest to a wanted set.
type vcpuPlug struct {
	want  []int
	had   []int // plugged in before
	group group

	// Outcome.
	now     []int        // plugged in
	plugged map[int]bool // those that can go again
	threads []int        // of those that are plugged in, in the order of their numbers
}

// vcpuPlug makes a plan; its outcome is filled in by the job.
func (d *domain) vcpuPlug(_ actor.Context, want []int) *vcpuPlug {
	return &vcpuPlug{want: want, group: d.group(), had: d.onlineIDs()}
}

// apply tells the domain which threads there are now.
func (p *vcpuPlug) apply(d *domain, ctx actor.Context) {
	d.rt.vcpus = p.threads
	d.saveStatus(ctx)
}

// plugEffect runs the plan that will be there when the job runs.
func plugEffect(p **vcpuPlug) func(context.Context, *qmp.Client, *libvirtxml.Domain) error {
	return func(ctx context.Context, mon *qmp.Client, def *libvirtxml.Domain) error {
		return (*p).run(ctx, mon, def)
	}
}

// slot is one place for a virtual CPU.
type slot struct {
	qmp.HotpluggableCPU
	id int
}

// slots lists the places by the numbers of their virtual CPUs: QEMU numbers them by where they sit.
func slots(ctx context.Context, mon *qmp.Client) ([]slot, error) {
	list, err := qmp.QueryHotpluggableCPUs(ctx, mon)
	if err != nil {
		return nil, err
	}
	place := func(c qmp.HotpluggableCPU) [5]float64 {
		var at [5]float64
		for i, name := range []string{"node-id", "socket-id", "die-id", "core-id", "thread-id"} {
			if v, ok := c.Props[name].(float64); ok && i > 0 {
				at[i] = v
			}
		}
		return at
	}
	sort.SliceStable(list, func(i, j int) bool {
		a, b := place(list[i]), place(list[j])
		return slices.Compare(a[:], b[:]) < 0
	})
	var out []slot
	id := 0
	for _, c := range list {
		out = append(out, slot{c, id})
		id += max(c.VCPUsCount, 1)
	}
	return out, nil
}

// name is the device id of a virtual CPU that was plugged into a running guest.
func (s slot) name() string { return "vcpu" + itoa(s.id) }

// removable tells virtual CPUs that were plugged in while the guest ran.
func (s slot) removable() bool {
	return s.QOMPath == "" || s.QOMPath == "/machine/peripheral/"+s.name()
}

func (p *vcpuPlug) run(ctx context.Context, mon *qmp.Client, def *libvirtxml.Domain) error {
	places, err := slots(ctx, mon)
	if err != nil {
		return err
	}
	for _, s := range places {
		in, wanted := s.QOMPath != "", slices.Contains(p.want, s.id)
		switch {
		case wanted && !in:
			err = plugIn(ctx, mon, s)
		case !wanted && in && !s.removable():
			err = liberr.New(liberr.FromQemu, liberr.OperationInvalid, "vcpu '%d' is not hotunpluggable", s.id)
		case !wanted && in:
			err = plugOut(ctx, mon, s)
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, p.look(ctx, mon, def))
}

// plugIn adds a virtual CPU.
func plugIn(ctx context.Context, mon *qmp.Client, s slot) error {
	var props command.Props
	for _, name := range []string{"node-id", "socket-id", "die-id", "core-id", "thread-id"} {
		if v, ok := s.Props[name].(float64); ok {
			props.Set(name, int(v))
		}
	}
	return runPlug(ctx, mon, command.VCPUPlug(uint(s.id), s.Type, props))
}

const (
	unplugWait = 5 * time.Second // libvirt's patience with a guest that is to let go of a device
	unplugLook = 100 * time.Millisecond
)

// plugOut asks the guest to let go of a virtual CPU, and waits until it has.
func plugOut(ctx context.Context, mon *qmp.Client, s slot) error {
	if err := qmp.DeviceDel(ctx, mon, s.name()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, unplugWait)
	defer cancel()
	// The event that tells of it goes to the domain's actor, which this job blocks nobody from asking; QEMU's own
	// list is as good.
	tick := time.NewTicker(unplugLook)
	defer tick.Stop()
	for {
		places, err := slots(ctx, mon)
		if err == nil && !slices.ContainsFunc(places, func(o slot) bool { return o.id == s.id && o.QOMPath != "" }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return liberr.New(liberr.FromQemu, liberr.OperationTimeout, "vcpu unplug request timed out. Unplug result must be manually inspected in the domain")
		case <-tick.C:
		}
	}
}

// look finds out how things are after all.
func (p *vcpuPlug) look(ctx context.Context, mon *qmp.Client, def *libvirtxml.Domain) error {
	places, err := slots(ctx, mon)
	if err != nil {
		return err
	}
	p.now, p.plugged = nil, map[int]bool{}
	for _, s := range places {
		p.plugged[s.id] = s.removable()
		if s.QOMPath != "" {
			p.now = append(p.now, s.id)
		}
	}
	cpus, err := qmp.QueryCPUsFast(ctx, mon)
	if err != nil {
		return err
	}
	sort.Slice(cpus, func(i, j int) bool { return cpus[i].Index < cpus[j].Index })
	p.threads = nil
	for _, c := range cpus {
		p.threads = append(p.threads, c.ThreadID)
	}
	for i, id := range p.now {
		if i >= len(p.threads) || slices.Contains(p.had, id) {
			continue
		}
		// A new thread runs where the one that made it does, which may be pinned.
		set := pinSet(def, vcpuPin(def, id))
		if err := p.group.add("vcpu"+itoa(id), p.threads[i]); err != nil {
			return err
		}
		if err := pinThread(p.group, "vcpu"+itoa(id), p.threads[i], set, node.FormatList(set)); err != nil {
			return err
		}
	}
	return nil
}

// onlineIDs are the numbers of the virtual CPUs that are plugged in.
func (d *domain) onlineIDs() []int {
	var ids []int
	for _, v := range d.onlineThreads() {
		ids = append(ids, v.id)
	}
	return ids
}
