package xmltree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtree/wire/liberr"
)

func tree(t testing.TB, doc string) *Node {
	t.Helper()
	n, bad := Scan(doc)
	if bad != nil {
		t.Fatalf("%s\n%s", doc, bad.Message("here"))
	}
	return n
}

func TestElementsAttributesAndText(t *testing.T) {
	n := tree(t, "<?xml version='1.0'?>\n<!-- c --><a b='1 &lt;&#x20AC;' c=\"x\r\n\ty\">\n  <b>one</b>\n  <c/>\n  <b> </b>\n  <d>x<![CDATA[<y>]]>&amp;z\r\n</d>\n</a>\n<?pi?>")
	for _, c := range []struct{ what, got, want string }{
		{"attribute with references", n.Get("b"), "1 <€"},
		{"attribute with line ends", n.Get("c"), "x  y"},
		{"attribute that is missing", n.Get("d"), ""},
		{"text of the first", n.KidText("b"), "one"},
		{"text of nobody", n.KidText("c/d"), ""},
		{"blanks alone", n.All("b")[1].Text, " "},
		{"text with everything", n.KidText("d"), "x<y>&z\n"},
		{"blanks between elements", n.Text, ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
	if d := n.Kid("d"); d.Line != 7 {
		t.Errorf("the last child begins in line %d, want 7", d.Line)
	}
}

func TestContentIsInTheDocumentsOrder(t *testing.T) {
	for doc, want := range map[string]string{
		"<a>n<b>c</b>d</a>":                                  "ncd",
		"<a>1<b>2<c>3</c>4</b>5<d/>6</a>":                    "123456",
		"<a><b>1</b>\n<b>2</b></a>":                          "12",
		"<r><metadata>1<b>2</b><![CDATA[3]]></metadata></r>": "123",
	} {
		if got := tree(t, doc).Content(); got != want {
			t.Errorf("%s: %q, want %q", doc, got, want)
		}
	}
	n := tree(t, "<a>text<b>x</b></a>")
	n.Text = "" // as drivers do
	if got := n.Content(); got != "x" {
		t.Errorf("after its text was dropped: %q", got)
	}
}

func TestNamespaces(t *testing.T) {
	n := tree(t, "<r xmlns:p='u' xmlns:q='v'><p:a/><q:a/><a xmlns='w'><b/></a><a/><z:a/><p:c xmlns:p='x'><p:d/></p:c><p:e/></r>")
	var got []string
	for _, k := range n.Kids {
		got = append(got, k.Space+" "+k.Local())
	}
	if want := "u a,v a,w a, a, z:a,x c,u e"; strings.Join(got, ",") != want {
		t.Errorf("%s, want %s", strings.Join(got, ","), want)
	}
	if k := n.Kid("a"); k != n.Kids[3] {
		t.Errorf("a name without prefix found <%s> of %q", k.Name, k.Space)
	}
	if k := n.Kid("q:a"); k != n.Kids[1] {
		t.Error("a name with its prefix does not find its element")
	}
	if k := n.Kids[2].Kids[0]; k.Space != "w" || !n.Kids[0].Is("u", "a") {
		t.Errorf("a default namespace is not inherited: %q", k.Space)
	}
}

func TestMetadataIsKeptAsItWas(t *testing.T) {
	for in, want := range map[string]string{
		"<x:a xmlns:x='u'>t <b/> <c/></x:a>":                     "<x:a xmlns:x=\"u\">t <b/> <c/></x:a>\n",
		"<x:a xmlns:x='u'> <b/> </x:a>":                          "<x:a xmlns:x=\"u\">\n  <b/>\n</x:a>\n",
		"<x:a xmlns:x='u'><c/>t <d/> </x:a>":                     "<x:a xmlns:x=\"u\"><c/>t <d/></x:a>\n",
		"<x:a xmlns:x='u'> <c/> t<d/> </x:a>":                    "<x:a xmlns:x=\"u\"><c/> t<d/> </x:a>\n",
		"<x:a xmlns:x='u'> &amp; <d/></x:a>":                     "<x:a xmlns:x=\"u\"> &amp; <d/></x:a>\n",
		"<x:a xmlns:x='u'> </x:a>":                               "<x:a xmlns:x=\"u\"> </x:a>\n",
		"<x:a xmlns:x='u'><b> </b> t</x:a>":                      "<x:a xmlns:x=\"u\"><b> </b> t</x:a>\n",
		"<x:a xmlns:x='u'><!--c--><?p?><![CDATA[<]]></x:a>":      "<x:a xmlns:x=\"u\"><!--c--><?p?><![CDATA[<]]></x:a>\n",
		"<x:a b='&lt;&#10;&quot;é' xmlns:x='u'>&gt;&#13;é</x:a>": "<x:a xmlns:x=\"u\" b=\"&lt;&#10;&quot;&#xE9;\">&gt;&#13;é</x:a>\n",
	} {
		var b strings.Builder
		tree(t, "<network><metadata>"+in+"</metadata></network>").Kid("metadata").Kids[0].Dump(&b, 0)
		if b.String() != want {
			t.Errorf("%s\nbecame %q\nwant   %q", in, b.String(), want)
		}
		b.Reset()
		tree(t, "<networkstatus><network><metadata>"+in+"</metadata></network></networkstatus>").Kid("network/metadata").Kids[0].Dump(&b, 0)
		if b.String() != want {
			t.Errorf("in a status file %s\nbecame %q", in, b.String())
		}
	}
}

// What clients get is what libvirt's own library gives out.
func TestPiecesOfMetadata(t *testing.T) {
	for in, want := range map[string]string{
		"<p:a xmlns:p='u' p:c='1' d='2'><p:b xmlns:q='u' q:r='1'><q:s/></p:b><b/><z:y xmlns:z='u'/></p:a>": "<a c=\"1\" d=\"2\">\n  <b xmlns:q=\"u\" q:r=\"1\">\n    <s/>\n  </b>\n  <b/>\n  <y xmlns:z=\"u\"/>\n</a>",
		"<p:a xmlns:p='u' xmlns='u'><b/></p:a>":                        "<a xmlns=\"u\">\n  <b/>\n</a>",
		"<a xmlns='u'><b>t<c/></b></a><p:a xmlns:p='u'/>":              "<a>\n  <b>t<c/></b>\n</a>",
		"text<a/><z:a xmlns:z='z'/><p:a xmlns:p='u'>é<b c='é'/></p:a>": "<a>é<b c=\"&#xE9;\"/></a>",
		"<a/><z:a xmlns:z='z'/>":                                       "",
	} {
		meta := tree(t, "<network><metadata>"+in+"</metadata></network>").Kid("metadata")
		SanitizeMetadata(meta)
		if got, _ := Metadata(meta, "u"); got != want {
			t.Errorf("%s\ngave %q\nwant %q", in, got, want)
		}
	}
}

func TestMetadataIsSet(t *testing.T) {
	var meta *Node
	for _, step := range []struct{ text, uri, all, refused string }{
		{"<a b='1'><c/>t <d/> </a>", "u", `<k:a xmlns:k="u" b="1"><k:c/>t <k:d/> </k:a>`, ""},
		{"<a b='1'>\n<c/> <d/></a>", "u", "<k:a xmlns:k=\"u\" b=\"1\">\n<k:c/> <k:d/></k:a>", ""},
		{"<a b='1'><c/>t <d/> </a>", "u", `<k:a xmlns:k="u" b="1"><k:c/>t <k:d/> </k:a>`, ""},
		{"<a", "u", `<k:a xmlns:k="u" b="1"><k:c/>t <k:d/> </k:a>`, "(metadata_xml):1: Couldn't find end of Start Tag a line 1\n<a\n--^"},
		{"<a/><b/>", "u", `<k:a xmlns:k="u" b="1"><k:c/>t <k:d/> </k:a>`, "(metadata_xml):1: Extra content at the end of the document\n<a/><b/>\n----^"},
		{"<a xmlns:k='w'/>", "u", `<k:a xmlns:k="u" b="1"><k:c/>t <k:d/> </k:a>`, "internal error: failed to create a new XML namespace"},
		{"<a><!--c--><b/></a>", "u", "<k:a xmlns:k=\"u\">\n  <!--c-->\n  <k:b/>\n</k:a>", ""},
		{"<a xmlns='v'><b/></a>", "w", "<k:a xmlns:k=\"u\">\n  <!--c-->\n  <k:b/>\n</k:a>\n<a xmlns=\"v\" xmlns:k=\"w\">\n  <b/>\n</a>", ""},
		{"remove", "u", "<a xmlns=\"v\" xmlns:k=\"w\">\n  <b/>\n</a>", ""},
		{"", "v", "<a xmlns=\"v\" xmlns:k=\"w\">\n  <b/>\n</a>", "(metadata_xml):1: Document is empty\n(null)\n^"},
		{"remove", "v", "", ""},
	} {
		text := &step.text
		if *text == "remove" {
			text = nil
		}
		next, err := SetMetadata(meta, text, "k", step.uri, liberr.FromDomain)
		switch {
		case err == nil:
			meta = next
		case err.Error() != step.refused:
			t.Errorf("%s: %v, want %q", step.text, err, step.refused)
		}
		if err == nil && step.refused != "" {
			t.Errorf("%s was taken", step.text)
		}
		var b strings.Builder
		if meta != nil {
			for _, k := range meta.Kids {
				k.Dump(&b, 0)
			}
		}
		if got := strings.TrimSuffix(b.String(), "\n"); got != step.all {
			t.Errorf("after %s: %s\nwant %s", step.text, got, step.all)
		}
	}
}

func TestReaderRefusesOtherDocuments(t *testing.T) {
	r := Reader{Origin: "(x)", From: liberr.FromNetwork, Root: "network"}
	for _, c := range []struct {
		doc     string
		code    liberr.Code
		domain  liberr.Domain
		message string
	}{
		{"<pool/>", liberr.XMLError, liberr.FromXML, "XML error: expecting root element of 'network', not 'pool'"},
		{"<p:pool xmlns:p='u'/>", liberr.XMLError, liberr.FromXML, "XML error: expecting root element of 'network', not 'pool'"},
		{"", liberr.XMLDetail, liberr.FromNetwork, "(x):1: Document is empty\n(null)\n^"},
		{"<network>\n</networ>", liberr.XMLDetail, liberr.FromNetwork, "(x):2: Opening and ending tag mismatch: network line 1 and networ\n</networ>\n---------^"},
	} {
		_, err := r.Read(c.doc)
		var e *liberr.Error
		if !errors.As(err, &e) || e.Code != c.code || e.Domain != c.domain || e.Message != c.message {
			t.Errorf("%q: %v (%+v)", c.doc, err, e)
		}
	}
	if n, err := r.Read("<p:network xmlns:p='u'/>"); err != nil || n == nil {
		t.Errorf("a root with a prefix: %v", err)
	}
}

func TestLimits(t *testing.T) {
	for what, c := range map[string]struct{ doc, complaint string }{
		"size":                   {"<a>" + strings.Repeat("x", maxDocument) + "</a>", "Document is too large"},
		"depth":                  {strings.Repeat("<a>", maxDepth+2), "Excessive depth in document: 256 use XML_PARSE_HUGE option"},
		"elements":               {"<a>" + strings.Repeat("<b/>", maxNodes) + "</a>", "Document has too many elements"},
		"text by entities":       {"<!DOCTYPE a [<!ENTITY x '" + strings.Repeat("y", 5000) + "'>]><a>" + strings.Repeat("&x;", 5000) + "</a>", loop},
		"attributes by entities": {"<!DOCTYPE a [<!ENTITY x '" + strings.Repeat("y", 5000) + "'>]><a>" + strings.Repeat("<b c='&x;&x;&x;'/>", 5000) + "</a>", loop},
		"nesting of entities":    {nested(60), loop},
	} {
		if _, bad := Scan(c.doc); bad == nil || bad.Complaint != c.complaint {
			t.Errorf("%s: %v", what, bad)
		}
	}
}

// nested is a document with entities in one another.
func nested(n int) string {
	var b strings.Builder
	b.WriteString("<!DOCTYPE a [<!ENTITY e0 'x'>")
	for i := range n {
		fmt.Fprintf(&b, "<!ENTITY e%d '%s&e%d;'>", i+1, strings.Repeat(" ", 80), i)
	}
	fmt.Fprintf(&b, "]><a>&e%d;</a>", n)
	return b.String()
}

// What is printed is read back as it was.
func TestPrintAndBack(t *testing.T) {
	made := Elem("a", "b", "<'\">&", "c", "")
	made.Add(Leaf("d", "x < y & z"), Elem("e"), Elem("f", "g", "h"))
	made.Kid("f").Add(Elem("i"))
	var b strings.Builder
	made.Print(&b, 0)
	want := "<a b='&lt;&apos;&quot;&gt;&amp;' c=''>\n  <d>x &lt; y &amp; z</d>\n  <e/>\n  <f g='h'>\n    <i/>\n  </f>\n</a>\n"
	if b.String() != want {
		t.Fatalf("printed\n%s", b.String())
	}
	var again strings.Builder
	tree(t, want).Print(&again, 0)
	if again.String() != want {
		t.Errorf("printed again\n%s", again.String())
	}
	if got := Escape("a\x01b'"); got != "ab&apos;" {
		t.Errorf("escaped: %q", got)
	}
}

// FuzzScan: no document brings the scanner down; it has a complaint with a place in the document, or a tree that can be
// printed, and whose print is a document again.
func FuzzScan(f *testing.F) {
	for _, doc := range append(append([]string{}, broken...), declared...) {
		f.Add(doc)
	}
	for _, file := range documents(f) {
		if b, err := os.ReadFile(file); err == nil {
			f.Add(string(b))
		}
	}
	f.Fuzz(func(t *testing.T, doc string) {
		n, bad := Scan(doc)
		if bad != nil {
			if bad.Complaint == "" || bad.line < 1 || bad.at > len(bad.doc) || bad.Message("here") == "" {
				t.Fatalf("complaint %+v", bad)
			}
			return
		}
		var b strings.Builder
		n.Print(&b, 0)
		if _, bad := Scan(b.String()); bad != nil && !strings.Contains(doc, "xmlns") && !strings.Contains(bad.Complaint, "too ") {
			t.Fatalf("printed no document: %s\n%s", bad.Complaint, b.String())
		}
		_ = n.Content()
	})
}

// documents are what other packages keep of libvirt's.
func documents(t testing.TB) []string {
	files, err := filepath.Glob("../../qemu/domxml/testdata/define/*.in.xml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	return files
}

func BenchmarkScan(b *testing.B) {
	doc, err := os.ReadFile("../../qemu/domxml/testdata/define/virtinstall-q35.in.xml")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, bad := Scan(string(doc)); bad != nil {
			b.Fatal(bad)
		}
	}
}

func TestValues(t *testing.T) {
	const id = "5c6d49af-b071-6127-b4ec-6f8ed4b55335"
	for s, want := range map[string]bool{id: true, " " + id + "\n": true, strings.ReplaceAll(id, "-", ""): true, "--5c-6d49af-b071-6127-b4ec-6f8ed4b55335": true,
		id + "-": false, id + "0": false, "5c6d49a-fb071-6127-b4ec-6f8ed4b55335": false, "": false, "x": false} {
		if u, ok := UUID(s); ok != want || ok && u.String() != id {
			t.Errorf("%q: %v, %v", s, u, ok)
		}
	}
	for s, want := range map[string]string{"52:54:0:1:a:FF": "52540001 0aff", "52:54:00:01:0a": "", "52:54:00:01:0a:100": "", "52:54:00:01:0a:": "", "+1:2:3:4:5:6": "", "52-54-00-01-0a-ff": ""} {
		if m, ok := MAC(s); ok != (want != "") || ok && fmt.Sprintf("%x %x", m[:4], m[4:]) != want {
			t.Errorf("%q: %x, %v", s, m, ok)
		}
	}
	for s, want := range map[string]string{"10.0.0.1": "10.0.0.1", "10.1": "10.0.0.1", "0x0B.010.1.2": "11.8.1.2", "167772161": "10.0.0.1", "256.1.1.1": "", "1.2.3.4.5": "", "": "", "1..2": "", "0b1.1.1.1": "", "-1.1.1.1": "", "1_0.1.1.1": ""} {
		if a, ok := IPv4(s); ok != (want != "") || ok && a.String() != want {
			t.Errorf("%q: %v, %v", s, a, ok)
		}
	}
}
