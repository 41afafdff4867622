package qemu

import (
	"context"
	"strconv"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/wire/liberr"
)

// group is the kernel's control group of one guest. A guest has none until somebody limits it; what is
// read before that is what a new group has.
//
// The parts of a guest are "" for all of it, "emulator", "vcpu0", ... and "iothread1", ...
type group interface {
	perCPU() ([]uint64, error)
	shares() (uint64, error)
	setShares(uint64) error
	bandwidth(part string) (period uint64, quota int64, err error)
	setBandwidth(part string, period uint64, quota int64) error // 0 leaves one of them as it is
	memory() (memoryLimits, error)
	setMemory(name string, kib uint64) error
	weight() (uint, error)
	setWeight(uint) error
	setDevice(param, path string, value uint64) error
	setCPUs(part string, cpus string) error
	setMems(nodes string) error

	exists() bool
	place(pid int, parts map[string]int) error // the thread of each part
	add(part string, tid int) error            // a thread that has come later
	remove() error
}

// memoryLimits are in KiB; memoryUnlimited stands for none.
type memoryLimits struct{ hard, soft, swap uint64 }

// memoryUnlimited is VIR_DOMAIN_MEMORY_PARAM_UNLIMITED.
const memoryUnlimited = 9007199254740991

// group gives the control group of the running guest.
func (d *domain) group() group {
	return newGroup(command.ShortName(int(d.id()), d.name), d.drv.env.Paths.Root, d.run.proc.pid)
}

// parts pairs the parts of the running guest with their threads, as far as the domain knows them.
func (d *domain) parts() map[string]int {
	parts := map[string]int{}
	for _, v := range d.onlineThreads() {
		parts["vcpu"+strconv.Itoa(v.id)] = v.tid
	}
	return parts
}

// ensureGroup puts a guest into its control group, which it did not need so far, and has it removed
// when the guest's process ends. It blocks, and so belongs into a job.
func ensureGroup(g group, pid int, parts map[string]int) error {
	if g.exists() {
		return nil
	}
	if err := g.place(pid, parts); err != nil {
		_ = g.remove()
		return err
	}
	return nil
}

// removeGroupLater waits for the guest's end, and takes its control group away.
func (d *domain) removeGroupLater(ctx actor.Context, g group) {
	if d.run == nil || d.run.proc == nil {
		return
	}
	pid := d.run.proc.pid
	d.aside(ctx, &task{name: "remove the control group", run: func(jc context.Context, _ *kit.Undo) (any, error) {
		p, err := newProcess(pid, -1)
		if err == nil {
			defer p.Close()
			if err := p.Wait(jc); err != nil && p.Alive() {
				return nil, nil // we go before the guest does
			}
		}
		return nil, g.remove()
	}, failed: func(d *domain, _ actor.Context, err error) error {
		d.log.Warn().Err(err).Msg("cannot remove the control group")
		return err
	}})
}

// noController is what a live change hears where the kernel cannot do it.
func noController(name string) error {
	return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "cgroup %s controller is not mounted", name)
}
