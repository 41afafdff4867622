package qemu

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// affect tells which of its definitions a call is about, as virDomainModificationImpact says.
type affect struct{ live, config bool }

// affected resolves the flags CURRENT, LIVE and CONFIG, and refuses what the domain does not have.
func (d *domain) affected(flags uint32) (affect, error) {
	a := affect{flags&virt.DomainAffectLive != 0, flags&virt.DomainAffectConfig != 0}
	if !a.live && !a.config {
		a.live = d.active()
		a.config = !a.live
	}
	if a.live && !d.active() {
		return a, liberr.New(liberr.FromDomain, liberr.OperationInvalid, "domain is not running")
	}
	if a.config && d.config == nil {
		return a, liberr.New(liberr.FromDomain, liberr.OperationInvalid, "transient domains do not have any persistent config")
	}
	return a, nil
}

const affectFlags = virt.DomainAffectLive | virt.DomainAffectConfig

func (d *domain) getMetadata(_ actor.Context, _ *call.Request, a *protocol.DomainGetMetadataArgs) (*protocol.DomainGetMetadataRet, error) {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainGetMetadata"); err != nil {
		return nil, err
	}
	aff, err := d.affected(a.Flags)
	if err != nil {
		return nil, err
	}
	doc := d.config
	if aff.live {
		doc = d.live
	}
	def, err := doc.Def()
	if err != nil {
		return nil, err
	}
	uri := ""
	if a.URI != nil {
		uri = *a.URI
	}
	text, ok := domxml.Metadata(def, domxml.MetadataType(a.Type), uri)
	if !ok {
		return nil, noMetadata(a.Type)
	}
	return &protocol.DomainGetMetadataRet{Metadata: text}, nil
}

// noMetadata is the answer where there is none, in libvirt's words.
func noMetadata(typ int32) error {
	return liberr.New(liberr.FromDomain, liberr.NoDomainMetadata, "Requested metadata element is not present")
}

// setMetadata serves virDomainSetMetadata: title, description and clients' own elements.
func (d *domain) setMetadata(ctx actor.Context, r *call.Request, a *protocol.DomainSetMetadataArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainSetMetadata"); err != nil {
		return err
	}
	if a.Type < virt.DomainMetadataDescription || a.Type > virt.DomainMetadataElement {
		return liberr.New(liberr.FromDomain, liberr.InvalidArg, "unknown metadata type %d", a.Type)
	}
	return d.edit(ctx, r, a.Flags, func(def *libvirtxml.Domain) error {
		return domxml.SetMetadata(def, domxml.MetadataType(a.Type), a.Metadata, text(a.Key), text(a.URI))
	}, func(d *domain, ctx actor.Context) (protocol.Encoder, error) {
		d.publish(ctx, virt.DomainEventIDMetadataChange, tail{&protocol.DomainEventCallbackMetadataChangeMsg{Dom: d.ref(), Type: a.Type, Nsuri: a.URI}})
		return nil, nil
	})
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// edit changes the definitions that the flags name, by the same function, and stores what is persistent
// before the answer. It is for changes that QEMU need not hear of.
func (d *domain) edit(ctx actor.Context, r *call.Request, flags uint32, change func(*libvirtxml.Domain) error, then func(*domain, actor.Context) (protocol.Encoder, error)) error {
	aff, err := d.affected(flags)
	if err != nil {
		return err
	}
	drv, name := d.drv, d.name
	type edited struct{ live, config *document }
	var live, config *document
	d.start(ctx, &task{
		kind: jobModify, req: r,
		prepare: func(d *domain) { live, config, err = d.turnOf(aff) },
		run: func(context.Context, *kit.Undo) (any, error) {
			var out edited
			if err != nil {
				return nil, err
			}
			for _, e := range []struct {
				want bool
				from *document
				to   **document
			}{{aff.live, live, &out.live}, {aff.config, config, &out.config}} {
				if !e.want {
					continue
				}
				def, err := domxml.Clone(e.from.def)
				if err != nil {
					return nil, err
				}
				if err := change(def); err != nil {
					return nil, err
				}
				*e.to = newDocument(def, &drv.xmlEnv)
			}
			if out.config != nil {
				text, err := out.config.Stored()
				if err != nil {
					return nil, err
				}
				if err := drv.storeConfig(name, text); err != nil {
					return nil, err
				}
			}
			return out, nil
		},
		apply: func(d *domain, ctx actor.Context, v any) (protocol.Encoder, error) {
			out := v.(edited)
			if out.live != nil && d.live != nil {
				d.renewLive(ctx, live, out.live)
			}
			if out.config != nil {
				d.config = out.config
				d.config.rest()
			}
			d.tell(ctx)
			if then == nil {
				return nil, nil
			}
			return then(d, ctx)
		},
	})
	return nil
}
