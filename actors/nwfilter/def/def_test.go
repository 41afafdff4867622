package def

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"virtree/wire/liberr"
)

var uuidElement = regexp.MustCompile(`<uuid>[^<]*</uuid>`)

// outcome is what a document comes to: its printed form, or the error.
func outcome(doc string, validate bool) string {
	f, err := ParseFilter(doc, validate)
	if err != nil {
		return complaint(err)
	}
	return uuidElement.ReplaceAllString(f.Format(), "<uuid>UUID</uuid>")
}

func complaint(err error) string {
	var e *liberr.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	return fmt.Sprintf("error %d %d %s\n", e.Code, e.Domain, strings.ReplaceAll(e.Message, "\n", `\n`))
}

// cases reads a file of recorded answers: the document's line begins with "==", what follows is the printed form or the
// error's code, domain and message.
func cases(t *testing.T, file string, f func(doc string, validate bool, want string)) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range strings.Split("\n"+string(text), "\n== ")[1:] {
		doc, want, _ := strings.Cut(c, "\n")
		doc, validate := strings.CutPrefix(doc, "validate ")
		f(doc, validate, strings.TrimRight(want, "\n")+"\n")
	}
}

// The answers in testdata were recorded from libvirtd 9.0.0.
func TestFiltersAreReadAndPrintedAsByLibvirt(t *testing.T) {
	cases(t, "testdata/filters.txt", func(doc string, validate bool, want string) {
		if strings.Contains(want, "introduce a loop") {
			return // needs the driver
		}
		got := outcome(doc, validate)
		if got != want {
			t.Errorf("%s\ngot  %swant %s", doc, got, want)
		}
		if strings.HasPrefix(got, "error") || known(doc) {
			return
		}
		// A tab in an attribute is printed as it is, and read back as a blank.
		if again := outcome(strings.ReplaceAll(got, "<uuid>UUID</uuid>", ""), false); again != strings.ReplaceAll(got, "\t", " ") {
			t.Errorf("%s\nread again: %s", got, again)
		}
	})
}

func TestBindingsAreReadAndPrintedAsByLibvirt(t *testing.T) {
	cases(t, "testdata/bindings.txt", func(doc string, validate bool, want string) {
		b, err := ParseBinding(doc, validate)
		got := ""
		if err != nil {
			got = complaint(err)
		} else {
			got = b.Format()
			if c, err := ParseBindingStatus(b.FormatStatus()); err != nil || c.Format() != got {
				t.Errorf("%s\nis not read again: %v", b.FormatStatus(), err)
			}
		}
		if got != want {
			t.Errorf("%s\ngot  %swant %s", doc, got, want)
		}
	})
}

// known are documents of which libvirt, too, makes something else each time.
func known(doc string) bool {
	return strings.Contains(doc, "ipset") || strings.Contains(doc, "match='no'") || strings.Contains(doc, "priority='0'")
}

// Every attribute of every protocol has a place in the shared type and arrives there.
func TestEveryAttributeIsShared(t *testing.T) {
	for name, p := range protocols {
		for _, a := range p.attrs {
			if places[name].attrs[a.name] == nil {
				t.Errorf("libvirtxml has no %s of %s", a.name, name)
			}
		}
		if places[name].attrs["match"] == nil {
			t.Errorf("libvirtxml has no match of %s", name)
		}
	}
	f, err := ParseFilter("<filter name='x' chain='ipv4'><rule action='drop' direction='in' statematch='0'><tcp match='no' srcipaddr='$IP[@1]' dscp='0x3' comment='c'/></rule>"+
		"<filterref filter='y'><parameter name='A' value='1'/><parameter name='A' value='2'/></filterref></filter>", false)
	if err != nil {
		t.Fatal(err)
	}
	s := f.Shared()
	r := s.Entries[0].Rule
	if s.Priority != -700 || r.Priority != 500 || r.StateMatch != "false" || r.TCP == nil || r.TCP.Match != "no" || r.TCP.SrcIPAddr.Var != "IP[@1]" ||
		*r.TCP.DSCP.Uint != 3 || r.TCP.Comment != "c" {
		t.Errorf("%+v %+v", r, r.TCP)
	}
	if ref := s.Entries[1].Ref; ref.Filter != "y" || len(ref.Parameters) != 2 || ref.Parameters[1].Value != "2" {
		t.Errorf("%+v", ref)
	}
}

// A document as large as a call can carry is read and printed in a moment.
func TestHundredThousandRules(t *testing.T) {
	doc := "<filter name='x'>" + strings.Repeat("<rule action='drop' direction='in'/>\n", 100_000) + "</filter>"
	begin := time.Now()
	f, err := ParseFilter(doc, false)
	if err != nil || len(f.Entries) != 100_000 {
		t.Fatal(err)
	}
	n := len(f.Format())
	_ = f.Shared()
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("%d bytes took %v", n, took)
	} else {
		t.Logf("%d bytes in %v", n, took)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("<filter name='x' chain='arp'><rule action='drop' direction='in'><tcp srcipaddr='$A[@2]' ipset='a'/></rule></filter>")
	f.Fuzz(func(t *testing.T, doc string) {
		x, err := ParseFilter(doc, true)
		if err != nil {
			return
		}
		x.Shared()
		if _, err := ParseFilter(x.Format(), false); err != nil {
			t.Errorf("%s\n%v", x.Format(), err)
		}
	})
}
