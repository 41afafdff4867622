package qemu

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/qemu/qmp"
	"virtree/actors/qemu/sample"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// A round of sampling collects what scrapes show of guests; package sample says when there is one. The branch takes the
// list out of its index, and a job asks every domain where its figures are to be found and reads them there. It takes no
// turn in the domains' job queues, so that nobody's call waits for a scrape:
//
//	sampleDue --> branch --round (a job)--> sampleWhere --> domain
//	                                   <--  sampleHere  <--
//	                                   --> procfs, and QEMU for disks
//
// A domain whose actor does not answer is read where it was the last time; a QEMU that does not is missing its disks.

// sampleDue asks the branch for a round.
type sampleDue struct{}

// Urgent keeps it from being refused.
func (*sampleDue) Urgent() bool { return true }

// sampleWhere asks a domain where its figures are.
type sampleWhere struct{}

// sampleHere answers it. It is a value; mon may be used by any goroutine.
type sampleHere struct {
	run              uint64 // which start of the guest
	pid, vcpus       int
	maximum, current uint64 // KiB
	mon              *qmp.Client
	disks            []sampleDisk
	links            []sampleLink
}

type sampleDisk struct{ alias, target string }

type sampleLink struct {
	name string
	swap bool
}

// sampler is what rounds have in common.
type sampler struct {
	cache  sample.Cache
	blocks sample.Prober[*blockFigures]

	last  atomic.Pointer[map[protocol.UUID]*sampleHere] // where the figures were, as of the last round
	timer *time.Timer                                   // of the branch's Receive
	busy  bool                                          // likewise: a round is under way
}

const (
	sampleLimit    = 30 * time.Second // for a round
	samplePatience = time.Second      // with a domain's actor, and with its monitor
	sampleWorkers  = 16
)

// openSampler lets scrapes have rounds. It is called at each start of the branch.
func (dr *driver) openSampler(ctx actor.Context) {
	root, self := ctx.ActorSystem().Root, ctx.Self()
	s := &dr.shared.sampler
	s.busy = false
	s.cache.Open(func() { root.Send(self, &sampleDue{}) })
	dr.shared.env.Figures.Set("qemu", s.cache.Source)
}

// sampleNow begins a round, unless one is under way.
func (dr *driver) sampleNow(ctx actor.Context) {
	s := &dr.shared.sampler
	if s.busy {
		return
	}
	round := &sample.Round{Began: time.Now(), States: map[string]int{}}
	var guests []*sampled
	for _, e := range dr.selected(func(*entry) bool { return true }) {
		round.States[stateLabel(e.State)]++
		if e.Active() {
			guests = append(guests, &sampled{Summary: e.Summary, pid: e.PID})
		}
	}
	if len(guests) == 0 { // no job, which would keep the daemon from its idle exit
		dr.sampleAgain(ctx, s.cache.Put(round))
		return
	}
	s.busy = true
	shared := dr.shared
	dr.job(ctx, "sample", sampleLimit, func(jc context.Context) (any, error) {
		shared.sampleRound(jc, guests, round)
		return nil, nil
	}, func(ctx actor.Context, _ any, err error) {
		s.busy = false
		if err != nil {
			shared.env.Log.Error().Err(err).Msg("cannot collect the figures of guests")
			round = &sample.Round{Began: time.Now(), Took: time.Since(round.Began), States: round.States}
		}
		dr.sampleAgain(ctx, s.cache.Put(round))
	})
}

// sampleAgain has the next round begin after a while, if there is to be one.
func (dr *driver) sampleAgain(ctx actor.Context, after time.Duration) {
	s := &dr.shared.sampler
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if after > 0 {
		root, self := ctx.ActorSystem().Root, ctx.Self()
		s.timer = time.AfterFunc(after, func() { root.Send(self, &sampleDue{}) })
	}
}

// sampleWhere tells where the figures of the running guest are.
func (d *domain) sampleWhere(ctx actor.Context) {
	def, err := d.liveDef()
	if err != nil || d.run == nil || d.run.proc == nil {
		ctx.Respond(&sampleHere{})
		return
	}
	h := &sampleHere{
		run: d.run.serial, pid: d.run.proc.pid, vcpus: currentVCPUs(def), maximum: maxMemory(def), current: currentMemory(def), mon: d.run.mon,
	}
	for i := range def.Devices.Disks {
		if disk := &def.Devices.Disks[i]; diskAlias(disk) != "" {
			h.disks = append(h.disks, sampleDisk{diskAlias(disk), diskTarget(disk)})
		}
	}
	for i := range def.Devices.Interfaces {
		if n := &def.Devices.Interfaces[i]; hostLink(n) != "" {
			h.links = append(h.links, sampleLink{hostLink(n), !sharesHostView(n)})
		}
	}
	ctx.Respond(h)
}

// sampled is a guest on its way into a round.
type sampled struct {
	Summary
	pid    *actor.PID
	future *actor.Future
	here   *sampleHere
	guest  sample.Guest
}

// sampleRound collects the figures of all guests.
func (s *shared) sampleRound(ctx context.Context, guests []*sampled, round *sample.Round) {
	s.sampleAsk(guests)
	links := allLinkStats()
	work := make(chan *sampled)
	var wg sync.WaitGroup
	for range min(sampleWorkers, len(guests)) {
		wg.Go(func() {
			for g := range work {
				s.sampleGuest(g, links)
			}
		})
	}
	for _, g := range guests {
		if ctx.Err() != nil {
			break
		}
		if g.here != nil && g.here.pid != 0 {
			work <- g
		}
	}
	close(work)
	wg.Wait()
	for _, g := range guests {
		if g.guest.Name != "" {
			round.Guests = append(round.Guests, g.guest)
		}
	}
	round.Took = time.Since(round.Began)
}

// sampleAsk asks all domains where their figures are.
func (s *shared) sampleAsk(guests []*sampled) {
	for _, g := range guests {
		g.future = s.system.Root.RequestFuture(g.pid, &sampleWhere{}, samplePatience)
	}
	now := make(map[protocol.UUID]*sampleHere, len(guests))
	var before map[protocol.UUID]*sampleHere
	if last := s.sampler.last.Load(); last != nil {
		before = *last
	}
	for _, g := range guests {
		answer, err := g.future.Result() // all end by themselves, at the same time
		if h, ok := answer.(*sampleHere); ok && err == nil {
			g.here = h
		} else {
			g.here = before[g.UUID] // nil: never seen
		}
		if g.here != nil {
			now[g.UUID] = g.here
		}
	}
	s.sampler.last.Store(&now)
}

// sampleGuest reads the figures of one guest. A guest that has just ended is left out.
func (s *shared) sampleGuest(g *sampled, links map[string]linkFigures) {
	h := g.here
	used, err := processUsage(itoa(h.pid))
	if err != nil {
		return
	}
	out := sample.Guest{
		UUID: g.UUID.String(), CPU: time.Duration(used.total), VCPUs: h.vcpus, Maximum: h.maximum << 10, Current: h.current << 10,
	}
	if rss, err := residentKiB(h.pid); err == nil {
		out.Resident = rss << 10
	}
	for _, l := range h.links {
		f, ok := links[l.name]
		if !ok {
			continue
		}
		if l.swap {
			f.swap()
		}
		way := func(i int) sample.Traffic {
			return sample.Traffic{Bytes: uint64(f.bytes[i]), Packets: uint64(f.packets[i]), Errors: uint64(f.errs[i]), Drops: uint64(f.drop[i])}
		}
		out.Links = append(out.Links, sample.Link{Name: l.name, Received: way(0), Sent: way(1)})
	}
	if len(h.disks) > 0 && h.mon != nil {
		out.Disks, out.Monitor = s.sampleDisks(g)
	}
	out.Name = g.Name
	g.guest = out
}

// sampleDisks asks QEMU. The question has no deadline of its own: it ends with the answer, or with the monitor.
func (s *shared) sampleDisks(g *sampled) ([]sample.Disk, sample.Outcome) {
	h := g.here
	f, err := s.sampler.blocks.Ask(g.UUID.String()+"/"+itoa(int(h.run)), samplePatience, func() (*blockFigures, error) {
		return guestBlocks(context.Background(), h.mon, false)
	})
	switch {
	case err == sample.ErrLate:
		return nil, sample.Late
	case err != nil:
		return nil, sample.Failed
	}
	var out []sample.Disk
	for _, d := range h.disks {
		if b, ok := f.devices[d.alias]; ok {
			out = append(out, sample.Disk{
				Target: d.target, ReadBytes: b.RdBytes, Reads: b.RdOps, WrittenBytes: b.WrBytes, Writes: b.WrOps, Flushes: b.FlushOps,
				ReadTime: time.Duration(b.RdTotalNS), WriteTime: time.Duration(b.WrTotalNS), FlushedTime: time.Duration(b.FlushTotalNS),
			})
		}
	}
	return out, sample.Answered
}

// stateLabel is a state of domains in a scrape.
func stateLabel(state int32) string {
	switch state {
	case virt.DomainRunning:
		return "running"
	case virt.DomainBlocked:
		return "blocked"
	case virt.DomainPaused:
		return "paused"
	case virt.DomainShutdown:
		return "shutdown"
	case virt.DomainShutoff:
		return "shutoff"
	case virt.DomainCrashed:
		return "crashed"
	case virt.DomainPmsuspended:
		return "pmsuspended"
	}
	return "nostate"
}
