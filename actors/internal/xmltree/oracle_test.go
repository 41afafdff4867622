package xmltree

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"virtree/wire/liberr"
)

var (
	mutations = flag.Int("mutations", 3000, "how many random documents are compared with libvirt")
	seed      = flag.Uint64("seed", 2, "of their randomness")
)

// oracle answers with what libvirt says of each document it is given, in the process of its library: the test driver's
// networks are read by the same code as anybody's. Documents come, and messages go, in hexadecimal.
const oracle = `
import ctypes, os, sys
lib = ctypes.CDLL("libvirt.so.0")
for f in lib.virConnectOpen, lib.virNetworkDefineXML:
    f.restype = ctypes.c_void_p
lib.virGetLastErrorMessage.restype = ctypes.c_char_p
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
conn = ctypes.c_void_p(lib.virConnectOpen(b"test:///default"))
for line in sys.stdin:
    net = ctypes.c_void_p(lib.virNetworkDefineXML(conn, bytes.fromhex(line)))
    if net:
        lib.virNetworkUndefine(net)
        lib.virNetworkFree(net)
        print(0, flush=True)
    else:
        print(lib.virGetLastErrorCode(), lib.virGetLastErrorMessage().hex(), flush=True)
`

// libvirt returns a function that asks the library about a document: its complaint about the syntax, "" when it has none.
func libvirt(t *testing.T) func(doc string) string {
	t.Helper()
	cmd := exec.Command("python3", "-c", oracle)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no python3: %v", err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	lines := bufio.NewReader(out)
	return func(doc string) string {
		_, _ = fmt.Fprintf(in, "%x\n", doc)
		answer, err := lines.ReadString('\n')
		if err != nil {
			t.Skip("no python3, or no libvirt.so.0")
		}
		code, message, _ := strings.Cut(strings.TrimSpace(answer), " ")
		if code != strconv.Itoa(int(liberr.XMLDetail)) {
			return ""
		}
		text, err := hex.DecodeString(message)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

func complaint(doc string) string {
	if _, bad := Scan(doc); bad != nil {
		return bad.Message("(network_definition)")
	}
	return ""
}

// Every broken document is complained about as libvirt does.
func TestComplaintsAreLibvirts(t *testing.T) {
	ask := libvirt(t)
	for _, doc := range slices.Concat(broken, declared) {
		if got, want := complaint(doc), ask(doc); got != want {
			t.Errorf("%q\nhere:    %q\nlibvirt: %q", doc, got, want)
		}
	}
}

// So is what comes of documents by random changes.
func TestComplaintsAboutRandomDocuments(t *testing.T) {
	ask := libvirt(t)
	rnd := rand.New(rand.NewPCG(1, *seed))
	wrong := 0
	for range *mutations {
		doc := mutate(rnd, broken[rnd.IntN(len(broken))])
		got, want := complaint(doc), ask(doc)
		if got != want && !strings.Contains(got, "failed to parse") { // libvirt looks at the elements of an entity first
			t.Errorf("%q\nhere:    %q\nlibvirt: %q", doc, got, want)
			if wrong++; wrong == 20 {
				t.FailNow()
			}
		}
	}
}

// pieces are what documents are changed with.
var pieces = strings.Split("< > </ /> <a <a> </a> <b/> & &amp; &lt; &x; &#65; &#x41; &#0; ; \" ' = a='1' a=\"2\" <!-- --> -- - <![CDATA[ ]]> ]] ]"+
	" <? ?> <?pi x?> <?xml <!DOCTYPE a [ <!ENTITY x 'y'> ]> xmlns='u' xmlns:p='v' p:a : : \u00e9 \u20ac \U0001f600 \x01 \ufffe \r\n \r \n \t name network \xff \xc3 \xe2\x82 \xf0\x9f \xed\xa0\x80 \xc0\x80 \xf4\x90\x80\x80", " ")

func mutate(rnd *rand.Rand, doc string) string {
	for range 1 + rnd.IntN(3) {
		at := 0
		if len(doc) > 0 {
			at = rnd.IntN(len(doc) + 1)
		}
		switch rnd.IntN(5) {
		case 0: // cut off
			doc = doc[:at]
		case 1: // take away
			doc = doc[:at] + doc[min(len(doc), at+1+rnd.IntN(4)):]
		case 2: // twice
			end := min(len(doc), at+1+rnd.IntN(12))
			doc = doc[:end] + doc[at:end] + doc[end:]
		default:
			doc = doc[:at] + pieces[rnd.IntN(len(pieces))] + doc[at:]
		}
	}
	return doc
}

// declared are documents with entities. They are compared as they are: of the document type we read just what entities need.
var declared = func() (docs []string) {
	const types = "<!DOCTYPE a [<!ENTITY a 'b'> <!ENTITY m '<x>q</x>'> <!ENTITY e SYSTEM 'f'> <!ENTITY l '&l;'> <!ENTITY u 'x&v;'> <!ELEMENT a (b)> <!ATTLIST a b CDATA '>'>]>"
	for _, name := range []string{"a", "e", "l", "u", "v"} {
		docs = append(docs, types+"<a>\n&"+name+";</a>", types+"<a>\n<b c='&"+name+";'/></a>", types+"<a>&"+name+";<")
	}
	docs = append(docs, types+"<b c='&m;'/>")
	bomb := "<!DOCTYPE a [<!ENTITY a0 'ha'>"
	for i := range 9 {
		bomb += fmt.Sprintf("<!ENTITY a%d '%s'>", i+1, strings.Repeat(fmt.Sprintf("&a%d;", i), 10))
	}
	for i := range 10 {
		docs = append(docs, fmt.Sprintf("%s]><a>&a%d;</a><", bomb, i))
	}
	for _, encoding := range []string{"utf-8", "UTF8", "UTF-16", "utf-88", "UTF", "ISO-8859-1", "ISO-8859-", "latin1", "US-ASCII", "KOI8-R", "EBCDIC", "nosuch"} {
		docs = append(docs, "<?xml version='1.0' encoding='"+encoding+"'?><a>\u00e9<")
	}
	return append(docs, "<?xml version='1.0'?><!DOCTYPE a SYSTEM 'b'><a>&x;</a><", "<!DOCTYPE a PUBLIC 'b' 'c'><a>&x;</a><", "<!DOCTYPE a PUBLIC 'b'><a/>", "<!DOCTYPE a SYSTEM><a/>", "<!DOCTYPE a SYSTEM 'b><a/>",
		"<!DOCTYPE a [<!ENTITY>]><a/>", "<!DOCTYPE a [<!ENTITY x>]><a/>", "<!DOCTYPE a [<!ENTITY x y>]><a/>", "<!DOCTYPE a [<!ENTITY x 'y]><a/>", "<!DOCTYPE a [<!ENTITY x 'y' z>]><a/>")
}()

var long = strings.Repeat("<a b='ccccccccccccccccccc'/>", 8)

// broken are documents to begin with, most of them broken.
var broken = []string{
	"", " ", "\n\n", "x", "\n x", "<", "<a", "<a>", "<a/>x", "<a/><b/>", "<a></b>", "<a>\n<b>\n</a>", "<a></a", "<a></a b>", "<1>", "<a b>", "<a b=1/>",
	"<a b='1/>", "<a b='1'c='2'/>", "<a b='1' b='2'/>", "<a b='<'/>", "<a b='&'/>", "<a b='&x;'/>", "<a b='\x01'/>", "<a xmlns:b='1' xmlns:b='2'/>", "<a>&</a>",
	"<a>&x</a>", "<a>&x;</a>", "<a>&#;</a>", "<a>&#x;</a>", "<a>&#xg;</a>", "<a>&#0;</a>", "<a>&#x110000;</a>", "<a>&#99999999999;</a>", "<a>&#xD800;</a>", "<a>]]></a>",
	"<a>text\nmore ]]></a>", "<a>\u00e9]]></a>", "<a>\x01</a>", "<a>text\x01</a>", "<a>\ufffe</a>", "<a><!-- -- --></a>", "<a><!----></a>", "<a><!--- --></a>", "<a><!-- x",
	"<a><!--", "<a><!-- \u00e9 -- --></a>", "<a><!-- \u00e9", "<a><!-- \x01 --></a>", "<a><![CDATA[x", "<a><![CDATA[", "<a><![CDATA[]]></a>", "<a><![CDATA[\x01]]></a>", "<a><?", "<a><?x", "<a><?x y",
	"<a><?x y?></a>", "<a><?xml y?></a>", "<a><?XML y?></a>", "<a><??></a>", "<?xml version='1.0'?><a/>", "<?xml version='1.0' encoding='UTF-8'?>\n<a>\n</a", "<?xml?><a/>", "<?xml ?><a/>",
	"<?xml version?><a/>", "<?xml version=1?><a/>", "<?xml version='1?><a/>", "<?xml version='2.0'?><a/>", "<?xml version='1.0'encoding='UTF-8'?><a/>", "<?xml version='1.0' encoding='1'?><a/>",
	"<?xml version='1.0' standalone='maybe'?><a/>", "<?xml version='1.0' standalone='yes'?><a>&x;</a>", "<?xml version='1.0' x?><a/>", " <?xml version='1.0'?><a/>", "\ufeff<a>", "<!DOCTYPE a><a>", "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a><",
	"<!DOCTYPE a [<!ENTITY x 'y'>]><a b='&x;'>&y;</a>", "<!DOCTYPE", "<!DOCTYPE a", "<!DOCTYPE a [", "<!DOCTYPE a [x]><a/>", "<!DOCTYPE a SYSTEM 'x'><a>&y;</a><", "<!foo><a/>", "<a><!foo></a>", "<a:b>", "<a:b xmlns:a='u'></a:c>", "<a:b></b>", "<:a/>", "<a:/>", "<a:b:c></a:b:c>", "<a></a:b>",
	"<network>\n  <name>x</name>\n  <bridge name='virbr9'/>\n  <ip address='192.168.9.1' netmask='255.255.255.0'>\n    <dhcp>\n      <range start='192.168.9.2' end='192.168.9.9'/>\n    </dhcp>\n  </ip>\n</network>\n<",
	long, "<x>" + long + "</y>", "<x>" + long + long + "\n</y>", "<x>\r\n<y>\r\n</x>", "<x a='\r\n' b='\t'/>\r<", strings.Repeat("<a>", 300), "<a>\n\n\n", "<a\n\nb", "<a>\n</b>\n</a>", "<a>\u20ac</b>",
	"<?xml version='1.0'?>\n<!-- c -->\n<network><name>a</name>\n<forward mode='nat'>\n</network>\n",
}
