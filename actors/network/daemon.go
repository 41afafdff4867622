package network

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/kit"
	"virtree/wire/protocol"
)

// daemon is the network's dnsmasq as its actor knows it.
type daemon struct {
	run      uint64 // counts processes, so that the end of an earlier one is ignored
	proc     *process
	watching *watcher
	since    time.Time // of the last start
	failures int       // in a row: each lived less than steady
}

// steady is how long dnsmasq must live until its end counts as the first again; maxDelay the longest wait before a start.
const (
	steady   = time.Minute
	maxDelay = time.Minute
)

// adopt takes a running process, nil for none.
func (d *daemon) adopt(ctx actor.Context, p *process) {
	d.stopWatch()
	d.run++
	d.proc, d.since = p, time.Now()
	if p == nil {
		return
	}
	root, self, run := ctx.ActorSystem().Root, ctx.Self(), d.run
	d.watching = p.watch(func() { root.Send(self, &dnsmasqEnded{run}) })
}

// stopWatch ends the interest in the process; it goes on.
func (d *daemon) stopWatch() {
	d.watching.Close()
	d.watching = nil
}

// delay is the wait before the next start: none after a long life, and longer each time it dies young.
func (d *daemon) delay(now time.Time) time.Duration {
	if now.Sub(d.since) >= steady {
		d.failures = 0
	}
	d.failures++
	if d.failures == 1 {
		return 0
	}
	return min(time.Second<<min(d.failures-2, 10), maxDelay)
}

// dnsmasqEnded restarts a dnsmasq that died under an active network.
func (n *network) dnsmasqEnded(ctx actor.Context, m *dnsmasqEnded) {
	if m.run != n.daemon.run || n.live == nil {
		return
	}
	n.daemon.stopWatch()
	if n.daemon.proc != nil {
		n.daemon.proc.close()
		n.daemon.proc = nil
	}
	wait := n.daemon.delay(time.Now())
	n.log.Warn().Dur("delay", wait).Msg("dnsmasq of the network died; it is started again")
	root, self := ctx.ActorSystem().Root, ctx.Self()
	time.AfterFunc(wait, func() { root.Send(self, &dnsmasqDue{m.run}) })
}

func (n *network) dnsmasqDue(ctx actor.Context, m *dnsmasqDue) {
	drv := n.drv
	n.begin(ctx, &task{
		name: "start dnsmasq",
		decide: func(n *network) (work, error) {
			if m.run != n.daemon.run || n.live == nil || n.daemon.proc != nil || !needsDnsmasq(n.live.def) {
				return nil, nil
			}
			def := n.live.def
			return func(jc context.Context, _ *kit.Undo) (any, error) {
				if p := findProcess(drv.runPath(def.name, ".pid"), drv.dnsmasqPath(def.name, ".conf")); p != nil {
					return p, nil // a change that failed has put it back
				}
				return drv.startDnsmasq(jc, def)
			}, nil
		},
		apply: func(n *network, ctx actor.Context, out any) (protocol.Encoder, error) {
			if p, ok := out.(*process); ok {
				n.daemon.adopt(ctx, p)
			}
			return nil, nil
		},
		failed: func(n *network, ctx actor.Context, _ error) {
			n.daemon.run++
			n.dnsmasqEnded(ctx, &dnsmasqEnded{n.daemon.run})
		},
	})
}
