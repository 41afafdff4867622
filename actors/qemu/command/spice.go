package command

import (
	"path"

	"libvirt.org/go/libvirtxml"
)

// firstSpicePort stands in for a port nobody has chosen, in renderings.
const firstSpicePort = 5901

func (b *builder) spice(s *libvirtxml.DomainGraphicSpice) error {
	k := keyval{}
	if err := b.spiceListen(&k, s); err != nil {
		return err
	}
	if b.rt.Spice.SASL {
		k.set("sasl", "on")
		b.saslDir(b.rt.Spice.SASLDir)
	}
	if s.Mouse != nil {
		switch s.Mouse.Mode {
		case "server":
			k.set("agent-mouse", "off")
		case "client":
			k.set("agent-mouse", "on")
		}
	}
	if s.Passwd == "" && !b.rt.Spice.Password {
		k.set("disable-ticketing", "on")
	}
	if s.TLSPort > 0 {
		k.set("x509-dir", b.rt.Spice.X509Dir)
	}
	if err := b.spiceChannels(&k, s); err != nil {
		return err
	}
	spiceCompression(&k, s)
	if s.ClipBoard != nil && s.ClipBoard.CopyPaste == "no" {
		k.set("disable-copy-paste", "on")
	}
	if s.FileTransfer != nil && s.FileTransfer.Enable == "no" {
		k.set("disable-agent-file-xfer", "on")
	}
	if s.GL != nil && s.GL.Enable == "yes" {
		k.set("gl", "on")
		k.text("rendernode", b.renderNode(s.GL.RenderNode))
	}
	k.set("seamless-migration", "on")
	b.arg("-spice", k.String())
	if s.Keymap != "" {
		b.arg("-k", s.Keymap)
	}
	return nil
}

func (b *builder) spiceListen(k *keyval, s *libvirtxml.DomainGraphicSpice) error {
	l := firstListener(s.Listeners, s.Listen, "", b.rt.Spice.Listen)
	switch {
	case l.none:
		k.set("port", "0")
	case l.socket != "" || l.ownSocket:
		socket := l.socket
		if socket == "" {
			socket = path.Join(b.rt.LibDir, "spice.sock")
		}
		k.word("unix")
		k.set("addr", socket)
	default:
		port := s.Port
		if port <= 0 && s.TLSPort <= 0 {
			port = firstSpicePort
		}
		if port > 0 {
			k.set("port", itoa(port))
		}
		if s.TLSPort > 0 {
			if b.rt.Spice.X509Dir == "" {
				return unsupported("spice TLS port set in XML configuration, but TLS is disabled in qemu.conf")
			}
			k.set("tls-port", itoa(s.TLSPort))
		}
		k.text("addr", l.address)
	}
	return nil
}

// spiceChannels says which channels must be encrypted and which must not.
func (b *builder) spiceChannels(k *keyval, s *libvirtxml.DomainGraphicSpice) error {
	add := func(name, mode string) error {
		switch mode {
		case "secure":
			if s.TLSPort <= 0 {
				return unsupported("spice %s requested, but TLS port is not provided", name)
			}
			k.set("tls-channel", name)
		case "insecure":
			if s.Port <= 0 {
				return unsupported("spice %s requested, but plain port is not provided", name)
			}
			k.set("plaintext-channel", name)
		}
		return nil
	}
	if err := add("default", s.DefaultMode); err != nil {
		return err
	}
	for _, c := range s.Channel {
		if err := add(c.Name, c.Mode); err != nil {
			return err
		}
	}
	return nil
}

func spiceCompression(k *keyval, s *libvirtxml.DomainGraphicSpice) {
	if s.Image != nil {
		k.text("image-compression", s.Image.Compression)
	}
	if s.JPEG != nil {
		k.text("jpeg-wan-compression", s.JPEG.Compression)
	}
	if s.ZLib != nil {
		k.text("zlib-glz-wan-compression", s.ZLib.Compression)
	}
	if s.Playback != nil {
		k.text("playback-compression", s.Playback.Compression)
	}
	if s.Streaming != nil {
		k.text("streaming-video", s.Streaming.Mode)
	}
}
