package command

import (
	"libvirt.org/go/libvirtxml"
)

// soundDrivers are QEMU's devices that are a sound card by themselves.
var soundDrivers = map[string]string{"es1370": "ES1370", "ac97": "AC97", "usb": "usb-audio", "sb16": "sb16"}

func (b *builder) sounds() error {
	return each(b.dev.Sounds, func(s *libvirtxml.DomainSound) error { return b.sound(s) })
}

func (b *builder) sound(s *libvirtxml.DomainSound) error {
	audio := b.defaultAudio()
	if s.Audio != nil && s.Audio.ID != 0 {
		audio = audioName(int(s.Audio.ID))
	}
	alias := aliasOf(s.Alias)
	p := Props{{"driver", ""}, {"id", alias}}
	hda := false
	switch s.Model {
	case "pcspk":
		return nil // part of the machine, see pcSpeaker
	case "ich6":
		p.Set("driver", "intel-hda")
		hda = true
	case "ich9", "ich7":
		p.Set("driver", "ich9-intel-hda")
		hda = true
	default:
		driver := soundDrivers[s.Model]
		if driver == "" {
			return unsupported("sound card model '%s' is not supported by qemu", s.Model)
		}
		p.Set("driver", driver)
		p.text("audiodev", audio)
	}
	if err := b.at(&p, s.Address, s.ACPI); err != nil {
		return err
	}
	if err := b.device(p); err != nil {
		return err
	}
	if !hda {
		return nil
	}
	return b.codecs(s, alias, audio)
}

// codecs are what makes the sound of a controller; without any it gets one that plays and records.
func (b *builder) codecs(s *libvirtxml.DomainSound, alias, audio string) error {
	list := s.Codec
	if len(list) == 0 {
		list = []libvirtxml.DomainSoundCodec{{Type: "duplex"}}
	}
	for cad, c := range list {
		p := Props{{"driver", "hda-" + c.Type}, {"id", alias + "-codec" + itoa(cad)}, {"bus", alias + ".0"}, {"cad", cad}}
		p.text("audiodev", audio)
		if err := b.device(p); err != nil {
			return err
		}
	}
	return nil
}

// pcSpeaker is the audio device of the machine's own speaker; "" where the definition has none.
//
// Compat: libvirt 9.0.0 passes -soundhw pcspk, which QEMU dropped in 7.1, so that such a guest does not start. The
// machine property is what took its place; the guest sees the same speaker.
func (b *builder) pcSpeaker() string {
	for _, s := range b.dev.Sounds {
		if s.Model == "pcspk" {
			return b.defaultAudio()
		}
	}
	return ""
}
