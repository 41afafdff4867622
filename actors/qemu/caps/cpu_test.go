package caps

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/go-cmp/cmp"
	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

// dialReference connects to the real libvirtd of this host.
func dialReference(t *testing.T) *golibvirt.Libvirt {
	t.Helper()
	reference(t, "version")
	conn, err := net.DialTimeout("unix", "/run/libvirt/libvirt-sock", 5*time.Second)
	if err != nil {
		t.Skip("no libvirtd to compare with: ", err)
	}
	l := golibvirt.New(conn) //lint:ignore SA1019 the connection is made here, to be skipped when there is none
	if err := l.ConnectToURI(golibvirt.QEMUSystem); err != nil {
		t.Skip("no libvirtd to compare with: ", err)
	}
	t.Cleanup(func() { l.Disconnect() })
	return l
}

// outcome is a result or an error in one line, for comparing.
func outcome(result any, err error) string {
	var theirs golibvirt.Error
	if errors.As(err, &theirs) {
		return fmt.Sprintf("error %d: %s", theirs.Code, theirs.Message)
	}
	var ours *liberr.Error
	if errors.As(err, &ours) {
		return fmt.Sprintf("error %d: %s", ours.Code, ours.Message)
	}
	if err != nil {
		return "error ?: " + err.Error()
	}
	return fmt.Sprint(result)
}

var comparedCPUs = []string{
	`<cpu/>`,
	`<foo/>`,
	`<cpu><model/></cpu>`,
	`<cpu><model>486</model></cpu>`,
	`<cpu><model>foo</model></cpu>`,
	`<cpu><arch>x86_64</arch><model>Haswell</model></cpu>`,
	`<cpu><arch>x86_64</arch><model>kvm64</model></cpu>`,
	`<cpu><arch>x86_64</arch></cpu>`,
	`<cpu><model>EPYC</model><vendor>Intel</vendor></cpu>`,
	`<cpu><arch>x86_64</arch><model>EPYC</model><vendor>Intel</vendor></cpu>`,
	`<cpu><arch>ppc64</arch><model>486</model></cpu>`,
	`<cpu><arch>foo</arch><model>486</model></cpu>`,
	`<cpu match='exact'><arch>x86_64</arch><model>486</model></cpu>`,
	`<cpu><arch>x86_64</arch><model>486</model><feature name="xx"/></cpu>`,
	`<cpu><arch>x86_64</arch><model>486</model><feature name="svm"/></cpu>`,
	`<cpu><arch>x86_64</arch><feature name="svm"/></cpu>`,
	`<cpu><feature name="svm"/></cpu>`,
	`<cpu match="strict"><model>486</model></cpu>`,
	`<cpu match="minimum"><model>qemu64</model></cpu>`,
	`<cpu match="exact"><model>486</model><feature policy="forbid" name="aes"/></cpu>`,
	`<cpu match="exact"><model>486</model><feature policy="forbid" name="svm"/></cpu>`,
	`<cpu match="exact"><model>Haswell</model><feature policy="disable" name="hle"/><feature policy="disable" name="rtm"/></cpu>`,
	`<cpu match="exact"><model>Haswell</model><feature policy="optional" name="hle"/><feature policy="force" name="rtm"/></cpu>`,
	`<cpu mode="host-model"/>`,
	`<cpu mode="host-passthrough"/>`,
	`<cpu mode="maximum"/>`,
	`<cpu mode="foo"><model>486</model></cpu>`,
	`<cpu match="foo"><model>486</model></cpu>`,
	`<cpu check="foo"><model>486</model></cpu>`,
	`<cpu><model>486</model><feature/></cpu>`,
	`<cpu><model>486</model><feature name="sse" policy="x"/></cpu>`,
	`<cpu><model>486</model><feature name="sse"/><feature name="sse"/></cpu>`,
	`<capabilities><host><cpu><arch>x86_64</arch><model>486</model></cpu></host></capabilities>`,
}

func TestComparingEqualsTheReference(t *testing.T) {
	l := dialReference(t)
	for _, fail := range []bool{false, true} {
		for _, doc := range comparedCPUs {
			flags := golibvirt.ConnectCompareCPUFlags(0)
			if fail {
				flags = golibvirt.ConnectCompareCPUFailIncompatible
			}
			r, err := l.ConnectCompareCPU(doc, flags)
			ours, ourErr := CompareCPU(doc, fail)
			if want, got := outcome(r, err), outcome(int(ours), ourErr); got != want {
				t.Errorf("%s fail=%v\n ours    %s\n libvirt %s", doc, fail, got, want)
			}
			for _, virtType := range []string{"kvm", "qemu"} {
				none := golibvirt.OptString{}
				r, err := l.ConnectCompareHypervisorCPU(none, none, none, golibvirt.OptString{virtType}, doc, uint32(flags))
				target, ourErr := sharedFinder.Resolve(testContext(t), DomainCapsQuery{VirtType: virtType})
				ours := CompareError
				if ourErr == nil {
					ours, ourErr = CompareHypervisorCPU(target, doc, fail)
				}
				if want, got := outcome(r, err), outcome(int(ours), ourErr); got != want {
					t.Errorf("%s %s fail=%v\n ours    %s\n libvirt %s", virtType, doc, fail, got, want)
				}
			}
		}
	}
}

func hostXML(model string, rest ...string) string {
	return "<cpu><arch>x86_64</arch><model>" + model + "</model>" + strings.Join(rest, "") + "</cpu>"
}

func TestBaselinesEqualTheReference(t *testing.T) {
	l := dialReference(t)
	const intel, amd = "<vendor>Intel</vendor>", "<vendor>AMD</vendor>"
	const invtsc, svm = "<feature name='invtsc'/>", "<feature name='svm'/>"
	sets := [][]string{
		{"<cpu/>"}, {"<cpu><model>486</model></cpu>"}, {hostXML("486")}, {hostXML("foo")}, {hostXML("EPYC", svm, svm)},
		{hostXML("EPYC", "<feature policy='require' name='svm'/>")},
		{"<cpu mode='custom'><arch>x86_64</arch><model>EPYC</model></cpu>"},
		{hostXML("EPYC"), hostXML("Haswell")}, {hostXML("Haswell"), hostXML("EPYC")},
		{hostXML("EPYC"), hostXML("EPYC-Rome", svm)},
		{hostXML("Nehalem", intel), hostXML("Haswell", intel)},
		{hostXML("Nehalem", intel, invtsc), hostXML("Haswell", intel, invtsc)},
		{hostXML("Nehalem", amd), hostXML("Haswell", amd)},
		{hostXML("Nehalem", "<vendor>Foo</vendor>")},
		{hostXML("Nehalem", intel), hostXML("Opteron_G3", amd)},
		{hostXML("Icelake-Server"), hostXML("Icelake-Server")},
		{hostXML("kvm64", amd, svm)},
	}
	var names []string
	for _, m := range x86Map().models {
		names = append(names, m.name)
	}
	for i := range names { // neighbours and a far one each, so that most models meet both kinds
		sets = append(sets, []string{hostXML(names[i]), hostXML(names[(i+1)%len(names)])},
			[]string{hostXML(names[i]), hostXML(names[(i*7+3)%len(names)])})
	}
	for _, set := range sets {
		for flags := range uint32(4) {
			expand, migratable := flags&1 != 0, flags&2 != 0
			want := outcome(l.ConnectBaselineCPU(set, golibvirt.ConnectBaselineCPUFlags(flags)))
			got := outcome(Baseline(set, expand, migratable))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%v flags %d libvirt (-), ours (+):\n%s", set, flags, diff)
			}
		}
	}
	for _, set := range sets[:17] {
		for _, virtType := range []string{"kvm", "qemu"} {
			none := golibvirt.OptString{}
			for flags := range uint32(2) {
				want := outcome(l.ConnectBaselineHypervisorCPU(none, none, none, golibvirt.OptString{virtType}, set, flags))
				target, err := sharedFinder.Resolve(testContext(t), DomainCapsQuery{VirtType: virtType})
				if err != nil {
					t.Fatal(err)
				}
				got := outcome(BaselineHypervisor(target, set, flags&1 != 0, false))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s %v flags %d libvirt (-), ours (+):\n%s", virtType, set, flags, diff)
				}
			}
		}
	}
}

func TestModelNamesEqualTheReference(t *testing.T) {
	l := dialReference(t)
	for _, arch := range []string{"x86_64", "i686", "ppc64", "ppc64le", "aarch64", "armv7l", "s390x", "riscv64", "foo"} {
		names, _, err := l.ConnectGetCPUModelNames(arch, 1, 0)
		ours, ourErr := CPUModelNames(arch)
		if want, got := outcome(names, err), outcome(ours, ourErr); got != want {
			t.Errorf("%s\n ours    %s\n libvirt %s", arch, got, want)
		}
	}
	for _, domainType := range []string{"", "qemu", "kvm", "KVM"} {
		arg := golibvirt.OptString{}
		if domainType != "" {
			arg = golibvirt.OptString{domainType}
		}
		want, err := l.ConnectGetMaxVcpus(arg)
		got, ok, ourErr := MaxVCPUs(domainType)
		if err != nil || ourErr != nil || !ok || int(want) != got {
			t.Errorf("max vcpus of %q: %d, libvirt %d", domainType, got, want)
		}
	}
}

func TestTheTableAgreesWithLibvirtsFilesWhereTheyAre(t *testing.T) {
	const dir = "/usr/share/libvirt/cpu_map/"
	if _, err := os.Stat(dir + "x86_features.xml"); err != nil {
		t.Skip("no cpu_map on this host")
	}
	m := x86Map()
	for _, model := range m.models {
		b, err := os.ReadFile(dir + "x86_" + model.name + ".xml")
		if err != nil {
			t.Errorf("libvirt has no %s", model.name)
			continue
		}
		for _, name := range model.features {
			if !strings.Contains(string(b), "<feature name='"+name+"'/>") && !strings.Contains(string(b), "<model name='") {
				t.Errorf("%s has no %s in libvirt's table", model.name, name)
			}
		}
	}
	b, _ := os.ReadFile(dir + "x86_features.xml")
	if n := strings.Count(string(b), "<feature name="); n != len(m.features) {
		t.Errorf("%d features, libvirt has %d", len(m.features), n)
	}
}

func TestDamagedTablesAreRefused(t *testing.T) {
	for _, text := range []string{"x y", "f fpu 1", "f fpu 1:edx", "m a b=c", "  fpu", "f a 1:edx=1\nm b decode=h\n  c\n"} {
		if _, err := parseCPUMap(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func TestSignaturesSurviveTheirCPUIDForm(t *testing.T) {
	for _, s := range []signature{{6, 158, 10}, {25, 1, 1}, {15, 107, 1}, {6, 6, 3}, {23, 49, 0}} {
		d := cpuData{}
		d.setSignature(s)
		if got := d.signature(); got != s {
			t.Errorf("%v became %v", s, got)
		}
	}
}

func TestHostModelStartsAsANamedModel(t *testing.T) {
	c := realCaps(t)
	got, err := c.StartCPU("qemu", "x86_64", &libvirtxml.DomainCPU{Mode: "host-model",
		Features: []libvirtxml.DomainCPUFeature{{Policy: "disable", Name: "x2apic"}, {Policy: "optional", Name: "aes"}}})
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.HostModel("qemu", true)
	if err != nil {
		t.Fatal(err)
	}
	if got.Mode != "custom" || got.Match != "exact" || got.Model.Value != want.Model || got.Model.Fallback != "forbid" || got.Vendor != want.Vendor {
		t.Errorf("%+v, model %+v", got, got.Model)
	}
	if !slices.Contains(got.Features, libvirtxml.DomainCPUFeature{Policy: "disable", Name: "x2apic"}) ||
		!slices.Contains(got.Features, libvirtxml.DomainCPUFeature{Policy: "require", Name: "aes"}) {
		t.Errorf("features %v", got.Features)
	}
	if _, err := c.StartCPU("qemu", "x86_64", &libvirtxml.DomainCPU{Mode: "host-passthrough"}); outcome(nil, err) !=
		"error 67: unsupported configuration: CPU mode 'host-passthrough' for x86_64 qemu domain on x86_64 host is not supported by hypervisor" {
		t.Error(err)
	}
	if _, err := c.StartCPU("qemu", "x86_64", &libvirtxml.DomainCPU{Mode: "custom", Model: &libvirtxml.DomainCPUModel{Value: "Icelake-Client", Fallback: "forbid"}}); err == nil {
		t.Error("a model that QEMU lacks was accepted")
	}
	lacking, err := c.StartCPU("qemu", "x86_64", &libvirtxml.DomainCPU{Mode: "custom", Model: &libvirtxml.DomainCPUModel{Value: "pentiumpro"}})
	if err != nil || lacking.Model.Value == "pentiumpro" {
		t.Errorf("%+v, %v", lacking, err)
	}
}

func TestLiveCPUShowsWhatQEMUMadeOfIt(t *testing.T) {
	c := &Caps{Arch: "x86_64"}
	model := x86Map().model("qemu32")
	asked := &libvirtxml.DomainCPU{Mode: "custom", Match: "exact", Model: &libvirtxml.DomainCPUModel{Value: "qemu32", Fallback: "forbid"},
		Features: []libvirtxml.DomainCPUFeature{{Policy: "disable", Name: "aes"}}}
	on := slices.DeleteFunc(slices.Clone(model.features), func(s string) bool { return s == "pni" })
	on = append(on, "x2apic", "hypervisor")
	bits := func(names ...string) cpuData {
		d := cpuData{}
		for _, name := range names {
			d.add(x86Map().byName[name].data)
		}
		return d
	}
	guest := &GuestCPU{on: bits(on...), off: bits("pni")}
	live, err := c.LiveCPU(asked, guest)
	if err != nil {
		t.Fatal(err)
	}
	want := []libvirtxml.DomainCPUFeature{{Policy: "disable", Name: "aes"}, {Policy: "disable", Name: "pni"},
		{Policy: "require", Name: "x2apic"}, {Policy: "require", Name: "hypervisor"}}
	if diff := cmp.Diff(want, live.Features); diff != "" || live.Check != "full" {
		t.Errorf("check %q, features %s", live.Check, diff)
	}
	asked.Check = "full"
	_, err = c.LiveCPU(asked, guest)
	if got := outcome(nil, err); got != "error 9: operation failed: guest CPU doesn't match specification: extra features: x2apic,hypervisor, missing features: pni" {
		t.Error(got)
	}
}
