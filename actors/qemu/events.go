package qemu

import (
	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/qmp"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// tail is the wire form of an event message without the callback id it begins with.
type tail struct{ protocol.Encoder }

// AppendXDR appends the message from its second field on.
func (t tail) AppendXDR(b []byte) []byte {
	return append(b, t.Encoder.AppendXDR(nil)[4:]...)
}

// deviceEvent translates the events of QEMU that concern one device.
func (d *domain) deviceEvent(ctx actor.Context, ev qmp.Event) {
	switch ev.Name {
	case "RTC_CHANGE":
		var data qmp.RTCChangeData
		if ev.Decode(&data) == nil {
			d.publish(ctx, virt.DomainEventIDRtcChange, &protocol.DomainEventRtcChangeMsg{Dom: d.ref(), Offset: data.Offset})
		}
	case "WATCHDOG":
		var data qmp.WatchdogData
		if ev.Decode(&data) == nil {
			d.publish(ctx, virt.DomainEventIDWatchdog, &protocol.DomainEventWatchdogMsg{Dom: d.ref(), Action: watchdogAction(data.Action)})
		}
	case "BALLOON_CHANGE":
		var data qmp.BalloonChangeData
		if ev.Decode(&data) == nil {
			d.ballooned(ctx, data.Actual)
		}
	case "DEVICE_TRAY_MOVED":
		d.trayMoved(ctx, ev)
	case "BLOCK_IO_ERROR":
		d.ioError(ctx, ev)
	case "DEVICE_DELETED", "DEVICE_UNPLUG_GUEST_ERROR", "ACPI_DEVICE_OST":
		d.unplugEvent(ctx, ev)
	case "VSERPORT_CHANGE":
		d.portChanged(ctx, ev)
	case "VNC_CONNECTED", "VNC_INITIALIZED", "VNC_DISCONNECTED", "SPICE_CONNECTED", "SPICE_INITIALIZED", "SPICE_DISCONNECTED":
		d.displayEvent(ctx, ev)
	}
}

func watchdogAction(name string) int32 {
	for i, s := range []string{"none", "pause", "reset", "poweroff", "shutdown", "debug", "inject-nmi"} {
		if s == name {
			return int32(i)
		}
	}
	return 0
}

// ballooned keeps the current memory of the live definition and tells of it.
func (d *domain) ballooned(ctx actor.Context, bytes uint64) {
	def, err := d.live.Clone()
	if err != nil {
		return
	}
	def.CurrentMemory = &libvirtxml.DomainCurrentMemory{Value: uint(bytes >> 10), Unit: "KiB"}
	d.live = newDocument(def, &d.drv.xmlEnv)
	d.saveStatus(ctx)
	d.publish(ctx, virt.DomainEventIDBalloonChange, &protocol.DomainEventBalloonChangeMsg{Dom: d.ref(), Actual: bytes >> 10})
}

// trayMoved keeps whether a removable disk's tray is open.
func (d *domain) trayMoved(ctx actor.Context, ev qmp.Event) {
	var data qmp.TrayMovedData
	if ev.Decode(&data) != nil {
		return
	}
	def, err := d.live.Clone()
	if err != nil {
		return
	}
	reason := int32(virt.DomainEventTrayChangeClose)
	if data.TrayOpen {
		reason = virt.DomainEventTrayChangeOpen
	}
	for i := range def.Devices.Disks {
		disk := &def.Devices.Disks[i]
		if disk.Alias == nil || disk.Alias.Name != data.ID && disk.Alias.Name != data.Device {
			continue
		}
		disk.Target.Tray = ""
		if data.TrayOpen {
			disk.Target.Tray = "open"
		}
		d.live = newDocument(def, &d.drv.xmlEnv)
		d.saveStatus(ctx)
		d.publish(ctx, virt.DomainEventIDTrayChange, &protocol.DomainEventTrayChangeMsg{Dom: d.ref(), DevAlias: disk.Alias.Name, Reason: reason})
		return
	}
}

// ioError tells of a disk's error, in both of libvirt's forms; QEMU's STOP follows when the guest is to
// pause over it.
func (d *domain) ioError(ctx actor.Context, ev qmp.Event) {
	var data qmp.BlockIOErrorData
	if ev.Decode(&data) != nil {
		return
	}
	action := int32(virt.DomainEventIOErrorNone)
	switch data.Action {
	case "stop":
		action = virt.DomainEventIOErrorPause
		d.run.paused = virt.DomainPausedIoerror
	case "report":
		action = virt.DomainEventIOErrorReport
	}
	reason := ""
	if data.NoSpace {
		reason = "enospc"
	}
	path, alias := "", data.Device
	if def, err := d.live.Def(); err == nil {
		for _, disk := range def.Devices.Disks {
			if disk.Alias != nil && (disk.Alias.Name == data.Device || "drive-"+disk.Alias.Name == data.Device) {
				alias = disk.Alias.Name
				path = diskPath(&disk)
			}
		}
	}
	d.publish(ctx, virt.DomainEventIDIOError, &protocol.DomainEventIOErrorMsg{Dom: d.ref(), SrcPath: path, DevAlias: alias, Action: action})
	d.publish(ctx, virt.DomainEventIDIOErrorReason, &protocol.DomainEventIOErrorReasonMsg{Dom: d.ref(), SrcPath: path, DevAlias: alias, Action: action, Reason: reason})
}

// portChanged keeps whether the guest has a channel open, and tells of the guest agent's.
func (d *domain) portChanged(ctx actor.Context, ev qmp.Event) {
	var data qmp.SerialPortData
	if ev.Decode(&data) != nil {
		return
	}
	def, err := d.live.Clone()
	if err != nil {
		return
	}
	state, wire := "disconnected", int32(agentDisconnected)
	if data.Open {
		state, wire = "connected", agentConnected
	}
	for i := range def.Devices.Channels {
		c := &def.Devices.Channels[i]
		if c.Alias == nil || c.Alias.Name != data.ID || c.Target == nil || c.Target.VirtIO == nil || c.Target.VirtIO.State == state {
			continue
		}
		c.Target.VirtIO.State = state
		d.live = newDocument(def, &d.drv.xmlEnv)
		d.saveStatus(ctx)
		if c.Target.VirtIO.Name == agentChannel {
			d.agentEvent(ctx, wire, virt.ConnectDomainEventAgentLifecycleReasonChannel)
		}
		return
	}
}

// agentChannel is the name of the guest agent's port.
const agentChannel = "org.qemu.guest_agent.0"

// agentAtStart tells that the guest agent of a new guest is not there yet.
func (d *domain) agentAtStart(ctx actor.Context) {
	def, err := d.live.Def()
	if err != nil {
		return
	}
	if agentState(def) {
		d.agentEvent(ctx, agentDisconnected, virt.ConnectDomainEventAgentLifecycleReasonDomainStarted)
	}
}

func (d *domain) agentEvent(ctx actor.Context, state, reason int32) {
	d.agentLeft()
	d.publish(ctx, virt.DomainEventIDAgentLifecycle, tail{&protocol.DomainEventCallbackAgentLifecycleMsg{Dom: d.ref(), State: state, Reason: reason}})
}

// displayEvent tells who connected to or left a display.
func (d *domain) displayEvent(ctx actor.Context, ev qmp.Event) {
	var data qmp.DisplayData
	if ev.Decode(&data) != nil {
		return
	}
	phase := map[string]int32{"CONNECTED": virt.DomainEventGraphicsConnect, "INITIALIZED": virt.DomainEventGraphicsInitialize,
		"DISCONNECTED": virt.DomainEventGraphicsDisconnect}[ev.Name[lastUnderscore(ev.Name):]]
	msg := &protocol.DomainEventGraphicsMsg{
		Dom: d.ref(), Phase: phase, AuthScheme: data.Server.Auth,
		Local:  protocol.DomainEventGraphicsAddress{Family: displayFamily(data.Server.Family), Node: data.Server.Host, Service: port(data.Server)},
		Remote: protocol.DomainEventGraphicsAddress{Family: displayFamily(data.Client.Family), Node: data.Client.Host, Service: port(data.Client)},
	}
	if data.Client.X509DName != "" {
		msg.Subject = append(msg.Subject, protocol.DomainEventGraphicsIdentity{Type: "x509dname", Name: data.Client.X509DName})
	}
	if data.Client.SASLUsername != "" {
		msg.Subject = append(msg.Subject, protocol.DomainEventGraphicsIdentity{Type: "saslUsername", Name: data.Client.SASLUsername})
	}
	d.publish(ctx, virt.DomainEventIDGraphics, msg)
}

// port is the service of a peer: VNC and SPICE name it differently.
func port(p qmp.DisplayPeer) string {
	if p.Service != "" {
		return p.Service
	}
	return p.Port
}

func lastUnderscore(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '_' {
			return i + 1
		}
	}
	return 0
}

func displayFamily(s string) int32 {
	switch s {
	case "ipv6":
		return virt.DomainEventGraphicsAddressIPv6
	case "unix":
		return virt.DomainEventGraphicsAddressUnix
	}
	return virt.DomainEventGraphicsAddressIPv4
}
