package command

import "libvirt.org/go/libvirtxml"

// smartcardDatabase is where NSS looks for certificates unless told otherwise.
const smartcardDatabase = "/etc/pki/nssdb"

func (b *builder) smartcards() error {
	return each(b.dev.Smartcards, func(s *libvirtxml.DomainSmartcard) error { return b.smartcard(s) })
}

func (b *builder) smartcard(s *libvirtxml.DomainSmartcard) error {
	alias := aliasOf(s.Alias)
	p := Props{}
	switch {
	case s.Passthrough != nil:
		err := b.chardev(chardev{id: "char" + alias, alias: alias, source: s.Passthrough, protocol: s.Protocol, name: "smartcard"})
		if err != nil {
			return err
		}
		p.Set("driver", "ccid-card-passthru")
		p.Set("chardev", "char"+alias)
	case len(s.HostCerts) > 0:
		p = Props{{"driver", "ccid-card-emulated"}, {"backend", "certificates"}}
		for i, c := range s.HostCerts {
			p.Set("cert"+itoa(i+1), c.File)
		}
		db := s.Database
		if db == "" {
			db = smartcardDatabase
		}
		p.Set("db", db)
	default:
		p = Props{{"driver", "ccid-card-emulated"}, {"backend", "nss-emulated"}}
	}
	p.Set("id", alias)
	bus := "ccid0"
	if s.Address != nil && s.Address.CCID != nil {
		var err error
		if bus, err = b.bus("ccid", value(s.Address.CCID.Controller)); err != nil {
			return err
		}
	}
	p.Set("bus", bus+".0")
	return b.device(p)
}
