package command

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"

	"libvirt.org/go/libvirtxml"
)

// Secret is a secret for QEMU, encrypted with the domain's master key. Both parts are base64.
type Secret struct{ Data, IV string }

// SecretWanted is one secret a definition needs before it can start.
type SecretWanted struct {
	ID          string // the object's id: the key in Runtime.Secrets
	Use         SecretUse
	Type        string // "ceph", "iscsi", "volume", ...; as the definition says
	UUID, Usage string // one of them names the secret
	Cookies     []libvirtxml.DomainDiskCookie
}

// SecretsOfDisk lists the secrets that one disk needs, whose images are numbered.
func SecretsOfDisk(d *libvirtxml.DomainDisk) []SecretWanted {
	return SecretsOf(&libvirtxml.Domain{Devices: &libvirtxml.DomainDeviceList{Disks: []libvirtxml.DomainDisk{*d}}})
}

// SecretUse is what a secret is for.
type SecretUse int

const (
	SecretAuth SecretUse = iota
	SecretEncryption
	SecretCookie
	SecretTLS
	SecretTPM
)

// EncryptionSecret is the id of the secret that an image is encrypted with.
func EncryptionSecret(node uint) string { return FormatNode(node) + "-encryption-secret0" }
func authSecret(node string) string     { return node + "-auth-secret0" }
func cookieSecret(node string) string   { return node + "-httpcookie-secret0" }

// secret adds the object with a secret and returns its id.
func (b *builder) secret(id string) string {
	b.addObject(SecretProps(id, b.rt.Secrets[id]))
	return id
}

// SecretProps is the object with a secret.
func SecretProps(id string, s Secret) Props {
	return Props{{"qom-type", "secret"}, {"id", id}, {"data", s.Data}, {"keyid", SecretObject}, {"iv", s.IV}, {"format", "base64"}}
}

// SecretsOf lists the secrets a definition's disks need.
func SecretsOf(def *libvirtxml.Domain) []SecretWanted {
	b := newBuilder(def, nil, &Runtime{})
	b.numberNodes()
	var out []SecretWanted
	for i := range b.dev.Disks {
		d := &b.dev.Disks[i]
		if sourceEmpty(d.Source) || vhostUserDisk(d) {
			continue
		}
		for _, m := range b.links(d) {
			out = append(out, secretsOfImage(&m)...)
		}
	}
	return out
}

func secretsOfImage(m *image) []SecretWanted {
	var out []SecretWanted
	want := func(id string, use SecretUse, s *libvirtxml.DomainDiskSecret) {
		if s != nil {
			out = append(out, SecretWanted{ID: id, Use: use, Type: s.Type, UUID: s.UUID, Usage: s.Usage})
		}
	}
	if a := authOf(m); a != nil {
		want(authSecret(StorageNode(m.node)), SecretAuth, a.Secret)
	}
	if c := m.source.Cookies; c != nil && len(c.Cookies) > 0 {
		out = append(out, SecretWanted{ID: cookieSecret(StorageNode(m.node)), Use: SecretCookie, Cookies: c.Cookies})
	}
	if e := encryptionOf(m); e != nil && len(e.Secrets) > 0 {
		want(EncryptionSecret(m.node), SecretEncryption, &e.Secrets[0])
	}
	return out
}

// EncryptSecret encrypts a secret as QEMU's secret objects expect it: AES-256 in CBC mode with PKCS#7 padding. key is
// the domain's 32 byte master key, iv 16 fresh random bytes.
func EncryptSecret(key, iv, plain []byte) (Secret, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return Secret{}, fmt.Errorf("master key: %w", err)
	}
	if len(iv) != block.BlockSize() {
		return Secret{}, fmt.Errorf("initialization vector of %d bytes, want %d", len(iv), block.BlockSize())
	}
	pad := block.BlockSize() - len(plain)%block.BlockSize()
	data := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, data)
	return Secret{base64.StdEncoding.EncodeToString(data), base64.StdEncoding.EncodeToString(iv)}, nil
}
