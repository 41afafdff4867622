package secret

import (
	"errors"
	"strings"

	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
)

// syntaxError says in libxml2's words, which libvirt passes on, why a document is not well formed. The scanner of domain
// documents knows them; what it would accept has no such words, and gets those of the decoder.
func syntaxError(doc []byte, own error) error {
	_, err := domxml.Parse(doc, domxml.Env{}, domxml.ParseTrusted|domxml.ParseNoCaps)
	var e *liberr.Error
	if errors.As(err, &e) && e.Code == liberr.XMLDetail {
		if rest, ok := strings.CutPrefix(e.Message, "(domain_definition)"); ok {
			return liberr.Raw(from, liberr.XMLDetail, origin+rest).WithCause(own)
		}
	}
	return liberr.Raw(from, liberr.XMLDetail, origin+":1: "+own.Error()).WithCause(own)
}
