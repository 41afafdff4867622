package secret

import (
	"errors"
	"strings"
	"testing"

	"virtree/wire/liberr"
)

const id1 = "5a6a1d0e-0000-4000-8000-0000000000b1"

// What is printed was recorded from libvirtd 9.0.0.
func TestParseAndFormat(t *testing.T) {
	head := func(eph, priv string) string {
		return "<secret ephemeral='" + eph + "' private='" + priv + "'>\n  <uuid>" + id1 + "</uuid>\n"
	}
	for _, c := range []struct{ name, in, out string }{
		{"defaults", "<secret><uuid>" + id1 + "</uuid></secret>", head("no", "no") + "</secret>\n"},
		{"flags, escapes, volume",
			`<secret ephemeral="yes" private="yes"><uuid>` + id1 + `</uuid><description>a &lt; b &amp; "c" 'd'</description><usage type="volume"><volume>/x/y</volume></usage></secret>`,
			head("yes", "yes") + "  <description>a &lt; b &amp; &quot;c&quot; &apos;d&apos;</description>\n  <usage type='volume'>\n    <volume>/x/y</volume>\n  </usage>\n</secret>\n"},
		{"ceph", "<secret><uuid>" + id1 + `</uuid><usage type="ceph"><name>val</name></usage></secret>`,
			head("no", "no") + "  <usage type='ceph'>\n    <name>val</name>\n  </usage>\n</secret>\n"},
		{"iscsi", "<secret><uuid>" + id1 + `</uuid><usage type="iscsi"><target>val</target></usage></secret>`,
			head("no", "no") + "  <usage type='iscsi'>\n    <target>val</target>\n  </usage>\n</secret>\n"},
		{"tls", "<secret><uuid>" + id1 + `</uuid><usage type="tls"><name>val</name></usage></secret>`,
			head("no", "no") + "  <usage type='tls'>\n    <name>val</name>\n  </usage>\n</secret>\n"},
		{"vtpm", "<secret><uuid>" + id1 + `</uuid><usage type="vtpm"><name>val</name></usage></secret>`,
			head("no", "no") + "  <usage type='vtpm'>\n    <name>val</name>\n  </usage>\n</secret>\n"},
		{"usage none is not printed", "<secret><uuid>" + id1 + `</uuid><usage type="none"/></secret>`, head("no", "no") + "</secret>\n"},
		{"an empty description is none", "<secret><uuid>" + id1 + "</uuid><description/></secret>", head("no", "no") + "</secret>\n"},
		{"space in a description stays, other elements do not", "<secret><uuid>" + id1 + "</uuid><description>  a\n b </description><name>zz</name></secret>",
			head("no", "no") + "  <description>  a\n b </description>\n</secret>\n"},
		{"a UUID in another dress", "<secret><uuid> 5A6A1D0E000040008000-0000000000b1 </uuid></secret>", head("no", "no") + "</secret>\n"},
		{"the first of two counts", "<secret><uuid>" + id1 + `</uuid><usage type="volume"><volume>/x</volume><volume>/y</volume></usage></secret>`,
			head("no", "no") + "  <usage type='volume'>\n    <volume>/x</volume>\n  </usage>\n</secret>\n"},
		{"a comment splits no text", "<secret><uuid>" + id1 + `</uuid><usage type="volume"><volume>/a<!-- x -->b</volume></usage></secret>`,
			head("no", "no") + "  <usage type='volume'>\n    <volume>/ab</volume>\n  </usage>\n</secret>\n"},
	} {
		d, err := parse([]byte(c.in), false)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := d.format(); got != c.out {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.out)
		}
		again, err := parse([]byte(d.format()), true)
		if err != nil || *again != *d {
			t.Errorf("%s: what was printed reads as %+v, %v", c.name, again, err)
		}
	}
}

func TestParseMakesUpAUUID(t *testing.T) {
	a, _ := parse([]byte("<secret><uuid></uuid></secret>"), false)
	b, err := parse([]byte("<secret/>"), false)
	if err != nil || a.uuid == b.uuid {
		t.Error(a, b, err)
	}
}

// The errors were recorded from libvirtd 9.0.0.
func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		in, message string
		from        liberr.Domain
		code        liberr.Code
	}{
		{`<secret ephemeral="maybe"/>`, "XML error: invalid value of 'ephemeral'", from, liberr.XMLError},
		{`<secret private="maybe"/>`, "XML error: invalid value of 'private'", from, liberr.XMLError},
		{`<secret><uuid>zz</uuid></secret>`, "internal error: malformed uuid element", from, liberr.InternalError},
		{`<foo/>`, "XML error: expecting root element of 'secret', not 'foo'", liberr.FromXML, liberr.XMLError},
		{`<secret><usage/></secret>`, "XML error: unknown secret usage type", from, liberr.XMLError},
		{`<secret><usage type="x"/></secret>`, "unsupported configuration: unknown secret usage type x", from, liberr.ConfigUnsupported},
		{`<secret><usage type="volume"/></secret>`, "internal error: volume usage specified, but volume path is missing", from, liberr.InternalError},
		{`<secret><usage type="ceph"><name/></usage></secret>`, "internal error: Ceph usage specified, but name is missing", from, liberr.InternalError},
		{`<secret><usage type="iscsi"/></secret>`, "internal error: iSCSI usage specified, but target is missing", from, liberr.InternalError},
		{`<secret><usage type="tls"/></secret>`, "internal error: TLS usage specified, but name is missing", from, liberr.InternalError},
		{`<secret><usage type="vtpm"/></secret>`, "internal error: vTPM usage specified, but name is missing", from, liberr.InternalError},
		{`hello`, "(definition_of_secret):1: Start tag expected, '<' not found\nhello\n^", from, liberr.XMLDetail},
		{`<secret><uuid></secret>`, "(definition_of_secret):1: Opening and ending tag mismatch: uuid line 1 and secret\n<secret><uuid></secret>\n-----------------------^", from, liberr.XMLDetail},
		{`<secret/><secret/>`, "(definition_of_secret):1: Extra content at the end of the document\n<secret/><secret/>\n---------^", from, liberr.XMLDetail},
		{"<secret><description>a\x01b</description></secret>", "(definition_of_secret):1: PCDATA invalid Char value 1\n<secret><description>a\x01b</description></secret>\n----------------------^", from, liberr.XMLDetail},
		{``, "(definition_of_secret):1: Document is empty\n(null)\n^", from, liberr.XMLDetail},
	} {
		_, err := parse([]byte(c.in), false)
		var e *liberr.Error
		if !errors.As(err, &e) || e.Message != c.message || e.Code != c.code || e.Domain != c.from {
			t.Errorf("%s: %v, want %s", c.in, err, c.message)
		}
	}
	for _, bad := range []string{"hello", "<secret><uuid></secret>", "<secret/><secret/>", "<secret>\n<", "<secret a='1' a='2'", "\x00"} {
		if _, err := parse([]byte(bad), false); !errors.Is(err, liberr.XMLDetail) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestSchema(t *testing.T) {
	const head = "XML document failed to validate against schema: Unable to validate doc against /usr/share/libvirt/schemas/secret.rng\n"
	for in, want := range map[string]string{
		`<secret><foo/></secret>`: "Element secret has extra content: foo\n",
		`<secret ephemeral="x"/>`: "Invalid attribute ephemeral for element secret\n",
		`<secret foo="a"/>`:       "Invalid attribute foo for element secret\n",
		`<secret>junk</secret>`:   "Element secret has extra content: text\n",
		`<secret><description>a</description><description>b</description></secret>`: "Extra element description in interleave\nElement secret failed to validate content\n",
		`<secret><usage type="x"/></secret>`:                                        "Extra element usage in interleave\nElement secret failed to validate content\n",
		`<secret><usage type="volume"><volume>rel</volume></usage></secret>`:        "Extra element usage in interleave\nElement secret failed to validate content\n",
		`<secret><uuid>zz</uuid></secret>`:                                          "Extra element uuid in interleave\nElement secret failed to validate content\n",
	} {
		_, err := parse([]byte(in), true)
		if err == nil || err.Error() != head+want {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("<secret ephemeral='no' private='no'>\n  <uuid>" + id1 + "</uuid>\n</secret>\n")
	f.Add(`<secret><usage type="volume"><volume>/a<!-- x -->b</volume></usage></secret>`)
	f.Fuzz(func(t *testing.T, doc string) {
		d, err := parse([]byte(doc), false)
		if err != nil {
			return
		}
		again, err := parse([]byte(d.format()), false)
		if err != nil {
			t.Fatalf("printed form is refused: %v\n%s", err, d.format())
		}
		if strings.Contains(doc, "\r") || strings.Contains(doc, "&#") { // a carriage return reads back as a newline
			return
		}
		if *again != *d {
			t.Fatalf("%+v reads back as %+v", d, again)
		}
	})
}
