package qemu

import (
	"context"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// parseTimeout bounds the reading of a document, which may have to probe a binary first.
const parseTimeout = 2 * time.Minute

func (dr *driver) defineXML(ctx actor.Context, r *call.Request, a *protocol.DomainDefineXMLArgs) error {
	dr.defineDoc(ctx, r, a.XML, 0)
	return nil
}

func (dr *driver) defineXMLFlags(ctx actor.Context, r *call.Request, a *protocol.DomainDefineXMLFlagsArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainDefineValidate, liberr.FromQemu, "qemuDomainDefineXMLFlags"); err != nil {
		return err
	}
	dr.defineDoc(ctx, r, a.XML, a.Flags)
	return nil
}

// defineDoc reads the document in a job, then finds or makes the domain that it defines.
func (dr *driver) defineDoc(ctx actor.Context, r *call.Request, xml string, flags uint32) {
	dr.parse(ctx, r, xml, flags&virt.DomainDefineValidate != 0, func(ctx actor.Context, def *libvirtxml.Domain) error {
		e, err := dr.target(ctx, def, false)
		if err != nil {
			return err
		}
		ctx.Send(e.PID, &define{req: r, doc: newDocument(def, &dr.shared.xmlEnv)})
		return nil
	})
}

func (dr *driver) createXML(ctx actor.Context, r *call.Request, a *protocol.DomainCreateXMLArgs) error {
	if err := call.CheckFlags(a.Flags, startFlags, liberr.FromQemu, "qemuDomainCreateXML"); err != nil {
		return err
	}
	dr.createDoc(ctx, r, a.XMLDesc, a.Flags)
	return nil
}

func (dr *driver) createDoc(ctx actor.Context, r *call.Request, xml string, flags uint32) {
	dr.parse(ctx, r, xml, flags&virt.DomainStartValidate != 0, func(ctx actor.Context, def *libvirtxml.Domain) error {
		e, err := dr.target(ctx, def, true)
		if err != nil {
			return err
		}
		ctx.Send(e.PID, &create{req: r, doc: newDocument(def, &dr.shared.xmlEnv), flags: flags})
		return nil
	})
}

// parse reads a client's document outside of the branch's Receive.
func (dr *driver) parse(ctx actor.Context, r *call.Request, xml string, validate bool, then func(actor.Context, *libvirtxml.Domain) error) {
	env := dr.shared.xmlEnv
	dr.job(ctx, holderName(r.Proc), parseTimeout, func(jc context.Context) (any, error) {
		if validate {
			if err := domxml.ValidateSchema(jc, []byte(xml), domxml.DomainSchema); err != nil {
				return nil, err
			}
		}
		return domxml.Parse([]byte(xml), env, 0)
	}, func(ctx actor.Context, out any, err error) {
		if err == nil {
			err = then(ctx, out.(*libvirtxml.Domain))
		}
		if err != nil {
			r.Fail(liberr.From(liberr.FromQemu, err))
		}
	})
}

// target finds the domain that a document is about, or makes one, by libvirt's rules on names and UUIDs.
func (dr *driver) target(ctx actor.Context, def *libvirtxml.Domain, live bool) (*entry, error) {
	uuid := parseUUID(def.UUID)
	if e := dr.ByUUID[uuid]; e != nil {
		if e.Name != def.Name {
			return nil, liberr.New(liberr.FromDomain, liberr.OperationFailed, "domain '%s' is already defined with uuid %s", e.Name, uuid)
		}
		if live && e.Active() {
			return nil, liberr.New(liberr.FromDomain, liberr.OperationInvalid, "domain '%s' is already active", e.Name)
		}
		return e, nil
	}
	if e := dr.ByName[def.Name]; e != nil {
		return nil, liberr.New(liberr.FromDomain, liberr.OperationFailed, "domain '%s' already exists with uuid %s", def.Name, e.UUID)
	}
	e, err := dr.spawn(ctx, def.Name, uuid, &seed{fresh: true})
	if err != nil {
		return nil, err
	}
	e.Pending = true
	return e, nil
}

// rename serves virDomainRename: it reserves the new name and lets the domain do the rest.
func (dr *driver) rename(ctx actor.Context, r *call.Request, a *protocol.DomainRenameArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainRename"); err != nil {
		return err
	}
	e := dr.Find(a.Dom.UUID)
	if e == nil {
		return noDomain(a.Dom.UUID, a.Dom.Name)
	}
	name := ""
	if a.NewName != nil {
		name = *a.NewName
	}
	switch {
	case name == "":
		return liberr.New(liberr.FromDomain, liberr.InvalidArg, "newName in %s must not be NULL", "virDomainRename")
	case strings.Contains(name, "/"):
		return liberr.New(liberr.FromXML, liberr.XMLError, "name %s cannot contain '/'", name)
	case name == e.Name:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "Can't rename domain to itself")
	case dr.ByName[name] != nil:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain with name '%s' already exists", name)
	}
	dr.ByName[name] = e
	ctx.Send(e.PID, &rename{req: r, name: name})
	return nil
}
