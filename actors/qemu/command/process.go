package command

import (
	"path"
)

// environment is what QEMU starts with: folders of its own instead of the daemon's home, the outer variables the daemon
// was told to pass, and those the definition asks for.
func (b *builder) environment() {
	b.env = append(b.env, "LC_ALL=C")
	b.env = append(b.env, b.rt.Environment...)
	b.env = append(b.env,
		"HOME="+b.rt.LibDir,
		"XDG_DATA_HOME="+path.Join(b.rt.LibDir, ".local/share"),
		"XDG_CACHE_HOME="+path.Join(b.rt.LibDir, ".cache"),
		"XDG_CONFIG_HOME="+path.Join(b.rt.LibDir, ".config"),
	)
}

// identity names the process. It starts stopped: the monitor sets up what has to be set before the guest runs.
func (b *builder) identity() error {
	k := keyval{}
	k.set("guest", b.def.Name)
	k.set("debug-threads", "on")
	b.arg("-name", k.String())
	if d := b.def.QEMUDeprecation; d != nil {
		p := Props{}
		switch d.Behavior {
		case "omit":
			p = Props{{"deprecated-output", "hide"}}
		case "reject", "crash":
			p = Props{{"deprecated-output", "hide"}, {"deprecated-input", d.Behavior}}
		}
		if len(p) > 0 {
			b.add(step{option: "-compat", props: p})
		}
	}
	b.bare("-S")
	return nil
}

// masterKey is the secret all other secrets are encrypted with; the file is readable by this QEMU only.
func (b *builder) masterKey() error {
	if b.rt.NoMasterKey {
		return nil
	}
	return b.object(Props{{"qom-type", "secret"}, {"id", SecretObject}, {"format", "raw"}, {"file", b.rt.MasterKeyPath()}})
}

// noDisplay says that there is no display at all, which QEMU must be told.
func (b *builder) noDisplay() error {
	if len(b.dev.Graphics) == 0 {
		b.arg("-display", "none")
	}
	return nil
}

func (b *builder) monitor() error {
	b.bare("-no-user-config")
	b.bare("-nodefaults")
	k := keyval{"socket"}
	k.set("id", "charmonitor")
	if b.rt.Monitor != nil {
		k.set("fd", b.fd(b.rt.Monitor, "monitor"))
	} else {
		k.set("path", b.rt.MonitorPath())
	}
	k.set("server", "on")
	k.set("wait", "off")
	b.arg("-chardev", k.String())
	b.arg("-mon", "chardev=charmonitor,id=monitor,mode=control")
	return nil
}

func (b *builder) incoming() error {
	if b.rt.Incoming != "" {
		b.arg("-incoming", b.rt.Incoming)
	}
	return nil
}

// passthrough is qemu:commandline, as it is written.
func (b *builder) passthrough() error {
	c := b.def.QEMUCommandline
	if c == nil {
		return nil
	}
	for _, e := range c.Envs {
		b.env = append(b.env, e.Name+"="+e.Value)
	}
	for _, a := range c.Args {
		b.add(step{option: a.Value, bare: true})
	}
	return nil
}

func (b *builder) sandbox() error {
	if !b.rt.NoSandbox && b.caps.HasOption("sandbox", "enable") {
		b.arg("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
	}
	return nil
}

func (b *builder) messages() error {
	if !b.rt.NoTimestamps {
		b.arg("-msg", "timestamp=on")
	}
	return nil
}
