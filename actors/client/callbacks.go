package client

import (
	"regexp"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
	"virtree/wire/virt"
)

// The procedures that register and deregister event callbacks, oldest form first.

func (c *client) eventRegister(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	return c.register(ctx, p, registration{object: "domain"}, true, func(int32) protocol.Encoder {
		return &protocol.ConnectDomainEventRegisterRet{}
	})
}

func (c *client) eventDeregister(_ actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	_, err := c.remove(p, func(r *registration) bool { return r.id < 0 && r.object == "domain" && r.event == 0 },
		liberr.New(liberr.FromRPC, liberr.InternalError, "domain event %d not registered", 0))
	if err != nil {
		return nil, err
	}
	return &protocol.ConnectDomainEventDeregisterRet{}, nil
}

func (c *client) eventRegisterAny(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectDomainEventRegisterAnyArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	if err := c.legacyEvent(a.EventID); err != nil {
		return nil, err
	}
	return c.register(ctx, p, registration{object: "domain", event: a.EventID}, true, func(int32) protocol.Encoder { return nil })
}

func (c *client) eventDeregisterAny(_ actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectDomainEventDeregisterAnyArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	if err := c.legacyEvent(a.EventID); err != nil {
		return nil, err
	}
	return c.remove(p, func(r *registration) bool { return r.id < 0 && r.object == "domain" && r.event == a.EventID },
		liberr.New(liberr.FromRPC, liberr.InternalError, "domain event %d not registered", a.EventID))
}

// legacyEvent refuses events that came after the form without callback ids.
func (c *client) legacyEvent(id int32) error {
	if !c.opened {
		return notOpen(protocol.ConnectDomainEventRegisterAny.Procedure)
	}
	if e, ok := protocol.LookupEvent("domain", id); !ok || e.Legacy == nil {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "unsupported event ID %d", id)
	}
	return nil
}

// callback is the part that all registrations with a callback id share.
func (c *client) callback(ctx actor.Context, p *rpc.Packet, reg registration, answer func(id int32) protocol.Encoder) (protocol.Encoder, error) {
	if _, ok := protocol.LookupEvent(reg.object, reg.event); !ok {
		what := map[string]string{"domain": "event", "network": "network event", "storage_pool": "storage pool event",
			"node_device": "node device event", "secret": "secret event"}[reg.object]
		return nil, liberr.New(liberr.FromRPC, liberr.InternalError, "unsupported %s ID %d", what, reg.event)
	}
	return c.register(ctx, p, reg, false, answer)
}

// drop deregisters the callback with an id.
func (c *client) drop(p *rpc.Packet, object, what string, id int32) (protocol.Encoder, error) {
	return c.remove(p, func(r *registration) bool {
		return r.id == id && id >= 0 && r.object == object && r.event != call.EventMonitor
	}, liberr.New(liberr.FromRPC, liberr.InternalError, "%s event callback %d not registered", what, id))
}

func (c *client) domainCallbackRegister(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectDomainEventCallbackRegisterAnyArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	reg := registration{object: "domain", event: a.EventID}
	if a.Dom != nil {
		reg.filter = &a.Dom.UUID
	}
	return c.callback(ctx, p, reg, func(id int32) protocol.Encoder {
		return &protocol.ConnectDomainEventCallbackRegisterAnyRet{CallbackID: id}
	})
}

func (c *client) domainCallbackDeregister(_ actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectDomainEventCallbackDeregisterAnyArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	return c.drop(p, "domain", "domain", a.CallbackID)
}

func (c *client) networkEventRegister(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectNetworkEventRegisterAnyArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	reg := registration{object: "network", event: a.EventID}
	if a.Net != nil {
		reg.filter = &a.Net.UUID
	}
	return c.callback(ctx, p, reg, func(id int32) protocol.Encoder {
		return &protocol.ConnectNetworkEventRegisterAnyRet{CallbackID: id}
	})
}

func (c *client) networkEventDeregister(_ actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectNetworkEventDeregisterAnyArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	return c.drop(p, "network", "network", a.CallbackID)
}

func (c *client) poolEventRegister(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectStoragePoolEventRegisterAnyArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	reg := registration{object: "storage_pool", event: a.EventID}
	if a.Pool != nil {
		reg.filter = &a.Pool.UUID
	}
	return c.callback(ctx, p, reg, func(id int32) protocol.Encoder {
		return &protocol.ConnectStoragePoolEventRegisterAnyRet{CallbackID: id}
	})
}

func (c *client) poolEventDeregister(_ actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectStoragePoolEventDeregisterAnyArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	return c.drop(p, "storage_pool", "storage pool", a.CallbackID)
}

func (c *client) nodeDeviceEventRegister(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectNodeDeviceEventRegisterAnyArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	reg := registration{object: "node_device", event: a.EventID}
	if a.Dev != nil {
		reg.name = a.Dev.Name
	}
	return c.callback(ctx, p, reg, func(id int32) protocol.Encoder {
		return &protocol.ConnectNodeDeviceEventRegisterAnyRet{CallbackID: id}
	})
}

func (c *client) nodeDeviceEventDeregister(_ actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectNodeDeviceEventDeregisterAnyArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	return c.drop(p, "node_device", "node device", a.CallbackID)
}

func (c *client) secretEventRegister(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectSecretEventRegisterAnyArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	reg := registration{object: "secret", event: a.EventID}
	if a.Secret != nil {
		reg.filter = &a.Secret.UUID
	}
	return c.callback(ctx, p, reg, func(id int32) protocol.Encoder {
		return &protocol.ConnectSecretEventRegisterAnyRet{CallbackID: id}
	})
}

func (c *client) secretEventDeregister(_ actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.ConnectSecretEventDeregisterAnyArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	return c.drop(p, "secret", "secret", a.CallbackID)
}

// monitorEventRegister registers for QEMU's own events, by name or by pattern.
func (c *client) monitorEventRegister(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.QemuConnectDomainMonitorEventRegisterArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	const allowed = virt.ConnectDomainQemuMonitorEventRegisterRegex | virt.ConnectDomainQemuMonitorEventRegisterNocase
	if err := call.CheckFlags(a.Flags, allowed, liberr.FromNone, "virDomainQemuMonitorEventStateRegisterID"); err != nil {
		return nil, err
	}
	reg := registration{object: "domain", event: call.EventMonitor}
	if a.Dom != nil {
		reg.filter = &a.Dom.UUID
	}
	if a.Event != nil {
		pattern := *a.Event
		if a.Flags&virt.ConnectDomainQemuMonitorEventRegisterRegex == 0 {
			pattern = "^" + regexp.QuoteMeta(pattern) + "$"
		}
		if a.Flags&virt.ConnectDomainQemuMonitorEventRegisterNocase != 0 {
			pattern = "(?i)" + pattern
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, liberr.New(liberr.FromNone, liberr.InvalidArg, "failed to compile regex '%s': %v", *a.Event, err)
		}
		reg.match = re
	}
	return c.register(ctx, p, reg, false, func(id int32) protocol.Encoder {
		return &protocol.QemuConnectDomainMonitorEventRegisterRet{CallbackID: id}
	})
}

func (c *client) monitorEventDeregister(_ actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.QemuConnectDomainMonitorEventDeregisterArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	return c.remove(p, func(r *registration) bool { return r.id == a.CallbackID && r.event == call.EventMonitor },
		liberr.New(liberr.FromRPC, liberr.InternalError, "qemu monitor event callback %d not registered", a.CallbackID))
}
