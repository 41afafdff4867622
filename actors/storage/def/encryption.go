package def

import (
	"fmt"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// Encryption of an image; secrets are named, never held.
type Encryption struct {
	Format  string // one of encryptionFormats
	Engine  string
	Secrets []EncryptionSecret
	Cipher  *Cipher
	IVGen   *IVGen
}

// EncryptionSecret names a secret by UUID or by usage.
type EncryptionSecret struct{ Type, UUID, Usage string }

// Cipher is how a LUKS image is encrypted. Size is in bits; Mode and Hash may be empty.
type Cipher struct {
	Name       string
	Size       uint64
	Mode, Hash string
}

// IVGen is how a LUKS image makes initialization vectors. Hash may be empty.
type IVGen struct{ Name, Hash string }

// encryptionFormats in libvirt's order, which its messages count by.
var encryptionFormats = []string{"default", "qcow", "luks", "luks2"}

// Number is libvirt's number of the format.
func (enc *Encryption) Number() int {
	for i, f := range encryptionFormats {
		if f == enc.Format {
			return i
		}
	}
	return -1
}

// parseEncryption reads the element; nil makes nil.
func parseEncryption(e *node) (*Encryption, error) {
	if e == nil {
		return nil, nil
	}
	enc := &Encryption{}
	var ok bool
	if enc.Format, ok = e.Lookup("format"); !ok {
		return nil, badXML("unknown volume encryption format")
	}
	if enc.Number() < 0 {
		return nil, liberr.New(from, liberr.ConfigUnsupported, "unknown volume encryption format type %s", enc.Format)
	}
	if enc.Engine, ok = e.Lookup("engine"); ok && enc.Engine != "qemu" && enc.Engine != "librbd" {
		return nil, badXML("Invalid value for attribute 'engine' in element 'encryption': '%s'.", enc.Engine)
	}
	for _, s := range e.All("secret") {
		secret, err := parseEncryptionSecret(s)
		if err != nil {
			return nil, err
		}
		enc.Secrets = append(enc.Secrets, secret)
	}
	if enc.Format != "luks" && enc.Format != "luks2" {
		return enc, nil
	}
	return enc, enc.parseCipher(e.Kid("cipher"), e.Kid("ivgen"))
}

func parseEncryptionSecret(e *node) (EncryptionSecret, error) {
	s := EncryptionSecret{Type: e.Get("type")}
	if _, ok := e.Lookup("type"); !ok {
		return s, badXML("unknown volume encryption secret type")
	}
	if s.Type != "passphrase" {
		return s, liberr.New(from, liberr.ConfigUnsupported, "unknown volume encryption secret type %s", s.Type)
	}
	id, byID := e.Lookup("uuid")
	usage, byUsage := e.Lookup("usage")
	switch {
	case !byID && !byUsage:
		return s, badXML("missing secret uuid or usage attribute")
	case byID && byUsage:
		return s, badXML("either secret uuid or usage expected")
	case byID:
		u, ok := xmltree.UUID(id)
		if !ok {
			return s, badXML("invalid secret uuid '%s'", id)
		}
		s.UUID = u.String()
	default:
		s.Usage = usage
	}
	return s, nil
}

func (enc *Encryption) parseCipher(cipher, ivgen *node) error {
	if cipher == nil {
		if ivgen != nil {
			return badXML("ivgen element found, but cipher is missing")
		}
		return nil
	}
	name, ok := cipher.Lookup("name")
	if !ok {
		return badXML("cipher info missing 'name' attribute")
	}
	size, ok := cipher.Lookup("size")
	if !ok {
		return badXML("Missing required attribute 'size' in element 'cipher'")
	}
	bits, err := strconv.ParseUint(size, 10, 32)
	if err != nil {
		return badXML("Invalid value for attribute 'size' in element 'cipher': '%s'. Expected non-negative integer value", size)
	}
	enc.Cipher = &Cipher{name, bits, cipher.Get("mode"), cipher.Get("hash")}
	if ivgen == nil {
		return nil
	}
	if name, ok = ivgen.Lookup("name"); !ok {
		return badXML("missing ivgen info name string")
	}
	enc.IVGen = &IVGen{name, ivgen.Get("hash")}
	return nil
}

func (enc *Encryption) format(b *strings.Builder) {
	if enc == nil {
		return
	}
	optional := func(name, value string) string {
		if value == "" {
			return ""
		}
		return fmt.Sprintf(" %s='%s'", name, xmltree.Escape(value))
	}
	fmt.Fprintf(b, "    <encryption format='%s'%s>\n", enc.Format, optional("engine", enc.Engine))
	for _, s := range enc.Secrets {
		fmt.Fprintf(b, "      <secret type='%s'%s%s/>\n", s.Type, optional("uuid", s.UUID), optional("usage", s.Usage))
	}
	if c := enc.Cipher; c != nil {
		fmt.Fprintf(b, "      <cipher name='%s' size='%d'%s%s/>\n", xmltree.Escape(c.Name), c.Size, optional("mode", c.Mode), optional("hash", c.Hash))
	}
	if g := enc.IVGen; g != nil {
		fmt.Fprintf(b, "      <ivgen name='%s'%s/>\n", xmltree.Escape(g.Name), optional("hash", g.Hash))
	}
	b.WriteString("    </encryption>\n")
}
