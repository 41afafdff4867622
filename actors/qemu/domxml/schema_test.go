package domxml

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"virtree/wire/liberr"
)

// A document that does not fit the schema is refused in libvirt's words; what Format prints fits.
func TestValidateSchema(t *testing.T) {
	if _, err := exec.LookPath("xmllint"); err != nil {
		t.Skip("no xmllint")
	}
	if _, err := os.Stat(DomainSchema); err != nil {
		t.Skip("libvirt's schemas are not installed")
	}
	for doc, want := range map[string]string{
		"define/unknown-elems.in.xml":   "XML document failed to validate against schema: Unable to validate doc against " + DomainSchema + "\nElement domain has extra content: unknownthing\n",
		"reject/disk-type-bad.in.xml":   "XML document failed to validate against schema: Unable to validate doc against " + DomainSchema + "\nExtra element devices in interleave\nElement domain failed to validate content\n",
		"define/virtinstall-q35.in.xml": "",
	} {
		err := ValidateSchema(t.Context(), []byte(read(t, "testdata/"+doc)), DomainSchema)
		var e *liberr.Error
		switch {
		case err == nil && want == "":
		case errors.As(err, &e) && e.Code == liberr.XMLInvalidSchema && e.Message == want:
		default:
			t.Errorf("%s: %v", doc, err)
		}
	}
	env := referenceEnv(t)
	lives(t, func(t *testing.T, live, _, _ string) {
		if strings.Contains(live, "dx-live-kvm-q35") {
			return // libvirt's own print of a smartcard on TCP does not fit libvirt's schema
		}
		d, err := Parse([]byte(live), env, ParseTrusted|ParseLive)
		if err != nil {
			t.Fatal(err)
		}
		text, err := Format(d, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := ValidateSchema(t.Context(), []byte(text), DomainSchema); err != nil {
			t.Error(err)
		}
	})
}
