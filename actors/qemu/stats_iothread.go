package qemu

import (
	"context"
	"sort"
	"strconv"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// ioThreadIDs lists the ids of a definition's IO threads: those it names, and for the rest of their
// number the lowest free ones.
func ioThreadIDs(def *libvirtxml.Domain) []uint {
	var ids []uint
	used := map[uint]bool{}
	if def.IOThreadIDs != nil {
		for _, t := range def.IOThreadIDs.IOThreads {
			ids, used[t.ID] = append(ids, t.ID), true
		}
	}
	for next := uint(1); len(ids) < int(def.IOThreads); next++ {
		if !used[next] {
			ids, used[next] = append(ids, next), true
		}
	}
	return ids
}

// ioThreadNumber reads the number out of QEMU's id ("iothread3"); ok is false for threads of QEMU's own.
func ioThreadNumber(id string) (n uint32, ok bool) {
	s, found := strings.CutPrefix(id, "iothread")
	if !found {
		return 0, false
	}
	v, err := strconv.ParseUint(s, 10, 32)
	return uint32(v), err == nil
}

// guestIOThreads asks QEMU for its IO threads, in QEMU's order.
func guestIOThreads(ctx context.Context, mon *qmp.Client) ([]qmp.IOThread, error) {
	all, err := qmp.QueryIOThreads(ctx, mon)
	if err != nil {
		return nil, err
	}
	out := all[:0]
	for _, t := range all {
		if _, ok := ioThreadNumber(t.ID); ok {
			out = append(out, t)
		}
	}
	return out, nil
}

func (d *domain) ioThreadInfo(ctx actor.Context, r *call.Request, a *protocol.DomainGetIOThreadInfoArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainGetIOThreadInfo"); err != nil {
		return err
	}
	def, live, err := d.one(a.Flags)
	if err != nil {
		return err
	}
	if live {
		return d.query(ctx, r, func(jc context.Context, mon *qmp.Client) (protocol.Encoder, error) {
			threads, err := guestIOThreads(jc, mon)
			if err != nil {
				return nil, err
			}
			ret := &protocol.DomainGetIOThreadInfoRet{Ret: uint32(len(threads))}
			for _, t := range threads {
				cpus, err := affinity(t.ThreadID)
				if err != nil {
					return nil, liberr.System(liberr.FromNone, err, "cannot get CPU affinity of process %d", t.ThreadID)
				}
				n, _ := ioThreadNumber(t.ID)
				ret.Info = append(ret.Info, protocol.DomainIOThreadInfo{IOThreadID: n, Cpumap: tightMap(cpus)})
			}
			return ret, nil
		})
	}
	d.look(ctx, r, func(context.Context) (protocol.Encoder, error) {
		ids := ioThreadIDs(def)
		ret := &protocol.DomainGetIOThreadInfoRet{Ret: uint32(len(ids))}
		sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
		for _, id := range ids {
			ret.Info = append(ret.Info, protocol.DomainIOThreadInfo{IOThreadID: uint32(id), Cpumap: tightMap(pinSet(def, ioThreadPin(def, id)))})
		}
		return ret, nil
	})
	return nil
}

// tightMap is a map just long enough for its CPUs.
func tightMap(cpus []int) []byte {
	most := 0
	for _, c := range cpus {
		most = max(most, c+1)
	}
	return cpuMap(cpus, mapLen(most))
}
