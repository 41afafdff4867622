package command

import (
	"path"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// firstVNCPort is the port of display 0.
const firstVNCPort = 5900

func (b *builder) vnc(g *libvirtxml.DomainGraphic) error {
	v := g.VNC
	l := firstListener(v.Listeners, v.Listen, v.Socket, b.rt.VNC.Listen)
	k := keyval{}
	switch {
	case l.none:
		k = append(k, "none")
	case l.socket != "" || l.ownSocket:
		socket := l.socket
		if socket == "" {
			socket = path.Join(b.rt.LibDir, "vnc.sock")
		}
		k.set("vnc", "unix:"+socket)
	default:
		if v.Port != 0 && v.Port != -1 && v.Port < firstVNCPort {
			return unsupported("vnc port must be in range [5900,65535]")
		}
		port := v.Port
		if port <= 0 {
			port = firstVNCPort
		}
		host := l.address
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		k.word(host + ":" + itoa(port-firstVNCPort))
		if v.WebSocket != 0 {
			k.set("websocket", itoa(v.WebSocket))
		}
	}
	k.text("share", v.SharePolicy)
	if v.Passwd != "" || b.rt.VNC.Password {
		k.set("password", "on")
	}
	if b.rt.VNC.TLS.Dir != "" {
		id, err := b.tlsCreds(vncTLS, tlsSecret(vncTLS), b.rt.VNC.TLS, "server")
		if err != nil {
			return err
		}
		k.set("tls-creds", id)
	}
	if b.rt.VNC.SASL {
		k.set("sasl", "on")
		b.saslDir(b.rt.VNC.SASLDir)
	}
	k.flag("power-control", v.PowerControl)
	audio := b.defaultAudio()
	if g.Audio != nil && g.Audio.ID != 0 {
		audio = audioName(int(g.Audio.ID))
	}
	k.text("audiodev", audio)
	b.arg("-vnc", k.String())
	if v.Keymap != "" {
		b.arg("-k", v.Keymap)
	}
	return nil
}

// saslDir points QEMU's SASL library at its configuration.
func (b *builder) saslDir(dir string) {
	if dir != "" {
		b.env = append(b.env, "SASL_CONF_PATH="+dir)
	}
}
