package diff

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStepTakesItsExceptionsAndNoOthers(t *testing.T) {
	s, err := parse("x", []byte(`
# a comment
ignore ^Package: : we say what we are
differs the reference crashes here
virsh version --daemon 'a b' ""
virsh list
-- f --
data
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Steps) != 2 || len(s.Files) != 1 {
		t.Fatalf("%d steps, %d files", len(s.Steps), len(s.Files))
	}
	first := s.Steps[0]
	if diff := cmp.Diff([]string{"version", "--daemon", "a b", ""}, first.Args); diff != "" {
		t.Error(diff)
	}
	if first.Differs == "" || len(first.Ignore) != 1 || first.Command() != "version" {
		t.Errorf("%+v", first)
	}
	if s.Steps[1].Differs != "" || s.Steps[1].Ignore != nil {
		t.Errorf("an exception leaked to the next step: %+v", s.Steps[1])
	}
}

func TestMistakesInScenariosAreRefused(t *testing.T) {
	for _, bad := range []string{
		"virch list", "virsh", "virsh 'open", "differs", "ignore ^x", "ignore [ : bad", "until x sh ls", "await ev",
	} {
		if _, err := parse("x", []byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestNamesFollowAppearance(t *testing.T) {
	n := newNormalizer("/tmp/vt1", "/tmp/vt1/w/s")
	got := n.text(&Step{}, "a 11111111-2222-3333-4444-555555555555 b 11111111-2222-3333-4444-555555555556\n"+
		"again 11111111-2222-3333-4444-555555555555 in /tmp/vt1/w/s/disk and /tmp/vt1/var/lib/libvirt/qemu/domain-12-x\n")
	want := "a <uuid 1" + sp(28) + "> b <uuid 2" + sp(28) + ">\n" +
		"again <uuid 1" + sp(28) + "> in $WORK/disk and /var/lib/libvirt/qemu/domain-#-x\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func sp(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = ' '
	}
	return string(b)
}

func TestLineDiffShowsWhatOneSideHas(t *testing.T) {
	got := lineDiff([]string{"<a>", "  <b/>", "</a>"}, []string{"<a>", "  <c/>", "</a>"})
	if diff := cmp.Diff("    <a>\n  -   <b/>\n  +   <c/>\n", got); diff != "" {
		t.Error(diff)
	}
}
