package command

import (
	"libvirt.org/go/libvirtxml"
)

func audioName(id int) string { return "audio" + itoa(id) }

func (b *builder) audios() error {
	for i := range b.dev.Audios {
		p, err := b.audio(&b.dev.Audios[i])
		if err != nil {
			return err
		}
		b.add(step{option: "-audiodev", props: p})
	}
	return nil
}

// audio is where the sound of a guest goes on the host.
func (b *builder) audio(a *libvirtxml.DomainAudio) (Props, error) {
	p := Props{{"id", audioName(a.ID)}, {"driver", ""}}
	p.count("timer-period", a.TimerPeriod)
	driver := func(name string) { p.Set("driver", name) }
	switch {
	case a.None != nil:
		driver("none")
		if a.None.Input != nil {
			audioSide(&p, "in", channel(&a.None.Input.DomainAudioChannel))
		}
		if a.None.Output != nil {
			audioSide(&p, "out", channel(&a.None.Output.DomainAudioChannel))
		}
	case a.ALSA != nil:
		driver("alsa")
		alsa := func(name string, c *libvirtxml.DomainAudioALSAChannel) {
			if c != nil {
				s := channel(&c.DomainAudioChannel)
				s.text("dev", c.Dev)
				audioSide(&p, name, s)
			}
		}
		alsa("in", a.ALSA.Input)
		alsa("out", a.ALSA.Output)
	case a.OSS != nil:
		driver("oss")
		audioOSS(&p, a.OSS)
	case a.PulseAudio != nil:
		driver("pa")
		p.text("server", a.PulseAudio.ServerName)
		pulse := func(name string, c *libvirtxml.DomainAudioPulseAudioChannel) {
			if c != nil {
				s := channel(&c.DomainAudioChannel)
				s.text("name", c.Name)
				s.text("stream-name", c.StreamName)
				s.count("latency", c.Latency)
				audioSide(&p, name, s)
			}
		}
		pulse("in", a.PulseAudio.Input)
		pulse("out", a.PulseAudio.Output)
	case a.Jack != nil:
		driver("jack")
		jack := func(name string, c *libvirtxml.DomainAudioJackChannel) {
			if c != nil {
				s := channel(&c.DomainAudioChannel)
				s.text("server-name", c.ServerName)
				s.text("client-name", c.ClientName)
				s.text("connect-ports", c.ConnectPorts)
				s.flag("exact-name", c.ExactName)
				audioSide(&p, name, s)
			}
		}
		jack("in", a.Jack.Input)
		jack("out", a.Jack.Output)
	case a.SDL != nil:
		driver("sdl")
		if a.SDL.Driver != "" {
			b.env = append(b.env, "SDL_AUDIODRIVER="+a.SDL.Driver)
		}
		sdl := func(name string, c *libvirtxml.DomainAudioSDLChannel) {
			if c != nil {
				s := channel(&c.DomainAudioChannel)
				s.count("buffer-count", c.BufferCount)
				audioSide(&p, name, s)
			}
		}
		sdl("in", a.SDL.Input)
		sdl("out", a.SDL.Output)
	case a.CoreAudio != nil:
		driver("coreaudio")
		core := func(name string, c *libvirtxml.DomainAudioCoreAudioChannel) {
			if c != nil {
				s := channel(&c.DomainAudioChannel)
				s.count("buffer-count", c.BufferCount)
				audioSide(&p, name, s)
			}
		}
		core("in", a.CoreAudio.Input)
		core("out", a.CoreAudio.Output)
	case a.SPICE != nil:
		driver("spice")
		if a.SPICE.Input != nil {
			audioSide(&p, "in", channel(&a.SPICE.Input.DomainAudioChannel))
		}
		if a.SPICE.Output != nil {
			audioSide(&p, "out", channel(&a.SPICE.Output.DomainAudioChannel))
		}
	case a.File != nil:
		driver("wav")
		p.text("path", a.File.Path)
		if a.File.Input != nil {
			audioSide(&p, "in", channel(&a.File.Input.DomainAudioChannel))
		}
		if a.File.Output != nil {
			audioSide(&p, "out", channel(&a.File.Output.DomainAudioChannel))
		}
	case a.DBus != nil:
		driver("dbus")
		if a.DBus.Input != nil {
			audioSide(&p, "in", channel(&a.DBus.Input.DomainAudioChannel))
		}
		if a.DBus.Output != nil {
			audioSide(&p, "out", channel(&a.DBus.Output.DomainAudioChannel))
		}
	default:
		return nil, unsupported("unsupported audio backend of '%s'", audioName(a.ID))
	}
	return p, nil
}

func audioOSS(p *Props, o *libvirtxml.DomainAudioOSS) {
	p.flag("try-mmap", o.TryMMap)
	p.flag("exclusive", o.Exclusive)
	if o.DSPPolicy != nil {
		p.Set("dsp-policy", *o.DSPPolicy)
	}
	side := func(name string, c *libvirtxml.DomainAudioOSSChannel) {
		if c != nil {
			s := channel(&c.DomainAudioChannel)
			s.text("dev", c.Dev)
			s.count("buffer-count", c.BufferCount)
			s.flag("try-poll", c.TryPoll)
			audioSide(p, name, s)
		}
	}
	side("in", o.Input)
	side("out", o.Output)
}

// channel is what all backends know of one direction.
func channel(c *libvirtxml.DomainAudioChannel) Props {
	var p Props
	p.flag("mixing-engine", c.MixingEngine)
	p.flag("fixed-settings", c.FixedSettings)
	p.count("voices", c.Voices)
	p.count("buffer-length", c.BufferLength)
	if s := c.Settings; s != nil {
		p.count("frequency", s.Frequency)
		p.count("channels", s.Channels)
		p.text("format", s.Format)
	}
	return p
}

func audioSide(p *Props, name string, side Props) {
	if len(side) > 0 {
		p.Set(name, side)
	}
}
