package command

import (
	"path"
)

// sevObject is the id of the object that encrypts the guest's memory.
const sevObject = "lsec0"

// launchSecurity is AMD's encryption of guest memory.
func (b *builder) launchSecurity() error {
	l := b.def.LaunchSecurity
	switch {
	case l == nil:
		return nil
	case l.SEV == nil:
		return unsupported("this launch security type is not supported by this QEMU binary")
	}
	s := l.SEV
	p := Props{{"qom-type", "sev-guest"}, {"id", sevObject}}
	p.optional("cbitpos", s.CBitPos)
	p.optional("reduced-phys-bits", s.ReducedPhysBits)
	p.optional("policy", s.Policy)
	if s.DHCert != "" {
		p.Set("dh-cert-file", path.Join(b.rt.LibDir, "dh_cert.base64"))
	}
	if s.Session != "" {
		p.Set("session-file", path.Join(b.rt.LibDir, "session.base64"))
	}
	p.flag("kernel-hashes", s.KernelHashes)
	return b.object(p)
}
