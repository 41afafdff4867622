package def

import (
	"errors"
	"strings"
	"testing"

	"virtree/wire/liberr"
)

func volumeWith(encryption string) string {
	return "<volume><name>v</name><capacity>1</capacity><target><format type='raw'/>" + encryption + "</target></volume>"
}

func TestEncryptionIsPrintedAsItWasRead(t *testing.T) {
	kind, _ := KindNamed("dir")
	for _, doc := range []string{
		"    <encryption format='default'>\n    </encryption>\n",
		"    <encryption format='luks' engine='librbd'>\n      <secret type='passphrase' usage='a&amp;b'/>\n    </encryption>\n",
		"    <encryption format='luks'>\n      <secret type='passphrase' uuid='11111111-1111-1111-1111-111111111111'/>\n" +
			"      <cipher name='serpent' size='256' mode='cbc' hash='sha512'/>\n      <ivgen name='plain64' hash='sha256'/>\n    </encryption>\n",
	} {
		v, err := ParseVolume(volumeWith(doc), kind, false)
		if err != nil {
			t.Errorf("%s: %v", doc, err)
		} else if got := v.XML(); !strings.Contains(got, doc) {
			t.Errorf("%s was read, and is printed in\n%s", doc, got)
		}
	}
}

func TestEncryptionThatIsNone(t *testing.T) {
	kind, _ := KindNamed("dir")
	luks := func(inside string) string { return "<encryption format='luks'>" + inside + "</encryption>" }
	for _, c := range []struct {
		doc  string
		code liberr.Code
		says string
	}{
		{"<encryption/>", liberr.XMLError, "unknown volume encryption format"},
		{"<encryption format='x'/>", liberr.ConfigUnsupported, "unknown volume encryption format type x"},
		{"<encryption format='luks' engine='x'/>", liberr.XMLError, "Invalid value for attribute 'engine' in element 'encryption': 'x'."},
		{luks("<secret uuid='11111111-1111-1111-1111-111111111111'/>"), liberr.XMLError, "unknown volume encryption secret type"},
		{luks("<secret type='x'/>"), liberr.ConfigUnsupported, "unknown volume encryption secret type x"},
		{luks("<secret type='passphrase'/>"), liberr.XMLError, "missing secret uuid or usage attribute"},
		{luks("<secret type='passphrase' uuid='x'/>"), liberr.XMLError, "invalid secret uuid 'x'"},
		{luks("<secret type='passphrase' uuid='11111111-1111-1111-1111-111111111111' usage='x'/>"), liberr.XMLError, "either secret uuid or usage expected"},
		{luks("<cipher size='1'/>"), liberr.XMLError, "cipher info missing 'name' attribute"},
		{luks("<cipher name='aes'/>"), liberr.XMLError, "Missing required attribute 'size' in element 'cipher'"},
		{luks("<cipher name='aes' size='x'/>"), liberr.XMLError, "Invalid value for attribute 'size' in element 'cipher': 'x'. Expected non-negative integer value"},
		{luks("<ivgen name='plain64'/>"), liberr.XMLError, "ivgen element found, but cipher is missing"},
		{luks("<cipher name='aes' size='256'/><ivgen/>"), liberr.XMLError, "missing ivgen info name string"},
	} {
		if _, err := ParseVolume(volumeWith(c.doc), kind, false); !errors.Is(err, c.code) || !strings.HasSuffix(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", c.doc, err, c.says)
		}
	}
}
