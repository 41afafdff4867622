package command

import "libvirt.org/go/libvirtxml"

// tlsClient adds the certificates a connection from QEMU uses, and returns their id.
func (b *builder) tlsClient(owner string, t TLS) (string, error) {
	return b.tlsCreds(tlsObject(owner), tlsSecret(owner), t, "client")
}

// tlsServer adds the certificates QEMU shows to who connects to it.
func (b *builder) tlsServer(owner string, t TLS) (string, error) {
	return b.tlsCreds(tlsObject(owner), tlsSecret(owner), t, "server")
}

func tlsObject(owner string) string { return "obj" + owner + "_tls0" }
func tlsSecret(owner string) string { return owner + "-secret0" }

// vncTLS is the object of VNC's certificates, of which there is one.
const vncTLS = "vnc-tls-creds0"

func (b *builder) tlsCreds(id, secret string, t TLS, endpoint string) (string, error) {
	if t.Dir == "" {
		return "", unsupported("TLS encryption requested for '%s' but no certificates are configured", id)
	}
	p := Props{{"qom-type", "tls-creds-x509"}, {"id", id}, {"dir", t.Dir}, {"endpoint", endpoint},
		{"verify-peer", t.VerifyPeer || endpoint == "client"}}
	if t.SecretUUID != "" {
		p.Set("passwordid", b.secret(secret))
	}
	return id, b.object(p)
}

// TLSSecrets lists the secrets of the certificates' keys that a definition's devices need, whose images are numbered.
func TLSSecrets(def *libvirtxml.Domain, rt *Runtime) []SecretWanted {
	var out []SecretWanted
	want := func(owner string, t TLS) {
		if t.SecretUUID != "" {
			out = append(out, SecretWanted{ID: tlsSecret(owner), Use: SecretTLS, UUID: t.SecretUUID})
		}
	}
	for _, g := range def.Devices.Graphics {
		if g.VNC != nil && rt.VNC.TLS.Dir != "" {
			want(vncTLS, rt.VNC.TLS)
		}
	}
	for _, l := range Lines(def.Devices) {
		if t := l.Source.TCP; t != nil && t.TLS == "yes" {
			want("char"+l.Alias, rt.ChardevTLS)
		}
	}
	b := newBuilder(def, nil, rt)
	b.numberNodes()
	for i := range b.dev.Disks {
		d := &b.dev.Disks[i]
		if sourceEmpty(d.Source) || vhostUserDisk(d) {
			continue
		}
		for _, m := range b.links(d) {
			if n := m.source.Network; n != nil && n.TLS == "yes" {
				want(StorageNode(m.node), rt.DiskTLS)
			}
		}
	}
	return out
}

// TLSSecretsOfDisk is TLSSecrets for one disk.
func TLSSecretsOfDisk(d *libvirtxml.DomainDisk, rt *Runtime) []SecretWanted {
	return TLSSecrets(&libvirtxml.Domain{Devices: &libvirtxml.DomainDeviceList{Disks: []libvirtxml.DomainDisk{*d}}}, rt)
}

// TLSSecretsOfLine is TLSSecrets for one character device, which is encrypted.
func TLSSecretsOfLine(alias string, rt *Runtime) []SecretWanted {
	src := &libvirtxml.DomainChardevSource{TCP: &libvirtxml.DomainChardevSourceTCP{TLS: "yes"}}
	one := libvirtxml.DomainSerial{Alias: &libvirtxml.DomainAlias{Name: alias}, Source: src}
	return TLSSecrets(&libvirtxml.Domain{Devices: &libvirtxml.DomainDeviceList{Serials: []libvirtxml.DomainSerial{one}}}, rt)
}
