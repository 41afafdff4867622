package domxml

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"

	"virtree/wire/liberr"
)

// DomainSchema is the RELAX NG schema libvirt's packages install.
const DomainSchema = "/usr/share/libvirt/schemas/domain.rng"

// ValidateSchema checks a document against a RELAX NG schema, as VIR_DOMAIN_DEFINE_VALIDATE asks for. The work is done
// by libxml2's xmllint, the engine libvirt itself has linked in, so that verdict and wording are the same; the document
// goes through its standard input.
func ValidateSchema(ctx context.Context, doc []byte, schema string) error {
	cmd := exec.CommandContext(ctx, "xmllint", "--noout", "--nonet", "--relaxng", schema, "-")
	cmd.Stdin = bytes.NewReader(doc)
	var out bytes.Buffer
	cmd.Stderr = &out
	err := cmd.Run()
	if err == nil {
		return nil
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return liberr.New(liberr.FromXML, liberr.OperationTimeout, "validation against %s took too long", schema)
	case errors.As(err, &exit) && exit.ExitCode() == 3: // the document does not fit
		return liberr.New(liberr.FromXML, liberr.XMLInvalidSchema, "Unable to validate doc against %s\n%s", schema, complaints(out.String()))
	case errors.As(err, &exit) && exit.ExitCode() == 1: // no document at all: Parse words that better
		return nil
	}
	return liberr.New(liberr.FromXML, liberr.InternalError, "Unable to validate doc against %s: %v", schema, err)
}

// complaints leaves of xmllint's lines what libxml2 said.
func complaints(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if _, said, ok := strings.Cut(line, "Relax-NG validity error : "); ok {
			b.WriteString(said)
		}
	}
	return b.String()
}
