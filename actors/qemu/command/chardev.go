package command

import (
	"os"
	"path"

	"libvirt.org/go/libvirtxml"
)

// chardev is a character device to be made: the host's end of a serial line, a channel, a socket of a device.
type chardev struct {
	id       string
	alias    string // of the device it serves; the key of Runtime's descriptors
	source   *libvirtxml.DomainChardevSource
	protocol *libvirtxml.DomainChardevProtocol
	log      *libvirtxml.DomainChardevLog
	name     string // of a port for SPICE or the vdagent
	wait     bool   // a listening socket holds the guest back until someone connects
}

// backend is a character device in both of QEMU's notations.
type backend struct {
	kind string // in QMP
	k    keyval // on the command line, without the log
	data Props  // in QMP, without the log
}

// chardev adds a character device.
func (b *builder) chardev(c chardev) error {
	if c.source == nil {
		return internal("character device '%s' has no source", c.id)
	}
	be, err := b.backend(&c)
	if err != nil {
		return err
	}
	if c.log != nil && c.log.File != "" {
		file, mode := c.log.File, c.log.Append
		if f := b.rt.Logs[c.alias]; f != nil {
			// The log daemon truncates or appends; QEMU only ever appends to the descriptor it got.
			file, mode = b.fdSet(f, c.alias+"-log"), "on"
		}
		be.k.set("logfile", file)
		be.k.flag("logappend", mode)
		be.data.Set("logfile", file)
		be.data.flag("logappend", mode)
	}
	b.add(step{option: "-chardev", value: be.k.String(), command: "chardev-add",
		args: Props{{"id", c.id}, {"backend", Props{{"type", be.kind}, {"data", be.data}}}},
		undo: &QMP{"chardev-remove", Props{{"id", c.id}}}})
	return nil
}

// fdSet hands QEMU a descriptor under a path that it can open like a file.
func (b *builder) fdSet(f *os.File, opaque string) string {
	set := b.fdset
	b.fdset++
	if b.plug {
		b.add(step{command: "add-fd", args: Props{{"fdset-id", set}, {"opaque", opaque}}, file: &File{-1, opaque, f},
			undo: &QMP{"remove-fd", Props{{"fdset-id", set}}}})
	} else {
		n := FirstFD + len(b.files)
		b.files = append(b.files, File{n, opaque, f})
		k := keyval{}
		k.set("set", itoa(set))
		k.set("fd", itoa(n))
		k.set("opaque", opaque)
		b.arg("-add-fd", k.String())
	}
	return "/dev/fdset/" + itoa(set)
}

func (b *builder) backend(c *chardev) (backend, error) {
	s := c.source
	plain := func(option, kind string) (backend, error) {
		k := keyval{option}
		k.set("id", c.id)
		return backend{kind: kind, k: k, data: Props{}}, nil
	}
	withPath := func(option, kind, dev string) (backend, error) {
		be, _ := plain(option, kind)
		be.k.set("path", dev)
		be.data.Set("device", dev)
		return be, nil
	}
	switch {
	case s.Null != nil:
		return plain("null", "null")
	case s.VC != nil:
		return plain("vc", "vc")
	case s.Pty != nil:
		return plain("pty", "pty")
	case s.StdIO != nil:
		return plain("stdio", "stdio")
	case s.Dev != nil:
		if c.alias != "" && isParallel(c.id) {
			return withPath("parallel", "parallel", s.Dev.Path)
		}
		return withPath("serial", "serial", s.Dev.Path)
	case s.Pipe != nil:
		return withPath("pipe", "pipe", s.Pipe.Path)
	case s.File != nil:
		return b.fileBackend(c), nil
	case s.UDP != nil:
		return udpBackend(c.id, s.UDP), nil
	case s.TCP != nil:
		return b.tcpBackend(c, s.TCP)
	case s.UNIX != nil:
		return b.unixBackend(c, s.UNIX), nil
	case s.SpiceVMC != nil:
		be, _ := plain("spicevmc", "spicevmc")
		be.k.set("name", c.name)
		be.data.Set("type", c.name)
		return be, nil
	case s.SpicePort != nil:
		be, _ := plain("spiceport", "spiceport")
		be.k.set("name", s.SpicePort.Channel)
		be.data.Set("fqdn", s.SpicePort.Channel)
		return be, nil
	case s.QEMUVDAgent != nil:
		return vdagentBackend(c.id, s.QEMUVDAgent), nil
	case s.DBus != nil:
		be, _ := plain("dbus", "dbus")
		be.k.set("name", s.DBus.Channel)
		be.data.Set("name", s.DBus.Channel)
		return be, nil
	}
	return backend{}, unsupported("unsupported chardev type of '%s'", c.id)
}

func isParallel(id string) bool { return len(id) > 12 && id[:12] == "charparallel" }

func (b *builder) fileBackend(c *chardev) backend {
	f := c.source.File
	out, mode := f.Path, f.Append
	if fd := b.rt.Outputs[c.alias]; fd != nil {
		out, mode = b.fdSet(fd, c.alias+"-source"), "on"
	}
	k := keyval{"file"}
	k.set("id", c.id)
	k.set("path", out)
	k.flag("append", mode)
	data := Props{{"out", out}}
	data.flag("append", mode)
	return backend{"file", k, data}
}

// udpBackend sends to one address and may receive on another. An empty host means any.
func udpBackend(id string, u *libvirtxml.DomainChardevSourceUDP) backend {
	bindPort := u.BindService
	if bindPort == "" {
		bindPort = "0"
	}
	k := keyval{"udp"}
	k.set("id", id)
	k.set("host", u.ConnectHost)
	k.set("port", u.ConnectService)
	k.set("localaddr", u.BindHost)
	k.set("localport", bindPort)
	inet := func(host, port string) Props {
		return Props{{"type", "inet"}, {"data", Props{{"host", host}, {"port", port}}}}
	}
	data := Props{{"remote", inet(u.ConnectHost, u.ConnectService)}}
	if u.BindHost != "" || u.BindService != "" {
		data.Set("local", inet(u.BindHost, bindPort))
	}
	return backend{"udp", k, data}
}

func (b *builder) tcpBackend(c *chardev, t *libvirtxml.DomainChardevSourceTCP) (backend, error) {
	telnet := c.protocol != nil && c.protocol.Type == "telnet"
	k := keyval{"socket"}
	k.set("id", c.id)
	k.set("host", t.Host)
	k.set("port", t.Service)
	data := Props{{"addr", Props{{"type", "inet"}, {"data", Props{{"host", t.Host}, {"port", t.Service}}}}}}
	if telnet {
		k.set("telnet", "on")
	}
	b.listening(c, &k, &data, t.Mode == "bind")
	data.Set("telnet", telnet)
	reconnect(&k, &data, t.Mode, t.Reconnect)
	if t.TLS == "yes" {
		var id string
		var err error
		if t.Mode == "bind" {
			id, err = b.tlsServer(c.id, b.rt.ChardevTLS)
		} else {
			id, err = b.tlsClient(c.id, b.rt.ChardevTLS)
		}
		if err != nil {
			return backend{}, err
		}
		k.set("tls-creds", id)
		data.Set("tls-creds", id)
	}
	return backend{"socket", k, data}, nil
}

func (b *builder) unixBackend(c *chardev, u *libvirtxml.DomainChardevSourceUNIX) backend {
	listen := u.Mode == "bind" || u.Mode == "server"
	k := keyval{"socket"}
	k.set("id", c.id)
	var data Props
	if f := b.rt.Listeners[c.alias]; f != nil && listen {
		fd := b.fd(f, c.alias+"-source")
		k.set("fd", fd)
		data = Props{{"addr", Props{{"type", "fd"}, {"data", Props{{"str", fd}}}}}}
	} else {
		k.set("path", u.Path)
		data = Props{{"addr", Props{{"type", "unix"}, {"data", Props{{"path", u.Path}}}}}}
	}
	b.listening(c, &k, &data, listen)
	reconnect(&k, &data, u.Mode, u.Reconnect)
	return backend{"socket", k, data}
}

func (b *builder) listening(c *chardev, k *keyval, data *Props, listen bool) {
	if listen {
		k.set("server", "on")
		if !c.wait {
			k.set("wait", "off")
		}
		data.Set("wait", c.wait)
	}
	data.Set("server", listen)
}

// reconnect is how often QEMU tries again after the other end went away.
func reconnect(k *keyval, data *Props, mode string, r *libvirtxml.DomainChardevSourceReconnect) {
	if r == nil || mode == "bind" || mode == "server" {
		return
	}
	seconds := uint(0)
	if isOn(r.Enabled) && r.Timeout != nil {
		seconds = *r.Timeout
	}
	if isOn(r.Enabled) || r.Enabled == "no" {
		k.setf("reconnect", "%d", seconds)
		data.Set("reconnect", seconds)
	}
}

func vdagentBackend(id string, a *libvirtxml.DomainChardevSourceQEMUVDAgent) backend {
	k := keyval{"qemu-vdagent"}
	k.set("id", id)
	k.set("name", "vdagent")
	data := Props{}
	if a.ClipBoard != nil {
		k.flag("clipboard", a.ClipBoard.CopyPaste)
		data.flag("clipboard", a.ClipBoard.CopyPaste)
	}
	if a.Mouse != nil {
		switch a.Mouse.Mode {
		case "client":
			k.set("mouse", "on")
			data.Set("mouse", true)
		case "server":
			k.set("mouse", "off")
			data.Set("mouse", false)
		}
	}
	return backend{"qemu-vdagent", k, data}
}

// channelPath is the socket of a channel whose definition leaves the path to the daemon.
func (rt *Runtime) channelPath(name string) string { return path.Join(rt.ChannelDir, name) }
