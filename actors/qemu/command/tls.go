package command

// tlsClient adds the certificates a connection from QEMU uses, and returns their id.
func (b *builder) tlsClient(owner string, t TLS) (string, error) {
	return b.tlsCreds(owner, t, "client")
}

// tlsServer adds the certificates QEMU shows to who connects to it.
func (b *builder) tlsServer(owner string, t TLS) (string, error) {
	return b.tlsCreds(owner, t, "server")
}

func (b *builder) tlsCreds(owner string, t TLS, endpoint string) (string, error) {
	if t.Dir == "" {
		return "", unsupported("TLS encryption requested for '%s' but no certificates are configured", owner)
	}
	id := "obj" + owner + "_tls0"
	p := Props{{"qom-type", "tls-creds-x509"}, {"id", id}, {"dir", t.Dir}, {"endpoint", endpoint},
		{"verify-peer", t.VerifyPeer || endpoint == "client"}}
	if t.SecretID != "" {
		p.Set("passwordid", b.secret(t.SecretID))
	}
	return id, b.object(p)
}
