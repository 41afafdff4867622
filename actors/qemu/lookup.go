package qemu

import (
	"maps"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Lookups and lists: answered by the branch from its index, whatever the domains are doing.

func (e *entry) ref() protocol.Domain { return protocol.Domain{Name: e.Name, UUID: e.UUID, ID: e.ID} }

func (dr *driver) lookupByName(_ actor.Context, _ *call.Request, a *protocol.DomainLookupByNameArgs) (*protocol.DomainLookupByNameRet, error) {
	e := dr.FindName(a.Name)
	if e == nil || e.Name != a.Name {
		return nil, liberr.New(liberr.FromQemu, liberr.NoDomain, "no domain with matching name '%s'", a.Name)
	}
	return &protocol.DomainLookupByNameRet{Dom: e.ref()}, nil
}

func (dr *driver) lookupByUUID(_ actor.Context, _ *call.Request, a *protocol.DomainLookupByUUIDArgs) (*protocol.DomainLookupByUUIDRet, error) {
	e := dr.Find(a.UUID)
	if e == nil {
		return nil, liberr.New(liberr.FromQemu, liberr.NoDomain, "no domain with matching uuid '%s'", a.UUID)
	}
	return &protocol.DomainLookupByUUIDRet{Dom: e.ref()}, nil
}

func (dr *driver) lookupByID(_ actor.Context, _ *call.Request, a *protocol.DomainLookupByIDArgs) (*protocol.DomainLookupByIDRet, error) {
	e := dr.byID[a.ID]
	if e == nil {
		return nil, liberr.New(liberr.FromQemu, liberr.NoDomain, "no domain with matching id %d", a.ID)
	}
	return &protocol.DomainLookupByIDRet{Dom: e.ref()}, nil
}

// known finds the domain of a call that the index answers.
func (dr *driver) known(d protocol.Domain) (*entry, error) {
	if e := dr.Find(d.UUID); e != nil {
		return e, nil
	}
	return nil, noDomain(d.UUID, d.Name)
}

func (dr *driver) state(_ actor.Context, _ *call.Request, a *protocol.DomainGetStateArgs) (*protocol.DomainGetStateRet, error) {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainGetState"); err != nil {
		return nil, err
	}
	e, err := dr.known(a.Dom)
	if err != nil {
		return nil, err
	}
	return &protocol.DomainGetStateRet{State: e.State, Reason: e.Reason}, nil
}

func (dr *driver) isActive(_ actor.Context, _ *call.Request, a *protocol.DomainIsActiveArgs) (*protocol.DomainIsActiveRet, error) {
	e, err := dr.known(a.Dom)
	if err != nil {
		return nil, err
	}
	return &protocol.DomainIsActiveRet{Active: truth(e.Active())}, nil
}

func (dr *driver) isPersistent(_ actor.Context, _ *call.Request, a *protocol.DomainIsPersistentArgs) (*protocol.DomainIsPersistentRet, error) {
	e, err := dr.known(a.Dom)
	if err != nil {
		return nil, err
	}
	return &protocol.DomainIsPersistentRet{Persistent: truth(e.Persistent)}, nil
}

// isUpdated tells whether the persistent definition was changed while the guest ran.
func (dr *driver) isUpdated(_ actor.Context, _ *call.Request, a *protocol.DomainIsUpdatedArgs) (*protocol.DomainIsUpdatedRet, error) {
	e, err := dr.known(a.Dom)
	if err != nil {
		return nil, err
	}
	return &protocol.DomainIsUpdatedRet{Updated: truth(e.Updated)}, nil
}

func (dr *driver) getAutostart(_ actor.Context, _ *call.Request, a *protocol.DomainGetAutostartArgs) (*protocol.DomainGetAutostartRet, error) {
	e, err := dr.known(a.Dom)
	if err != nil {
		return nil, err
	}
	return &protocol.DomainGetAutostartRet{Autostart: truth(e.Autostart)}, nil
}

// selected returns the visible domains that fit, in the order of their names.
func (dr *driver) selected(fits func(*entry) bool) []*entry {
	if dr.order == nil {
		dr.order = slices.SortedFunc(maps.Values(dr.ByUUID), func(a, b *entry) int { return strings.Compare(a.Name, b.Name) })
	}
	all := make([]*entry, 0, len(dr.order))
	for _, e := range dr.order {
		if !e.Pending && fits(e) {
			all = append(all, e)
		}
	}
	return all
}

func isActive(e *entry) bool   { return e.Active() }
func isInactive(e *entry) bool { return !e.Active() }

func (dr *driver) count(fits func(*entry) bool) int32 { return int32(len(dr.Visible(fits))) }

func (dr *driver) numOfDomains(actor.Context, *call.Request, *protocol.Void) (*protocol.ConnectNumOfDomainsRet, error) {
	return &protocol.ConnectNumOfDomainsRet{Num: dr.count(isActive)}, nil
}

func (dr *driver) numOfDefinedDomains(actor.Context, *call.Request, *protocol.Void) (*protocol.ConnectNumOfDefinedDomainsRet, error) {
	return &protocol.ConnectNumOfDefinedDomainsRet{Num: dr.count(isInactive)}, nil
}

func (dr *driver) listDomains(_ actor.Context, _ *call.Request, a *protocol.ConnectListDomainsArgs) (*protocol.ConnectListDomainsRet, error) {
	if a.Maxids < 0 || a.Maxids > protocol.RemoteDomainListMax {
		return nil, tooMany("domain IDs", a.Maxids)
	}
	ret := &protocol.ConnectListDomainsRet{}
	for _, e := range dr.selected(isActive) {
		if len(ret.IDs) < int(a.Maxids) {
			ret.IDs = append(ret.IDs, e.ID)
		}
	}
	return ret, nil
}

func (dr *driver) listDefinedDomains(_ actor.Context, _ *call.Request, a *protocol.ConnectListDefinedDomainsArgs) (*protocol.ConnectListDefinedDomainsRet, error) {
	if a.Maxnames < 0 || a.Maxnames > protocol.RemoteDomainListMax {
		return nil, tooMany("domain names", a.Maxnames)
	}
	ret := &protocol.ConnectListDefinedDomainsRet{}
	for _, e := range dr.selected(isInactive) {
		if len(ret.Names) < int(a.Maxnames) {
			ret.Names = append(ret.Names, e.Name)
		}
	}
	return ret, nil
}

func tooMany(what string, n int32) error {
	return liberr.New(liberr.FromRPC, liberr.RPC, "too many %s: %d > %d,in parameter 'maxnames' for 'virConnectListDomains'", what, n, protocol.RemoteDomainListMax)
}

func (dr *driver) listAllDomains(_ actor.Context, _ *call.Request, a *protocol.ConnectListAllDomainsArgs) (*protocol.ConnectListAllDomainsRet, error) {
	if err := call.CheckFlags(a.Flags, virt.ConnectListDomainsActive|virt.ConnectListDomainsInactive|
		virt.ConnectListDomainsPersistent|virt.ConnectListDomainsTransient|
		virt.ConnectListDomainsRunning|virt.ConnectListDomainsPaused|virt.ConnectListDomainsShutoff|virt.ConnectListDomainsOther|
		virt.ConnectListDomainsManagedsave|virt.ConnectListDomainsNoManagedsave|
		virt.ConnectListDomainsAutostart|virt.ConnectListDomainsNoAutostart|
		virt.ConnectListDomainsHasSnapshot|virt.ConnectListDomainsNoSnapshot|
		virt.ConnectListDomainsHasCheckpoint|virt.ConnectListDomainsNoCheckpoint,
		liberr.FromQemu, "qemuConnectListAllDomains"); err != nil {
		return nil, err
	}
	fit := dr.selected(func(e *entry) bool { return e.fits(a.Flags) })
	ret := &protocol.ConnectListAllDomainsRet{Ret: uint32(len(fit))}
	if a.NeedResults != 0 {
		ret.Domains = make([]protocol.Domain, len(fit))
		for i, e := range fit {
			ret.Domains[i] = e.ref()
		}
	}
	return ret, nil
}

// fits applies the filters of virConnectListAllDomains: within a group one must hold, and of each group
// that is used.
func (e *entry) fits(flags uint32) bool {
	pair := func(yes, no uint32, is bool) bool {
		f := flags & (yes | no)
		return f == 0 || is && f&yes != 0 || !is && f&no != 0
	}
	return pair(virt.ConnectListDomainsActive, virt.ConnectListDomainsInactive, e.Active()) &&
		pair(virt.ConnectListDomainsPersistent, virt.ConnectListDomainsTransient, e.Persistent) &&
		pair(virt.ConnectListDomainsManagedsave, virt.ConnectListDomainsNoManagedsave, e.Saved) &&
		pair(virt.ConnectListDomainsAutostart, virt.ConnectListDomainsNoAutostart, e.Autostart) &&
		pair(virt.ConnectListDomainsHasSnapshot, virt.ConnectListDomainsNoSnapshot, e.Snapshot) &&
		pair(virt.ConnectListDomainsHasCheckpoint, virt.ConnectListDomainsNoCheckpoint, e.Checkpoint) &&
		e.stateFits(flags)
}

func (e *entry) stateFits(flags uint32) bool {
	const states = virt.ConnectListDomainsRunning | virt.ConnectListDomainsPaused | virt.ConnectListDomainsShutoff | virt.ConnectListDomainsOther
	if flags&states == 0 {
		return true
	}
	switch e.State {
	case virt.DomainRunning:
		return flags&virt.ConnectListDomainsRunning != 0
	case virt.DomainPaused:
		return flags&virt.ConnectListDomainsPaused != 0
	case virt.DomainShutoff:
		return flags&virt.ConnectListDomainsShutoff != 0
	}
	return flags&virt.ConnectListDomainsOther != 0
}
