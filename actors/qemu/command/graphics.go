package command

import (
	"libvirt.org/go/libvirtxml"
)

func (b *builder) graphics() error {
	return each(b.dev.Graphics, func(g *libvirtxml.DomainGraphic) error {
		switch {
		case g.VNC != nil:
			return b.vnc(g)
		case g.Spice != nil:
			return b.spice(g.Spice)
		case g.SDL != nil:
			return b.sdl(g.SDL)
		case g.EGLHeadless != nil:
			return b.eglHeadless(g.EGLHeadless)
		case g.DBus != nil:
			return b.dbusDisplay(g)
		}
		return unsupported("unsupported graphics type")
	})
}

// renderNode is the host's GPU to draw with: the definition's choice, else the host's first.
func (b *builder) renderNode(chosen string) string {
	if chosen != "" {
		return chosen
	}
	return b.rt.RenderNode
}

func (b *builder) sdl(g *libvirtxml.DomainGraphicSDL) error {
	if g.XAuth != "" {
		b.env = append(b.env, "XAUTHORITY="+g.XAuth)
	}
	if g.Display != "" {
		b.env = append(b.env, "DISPLAY="+g.Display)
	}
	if g.FullScreen == "yes" {
		b.bare("-full-screen")
	}
	k := keyval{"sdl"}
	if g.GL != nil {
		k.flag("gl", g.GL.Enable)
	}
	b.arg("-display", k.String())
	return nil
}

func (b *builder) eglHeadless(g *libvirtxml.DomainGraphicEGLHeadless) error {
	k := keyval{"egl-headless"}
	chosen := ""
	if g.GL != nil {
		chosen = g.GL.RenderNode
	}
	k.text("rendernode", b.renderNode(chosen))
	b.arg("-display", k.String())
	return nil
}

func (b *builder) dbusDisplay(g *libvirtxml.DomainGraphic) error {
	d := g.DBus
	k := keyval{"dbus"}
	if d.P2P == "yes" {
		k.set("p2p", "on")
	} else {
		address := d.Address
		if address == "" {
			address = b.rt.DBusAddress
		}
		k.text("addr", address)
	}
	if d.GL != nil {
		k.flag("gl", d.GL.Enable)
		if d.GL.Enable == "yes" {
			k.text("rendernode", b.renderNode(d.GL.RenderNode))
		}
	}
	if g.Audio != nil && g.Audio.ID != 0 {
		k.set("audiodev", audioName(int(g.Audio.ID)))
	}
	b.arg("-display", k.String())
	return nil
}

// listener is where a graphics server listens.
type listener struct {
	address   string
	socket    string
	ownSocket bool // a socket in the domain's own folder
	none      bool
}

// firstListener is the one QEMU is told of. A definition without an address means the configured one.
func firstListener(list []libvirtxml.DomainGraphicListener, address, socket, configured string) listener {
	l := listenerOf(list, address, socket)
	if l.address == "" && l.socket == "" && !l.none && !l.ownSocket {
		l.address = configured
		if configured == "" {
			l.address = "127.0.0.1"
		}
	}
	return l
}

func listenerOf(list []libvirtxml.DomainGraphicListener, address, socket string) listener {
	if len(list) > 0 {
		switch l := list[0]; {
		case l.Socket != nil:
			return listener{socket: l.Socket.Socket, ownSocket: l.Socket.Socket == ""}
		case l.Address != nil:
			return listener{address: l.Address.Address}
		case l.Network != nil:
			return listener{address: l.Network.Address}
		default:
			return listener{none: true}
		}
	}
	return listener{address: address, socket: socket}
}

// defaultAudio is the audio device of a graphics server and of sound devices that name none: the first.
func (b *builder) defaultAudio() string {
	if len(b.dev.Audios) == 0 {
		return ""
	}
	return audioName(b.dev.Audios[0].ID)
}
