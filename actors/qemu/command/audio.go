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
		audioSides(&p, a.None.Input, a.None.Output, func(c *libvirtxml.DomainAudioNoneChannel) Props { return channel(&c.DomainAudioChannel) })
	case a.ALSA != nil:
		driver("alsa")
		audioSides(&p, a.ALSA.Input, a.ALSA.Output, func(c *libvirtxml.DomainAudioALSAChannel) Props {
			s := channel(&c.DomainAudioChannel)
			s.text("dev", c.Dev)
			return s
		})
	case a.OSS != nil:
		driver("oss")
		p.flag("try-mmap", a.OSS.TryMMap)
		p.flag("exclusive", a.OSS.Exclusive)
		if a.OSS.DSPPolicy != nil {
			p.Set("dsp-policy", *a.OSS.DSPPolicy)
		}
		audioSides(&p, a.OSS.Input, a.OSS.Output, func(c *libvirtxml.DomainAudioOSSChannel) Props {
			s := channel(&c.DomainAudioChannel)
			s.text("dev", c.Dev)
			s.count("buffer-count", c.BufferCount)
			s.flag("try-poll", c.TryPoll)
			return s
		})
	case a.PulseAudio != nil:
		driver("pa")
		p.text("server", a.PulseAudio.ServerName)
		audioSides(&p, a.PulseAudio.Input, a.PulseAudio.Output, func(c *libvirtxml.DomainAudioPulseAudioChannel) Props {
			s := channel(&c.DomainAudioChannel)
			s.text("name", c.Name)
			s.text("stream-name", c.StreamName)
			s.count("latency", c.Latency)
			return s
		})
	case a.Jack != nil:
		driver("jack")
		audioSides(&p, a.Jack.Input, a.Jack.Output, func(c *libvirtxml.DomainAudioJackChannel) Props {
			s := channel(&c.DomainAudioChannel)
			s.text("server-name", c.ServerName)
			s.text("client-name", c.ClientName)
			s.text("connect-ports", c.ConnectPorts)
			s.flag("exact-name", c.ExactName)
			return s
		})
	case a.SDL != nil:
		driver("sdl")
		if a.SDL.Driver != "" {
			b.env = append(b.env, "SDL_AUDIODRIVER="+a.SDL.Driver)
		}
		audioSides(&p, a.SDL.Input, a.SDL.Output, func(c *libvirtxml.DomainAudioSDLChannel) Props {
			s := channel(&c.DomainAudioChannel)
			s.count("buffer-count", c.BufferCount)
			return s
		})
	case a.CoreAudio != nil:
		driver("coreaudio")
		audioSides(&p, a.CoreAudio.Input, a.CoreAudio.Output, func(c *libvirtxml.DomainAudioCoreAudioChannel) Props {
			s := channel(&c.DomainAudioChannel)
			s.count("buffer-count", c.BufferCount)
			return s
		})
	case a.SPICE != nil:
		driver("spice")
		audioSides(&p, a.SPICE.Input, a.SPICE.Output, func(c *libvirtxml.DomainAudioSPICEChannel) Props { return channel(&c.DomainAudioChannel) })
	case a.File != nil:
		driver("wav")
		p.text("path", a.File.Path)
		audioSides(&p, a.File.Input, a.File.Output, func(c *libvirtxml.DomainAudioFileChannel) Props { return channel(&c.DomainAudioChannel) })
	case a.DBus != nil:
		driver("dbus")
		audioSides(&p, a.DBus.Input, a.DBus.Output, func(c *libvirtxml.DomainAudioDBusChannel) Props { return channel(&c.DomainAudioChannel) })
	default:
		return nil, unsupported("unsupported audio backend of '%s'", audioName(a.ID))
	}
	return p, nil
}

// audioSides sets what a backend knows of the two directions; side makes the properties of one.
func audioSides[C any](p *Props, in, out *C, side func(*C) Props) {
	for _, d := range []struct {
		name string
		c    *C
	}{{"in", in}, {"out", out}} {
		if d.c == nil {
			continue
		}
		if s := side(d.c); len(s) > 0 {
			p.Set(d.name, s)
		}
	}
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
