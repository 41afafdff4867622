package qemu

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Statistics of many domains in one call. The branch passes the call on to every domain that it is about,
// all at once, and gathers the records in a job:
//
//	branch --call--> domain: full record (asks QEMU, as a job of the domain)
//	                 | nothing within statsPatience: call with statsPlain
//	                 v
//	                 what needs no QEMU | nothing: what the branch's index knows
//
// So one stuck guest costs its own figures and statsPatience, and never the call.

const (
	statsFilters = virt.ConnectGetAllDomainsStatsActive | virt.ConnectGetAllDomainsStatsInactive |
		virt.ConnectGetAllDomainsStatsPersistent | virt.ConnectGetAllDomainsStatsTransient |
		virt.ConnectGetAllDomainsStatsRunning | virt.ConnectGetAllDomainsStatsPaused |
		virt.ConnectGetAllDomainsStatsShutoff | virt.ConnectGetAllDomainsStatsOther
	statsFlags = statsFilters | virt.ConnectGetAllDomainsStatsNowait | virt.ConnectGetAllDomainsStatsBacking | virt.ConnectGetAllDomainsStatsEnforceStats

	// statsPlain, between branch and domain only: without asking QEMU.
	statsPlain = 1 << 28

	// statsPatience is how long the branch waits for full records; statsPlainPatience then for plain ones.
	statsPatience      = 5 * time.Second
	statsPlainPatience = time.Second
)

// statsGroups are all groups of figures.
const statsGroups = virt.DomainStatsState | virt.DomainStatsCPUTotal | virt.DomainStatsBalloon | virt.DomainStatsVCPU |
	virt.DomainStatsInterface | virt.DomainStatsBlock | virt.DomainStatsPerf | virt.DomainStatsIOThread |
	virt.DomainStatsMemory | virt.DomainStatsDirtyrate | virt.DomainStatsVm

// allDomainStats serves virConnectGetAllDomainStats and virDomainListGetStats.
func (dr *driver) allDomainStats(ctx actor.Context, r *call.Request, a *protocol.ConnectGetAllDomainStatsArgs) error {
	if err := call.CheckFlags(a.Flags, statsFlags, liberr.FromQemu, "qemuConnectGetAllDomainStats"); err != nil {
		return err
	}
	groups := a.Stats
	if groups == 0 {
		groups = statsGroups
	}
	if bad := groups &^ statsGroups; bad != 0 && a.Flags&virt.ConnectGetAllDomainsStatsEnforceStats != 0 {
		return liberr.New(liberr.FromQemu, liberr.ArgumentUnsupported, "Stats types bits 0x%x are not supported by this daemon or QEMU", bad)
	}
	var list []*asked
	take := func(e *entry) { list = append(list, &asked{Summary: e.Summary, pid: e.PID}) }
	if len(a.Doms) > 0 {
		for _, d := range a.Doms {
			if e := dr.Find(d.UUID); e != nil && e.fits(a.Flags&statsFilters) {
				take(e)
			}
		}
	} else {
		for _, e := range dr.selected(func(e *entry) bool { return e.fits(a.Flags & statsFilters) }) {
			take(e)
		}
	}
	s, caller := dr.shared, r.Caller
	dr.answer(ctx, r, func(jc context.Context) (protocol.Encoder, error) {
		return s.gather(jc, list, groups, a.Flags&^statsFilters, caller), nil
	})
	return nil
}

// asked is a domain on its way into the answer.
type asked struct {
	Summary
	pid    *actor.PID
	future *actor.Future
	record *protocol.DomainStatsRecord
	gone   bool
}

// gather asks all domains and waits for their records.
func (s *shared) gather(ctx context.Context, list []*asked, groups, flags uint32, caller *call.Caller) *protocol.ConnectGetAllDomainStatsRet {
	s.round(ctx, list, groups, flags, caller, statsPatience)
	s.round(ctx, list, groups, flags|statsPlain, caller, statsPlainPatience)
	ret := &protocol.ConnectGetAllDomainStatsRet{}
	for _, d := range list {
		switch {
		case d.record != nil:
			ret.RetStats = append(ret.RetStats, *d.record)
		case !d.gone:
			ret.RetStats = append(ret.RetStats, d.indexed(groups))
		}
	}
	return ret
}

// round asks those that have not answered yet.
func (s *shared) round(ctx context.Context, list []*asked, groups, flags uint32, caller *call.Caller, patience time.Duration) {
	deadline := time.Now().Add(patience)
	for i, d := range list {
		if d.record != nil || d.gone {
			continue
		}
		args := &protocol.ConnectGetAllDomainStatsArgs{Doms: []protocol.Domain{{Name: d.Name, UUID: d.UUID, ID: d.ID}}, Stats: groups, Flags: flags}
		c := &call.Call{Proc: protocol.ConnectGetAllDomainStats.Procedure, Serial: uint64(i + 1), Args: args.AppendXDR(nil), Caller: caller, Deadline: deadline}
		d.future = s.system.Root.RequestFuture(d.pid, c, patience)
	}
	for _, d := range list {
		if d.future == nil {
			continue
		}
		d.take(d.future.Result()) // every future ends by itself, at the same deadline
		d.future = nil
		if ctx.Err() != nil {
			return
		}
	}
}

// take reads a domain's answer. One that is gone has no record; one that fails is asked again for less.
func (d *asked) take(answer any, err error) {
	reply, ok := answer.(*call.Reply)
	if err != nil || !ok {
		return
	}
	if reply.Err != nil {
		d.gone = errors.Is(reply.Err, liberr.NoDomain)
		return
	}
	var ret protocol.ConnectGetAllDomainStatsRet
	if protocol.Unmarshal(reply.Ret, &ret) == nil && len(ret.RetStats) == 1 {
		d.record = &ret.RetStats[0]
	}
}

// indexed is the record of a domain whose actor does not answer.
func (d *asked) indexed(groups uint32) protocol.DomainStatsRecord {
	rec := protocol.DomainStatsRecord{Dom: protocol.Domain{Name: d.Name, UUID: d.UUID, ID: d.ID}}
	if groups&virt.DomainStatsState != 0 {
		rec.Params = []protocol.TypedParam{paramInt("state.state", d.State), paramInt("state.reason", 0)}
	}
	return rec
}
