package qemu

import (
	"context"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/domxml"
	"virtree/actors/qemu/qmp"
)

// display is what VNC and SPICE have in common.
type display struct {
	kind      string
	port      int
	auto      bool
	keymap    string
	passwd    *string
	validTo   *string
	connected *string
	listeners []libvirtxml.DomainGraphicListener
}

func displayOf(g *libvirtxml.DomainGraphic) *display {
	switch {
	case g.VNC != nil:
		v := g.VNC
		return &display{"vnc", v.Port, v.AutoPort != "no", v.Keymap, &v.Passwd, &v.PasswdValidTo, &v.Connected, v.Listeners}
	case g.Spice != nil:
		s := g.Spice
		return &display{"spice", s.Port, s.AutoPort != "no", s.Keymap, &s.Passwd, &s.PasswdValidTo, &s.Connected, s.Listeners}
	case g.SDL != nil:
		return &display{kind: "sdl"}
	case g.RDP != nil:
		return &display{kind: "rdp"}
	case g.Desktop != nil:
		return &display{kind: "desktop"}
	case g.EGLHeadless != nil:
		return &display{kind: "egl-headless"}
	case g.DBus != nil:
		return &display{kind: "dbus"}
	}
	return &display{}
}

// updateDisplay changes the password of a display; where it listens stays.
func (j *deviceJob) updateDisplay(ctx context.Context, g *libvirtxml.DomainGraphic) error {
	want := displayOf(g)
	def, err := domxml.Clone(j.live)
	if err != nil {
		return err
	}
	var old *display
	for i := range def.Devices.Graphics {
		if o := displayOf(&def.Devices.Graphics[i]); o.kind == want.kind && old == nil {
			old = o
		}
	}
	if old == nil {
		return missingDevice("cannot find existing graphics device to modify of type '%s'", want.kind)
	}
	if want.passwd == nil {
		return unsupportedConfig("unable to change config on '%s' graphics type", want.kind)
	}
	if err := sameListeners(old, want); err != nil {
		return err
	}
	switch {
	case old.auto != want.auto, !want.auto && old.port != want.port:
		return unsupportedOperation("cannot change port settings on %s graphics", want.kind)
	case old.keymap != want.keymap:
		return unsupportedOperation("cannot change keymap setting on %s graphics", want.kind)
	}
	// A lifetime counts from now, so that it is set again although nothing else changes.
	if *old.validTo != "" || *want.validTo != "" || *old.connected != *want.connected || *old.passwd != *want.passwd {
		if err := j.setDisplayPassword(ctx, want); err != nil {
			return err
		}
		*old.passwd, *old.validTo, *old.connected = *want.passwd, *want.validTo, *want.connected
		j.now = def
	}
	return nil
}

// setDisplayPassword tells QEMU. A display without a password of its own takes the configuration's, if there is one.
func (j *deviceJob) setDisplayPassword(ctx context.Context, d *display) error {
	password := *d.passwd
	if password == "" && d.kind == "vnc" {
		password = j.drv.conf.VNCPassword
	}
	if password == "" {
		return nil
	}
	if err := qmp.SetPassword(ctx, j.mon, d.kind, password, *d.connected); err != nil {
		return err
	}
	when := "never"
	if *d.validTo != "" {
		when = expiry(*d.validTo)
	}
	return qmp.ExpirePassword(ctx, j.mon, d.kind, when)
}

func sameListeners(old, want *display) error {
	if len(old.listeners) != len(want.listeners) {
		return unsupportedOperation("cannot change the number of listen addresses on '%s' graphics", want.kind)
	}
	for i, o := range old.listeners {
		w := want.listeners[i]
		switch {
		case (o.Address == nil) != (w.Address == nil), (o.Network == nil) != (w.Network == nil), (o.Socket == nil) != (w.Socket == nil):
			return unsupportedOperation("cannot change the type of listen address on '%s' graphics", want.kind)
		case o.Address != nil && o.Address.Address != w.Address.Address, o.Network != nil && o.Network.Network != w.Network.Network:
			return unsupportedOperation("cannot change listen address setting on '%s' graphics", want.kind)
		case o.Socket != nil && o.Socket.Socket != w.Socket.Socket:
			return unsupportedOperation("cannot change listen socket setting on '%s' graphics", want.kind)
		}
	}
	return nil
}
