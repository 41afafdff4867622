package qemu

import (
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/domxml"
	"virtree/wire/protocol"

	"github.com/google/uuid"
)

// document is one domain definition. It is never changed: who wants another one makes a new document.
// The text as it stands on disk is kept, and the structure made of it when somebody needs it, because
// most of a thousand defined domains are only ever listed and printed.
type document struct {
	text string             // as on disk: domxml.Secure|domxml.Inactive
	def  *libvirtxml.Domain // nil until asked for
	env  *domxml.Env

	printed map[domxml.FormatFlags]string
}

// newDocument wraps a definition; text is printed when it is first needed.
func newDocument(def *libvirtxml.Domain, env *domxml.Env) *document {
	return &document{def: def, env: env}
}

// storedDocument wraps a text that this driver, or libvirt's, has written.
func storedDocument(text string, env *domxml.Env) *document {
	return &document{text: text, env: env}
}

// Def returns the structure, which must not be changed.
func (doc *document) Def() (*libvirtxml.Domain, error) {
	if doc.def == nil {
		flags := domxml.ParseTrusted
		if emulator := emulatorOf(doc.text); doc.env.Known != nil && !doc.env.Known(emulator) {
			flags |= domxml.ParseNoCaps // a stored definition is complete, and nobody here may wait for a probe
		}
		def, err := domxml.Parse([]byte(doc.text), *doc.env, flags)
		if err != nil {
			return nil, err
		}
		doc.def = def
	}
	return doc.def, nil
}

// Clone returns a structure that may be changed.
func (doc *document) Clone() (*libvirtxml.Domain, error) {
	def, err := doc.Def()
	if err != nil {
		return nil, err
	}
	return domxml.Clone(def)
}

// XML prints the definition; what was printed once is kept.
func (doc *document) XML(flags domxml.FormatFlags) (string, error) {
	if s, ok := doc.printed[flags]; ok {
		return s, nil
	}
	if doc.text != "" && flags&domxml.Inactive != 0 && flags&domxml.Migratable == 0 && (flags&domxml.Secure != 0 || !doc.secret()) {
		return doc.text, nil
	}
	def, err := doc.Def()
	if err != nil {
		return "", err
	}
	s, err := domxml.Format(def, flags)
	if err != nil {
		return "", err
	}
	if doc.printed == nil {
		doc.printed = map[domxml.FormatFlags]string{}
	}
	doc.printed[flags] = s
	return s, nil
}

// Stored is the text that goes to disk.
func (doc *document) Stored() (string, error) {
	if doc.text == "" {
		s, err := domxml.Format(doc.def, domxml.Secure|domxml.Inactive)
		if err != nil {
			return "", err
		}
		doc.text = s
	}
	return doc.text, nil
}

// secret tells whether the text may hold what only Secure shows.
func (doc *document) secret() bool { return strings.Contains(doc.text, " passwd='") }

// rest drops the structure of a definition that has its text: it is made again when it is needed.
func (doc *document) rest() {
	if doc.text != "" {
		doc.def, doc.printed = nil, nil
	}
}

// parseUUID reads the UUID of a definition that has passed domxml, and so is valid.
func parseUUID(s string) protocol.UUID {
	u, err := uuid.Parse(s)
	if err != nil {
		return protocol.UUID{}
	}
	return protocol.UUID(u)
}
