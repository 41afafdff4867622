package qemu

import (
	"os"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/command"
	"virtree/sockets/config"
)

// tlsUse is what qemu.conf says of the certificates for one use.
type tlsUse struct {
	On     bool
	Dir    string // "": the folder of the use, if there is one, else the default
	Secret string // UUID of the secret that its key is encrypted with; "": it is not
	Verify bool   // whoever connects needs a certificate too
}

// tlsUses are the uses of certificates by QEMU.
type tlsUses struct {
	Dir                      string // the default; "": libvirt's
	VNC, Spice, Chardev, NBD tlsUse
	VNCSASL, SpiceSASL       bool
	VNCSASLDir, SpiceSASLDir string
}

// readTLS reads the keys of certificates. What is not said of one use is as for all.
func readTLS(f *config.File) (t tlsUses, err error) {
	secret, verify := "", true
	read := func(errs ...error) {
		for _, e := range errs {
			if err == nil {
				err = e
			}
		}
	}
	read(f.String("default_tls_x509_cert_dir", &t.Dir), f.String("default_tls_x509_secret_uuid", &secret), f.Bool("default_tls_x509_verify", &verify),
		f.Bool("vnc_sasl", &t.VNCSASL), f.String("vnc_sasl_dir", &t.VNCSASLDir), f.Bool("spice_sasl", &t.SpiceSASL), f.String("spice_sasl_dir", &t.SpiceSASLDir))
	for name, use := range map[string]*tlsUse{"vnc": &t.VNC, "spice": &t.Spice, "chardev": &t.Chardev, "nbd": &t.NBD} {
		use.Secret, use.Verify = secret, verify
		read(f.Bool(name+"_tls", &use.On), f.String(name+"_tls_x509_cert_dir", &use.Dir), f.String(name+"_tls_x509_secret_uuid", &use.Secret),
			f.Bool(name+"_tls_x509_verify", &use.Verify))
	}
	return t, err
}

// tlsRuntime tells QEMU's command line of the certificates.
func (s *shared) tlsRuntime(rt *command.Runtime) {
	t := &s.conf.TLS
	set := func(name string, u tlsUse) command.TLS {
		dir := u.Dir
		if dir == "" {
			if dir = s.env.Paths.At("/etc/pki/libvirt-" + name); !isFolder(dir) {
				if dir = t.Dir; dir == "" {
					dir = s.env.Paths.At("/etc/pki/qemu")
				}
			}
		}
		return command.TLS{Dir: dir, VerifyPeer: u.Verify, SecretUUID: u.Secret}
	}
	rt.ChardevTLS, rt.DiskTLS = set("chardev", t.Chardev), set("nbd", t.NBD)
	if t.VNC.On {
		rt.VNC.TLS = set("vnc", t.VNC)
	}
	if t.Spice.On {
		rt.Spice.X509Dir = set("spice", t.Spice).Dir
	}
	rt.VNC.SASL, rt.VNC.SASLDir, rt.Spice.SASL, rt.Spice.SASLDir = t.VNCSASL, t.VNCSASLDir, t.SpiceSASL, t.SpiceSASLDir
}

func isFolder(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// settleTLS says of what the definition leaves open whether it is encrypted.
func (s *shared) settleTLS(def *libvirtxml.Domain) {
	for _, l := range command.Lines(def.Devices) {
		s.settleLine(l.Source)
	}
	for i := range def.Devices.Disks {
		s.settleDisk(&def.Devices.Disks[i])
	}
}

func (s *shared) settleLine(src *libvirtxml.DomainChardevSource) {
	if src == nil || src.TCP == nil || src.TCP.TLS != "" {
		return
	}
	src.TCP.TLS = "no"
	if s.conf.TLS.Chardev.On {
		src.TCP.TLS = "yes"
	}
}

func (s *shared) settleDisk(d *libvirtxml.DomainDisk) {
	if d.Source == nil || d.Source.Network == nil || !s.conf.TLS.NBD.On {
		return
	}
	if n := d.Source.Network; n.Protocol == "nbd" && n.TLS == "" {
		n.TLS = "yes"
	}
}
