package command

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"
)

func TestPropsKeepTheirOrder(t *testing.T) {
	p := Props{{"driver", "d"}}
	p.Set("b", 1)
	p.Set("a", "x<y>&z")
	p.Set("b", 2)
	p.Set("n", nil)
	p.Set("o", Props{{"k", true}})
	p.Remove("driver")
	p.flag("no", "no")
	p.flag("absent", "")
	if got, want := p.String(), `{"b":2,"a":"x<y>&z","n":null,"o":{"k":true},"no":false}`; got != want {
		t.Errorf("have %s\nwant %s", got, want)
	}
	if got, want := keyvalOf("a", p[:2]), "x<y>&z,b=2"; got != want {
		t.Errorf("older syntax: have %s, want %s", got, want)
	}
}

func TestSets(t *testing.T) {
	for in, want := range map[string][]string{
		"0-3": {"0-3"}, "0,2": {"0", "2"}, "0-4,^2": {"0-1", "3-4"}, "5,1-2": {"1-2", "5"}, "1": {"1"},
	} {
		set, err := parseSet(in)
		if err != nil || !reflect.DeepEqual(ranges(set), want) {
			t.Errorf("%s: %v, %v", in, ranges(set), err)
		}
	}
	for _, bad := range []string{"", "x", "3-1", "-1", "1-99999999"} {
		if _, err := parseSet(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		n    uint64
		unit string
		want uint64
	}{{5, "", 5}, {5, "MiB", 5120}, {1, "GiB", 1 << 20}, {1, "bytes", 1}, {2048, "b", 2}, {1, "MB", 977}} {
		if got := kib(tt.n, tt.unit); got != tt.want {
			t.Errorf("%d %s is %d KiB, want %d", tt.n, tt.unit, got, tt.want)
		}
	}
}

// TestVHost: descriptors of the kernel's packet path appear beside those of the tap, and only where they may.
func TestVHost(t *testing.T) {
	def := parse(t, "testdata/nic-kvm.xml")
	cmd, err := Build(def, testCaps(t), testRuntime(t, def))
	if err != nil {
		t.Fatal(err)
	}
	var nets []string
	for i, a := range cmd.Args {
		if a == "-netdev" {
			nets = append(nets, cmd.Args[i+1])
		}
	}
	want := []string{
		`{"type":"tap","fds":"3:4","vhost":true,"vhostfds":"5:6","id":"hostnet0"}`,
		`{"type":"tap","fd":"7","vhost":true,"vhostfd":"8","id":"hostnet1"}`,
		`{"type":"tap","fd":"9","id":"hostnet2"}`,
		`{"type":"tap","fd":"10","id":"hostnet3"}`,
		`{"type":"tap","fd":"11","vhost":true,"vhostfd":"12","id":"hostnet4"}`,
	}
	if !reflect.DeepEqual(nets, want) {
		t.Errorf("have %s\nwant %s", strings.Join(nets, "\n     "), strings.Join(want, "\n     "))
	}
	for i, f := range cmd.Files {
		if f.Number != FirstFD+i {
			t.Errorf("descriptor %d has number %d", i, f.Number)
		}
	}
}

// TestMemoryBackends pins what libvirt 9.0.0 makes of memoryBacking, seen with a hugetlbfs of 2 MiB pages.
func TestMemoryBackends(t *testing.T) {
	const huge = `"mem-path":"/dev/hugepages/libvirt/qemu/-1-hp"`
	const file = `"mem-path":"/var/lib/libvirt/qemu/ram/-1-hp/pc.ram"`
	const short = `"x-use-canonical-path-for-ramblock-id":false`
	tests := []struct{ backing, want string }{
		{`<hugepages/>`, `"memory-backend-file","id":"pc.ram",` + huge + `,` + short + `,"prealloc":true`},
		{`<hugepages><page size='2048' unit='KiB'/></hugepages>`, `"memory-backend-file","id":"pc.ram",` + huge + `,` + short + `,"prealloc":true`},
		{`<hugepages/><source type='memfd'/>`, `"memory-backend-memfd","id":"pc.ram","hugetlb":true,"hugetlbsize":2097152,` + short + `,"prealloc":true`},
		{`<hugepages/><access mode='shared'/><discard/>`,
			`"memory-backend-file","id":"pc.ram",` + huge + `,"discard-data":true,"share":true,` + short + `,"prealloc":true`},
		{`<hugepages><page size='4' unit='KiB'/></hugepages>`, `"memory-backend-ram","id":"pc.ram"`},
		{`<source type='anonymous'/><allocation mode='immediate'/>`, `"memory-backend-ram","id":"pc.ram","prealloc":true`},
		{`<source type='anonymous'/><access mode='private'/>`, `"memory-backend-file","id":"pc.ram",` + file + `,"share":false,` + short},
		{`<source type='file'/><discard/>`, `"memory-backend-file","id":"pc.ram",` + file + `,"discard-data":true,` + short},
		{`<access mode='shared'/>`, `"memory-backend-file","id":"pc.ram",` + file + `,"share":true,` + short},
		{`<source type='memfd'/><discard/>`, `"memory-backend-memfd","id":"pc.ram",` + short},
	}
	for _, tt := range tests {
		def := parseText(t, `<domain type='qemu'><name>hp</name><memory unit='MiB'>512</memory><memoryBacking>`+tt.backing+`</memoryBacking><vcpu>1</vcpu>
			<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices/></domain>`)
		cmd, err := Build(def, testCaps(t), testRuntime(t, def))
		if err != nil {
			t.Fatal(err)
		}
		want := `{"qom-type":` + tt.want + `,"size":536870912}`
		if !strings.Contains(strings.Join(cmd.Args, "\n"), want) {
			t.Errorf("%s:\nno %s\nin %s", tt.backing, want, strings.Join(cmd.Args, " "))
		}
	}
}

// TestPlugMemoryOnNodes: the threads that touch a module's memory are there for the plug only.
func TestPlugMemoryOnNodes(t *testing.T) {
	def := board(t)
	def.MemoryBacking = &libvirtxml.DomainMemoryBacking{MemoryAllocation: &libvirtxml.DomainMemoryAllocation{Mode: "immediate"}}
	dimm := device[libvirtxml.DomainMemorydev](t, `<memory model='dimm'><source><nodemask>0-1</nodemask></source>
		<target><size unit='MiB'>128</size><node>0</node></target><alias name='dimm0'/><address type='dimm' slot='0'/></memory>`)
	p, err := DevicePlug(def, testCaps(t), Runtime{}, dimm)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range p.Steps {
		got = append(got, s.Execute+" "+s.Arguments.String())
	}
	ask, after := p.Unplug()
	for _, q := range append(ask, after...) {
		got = append(got, q.Execute+" "+q.Arguments.String())
	}
	want := []string{
		`object-add {"qom-type":"thread-context","id":"tc-memdimm0","node-affinity":[0,1]}`,
		`object-add {"qom-type":"memory-backend-ram","id":"memdimm0","prealloc":true,"size":134217728,"host-nodes":[0,1],"policy":"bind","prealloc-context":"tc-memdimm0"}`,
		`device_add {"driver":"pc-dimm","node":0,"memdev":"memdimm0","id":"dimm0","slot":0}`,
		`object-del {"id":"tc-memdimm0"}`,
		`device_del {"id":"dimm0"}`,
		`object-del {"id":"memdimm0"}`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSEV(t *testing.T) {
	def := parse(t, "testdata/minimal.xml")
	bit, phys, policy := uint(47), uint(1), uint(1)
	def.LaunchSecurity = &libvirtxml.DomainLaunchSecurity{SEV: &libvirtxml.DomainLaunchSecuritySEV{CBitPos: &bit, ReducedPhysBits: &phys, Policy: &policy}}
	cmd, err := Build(def, testCaps(t), testRuntime(t, def))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(cmd.Args, "\n")
	for _, want := range []string{",confidential-guest-support=lsec0,",
		`{"qom-type":"sev-guest","id":"lsec0","cbitpos":47,"reduced-phys-bits":1,"policy":1}`} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestTPMPassthrough(t *testing.T) {
	def := parse(t, "testdata/tpm-tis-passthrough.xml")
	rt := testRuntime(t, def)
	rt.TPMs["tpm0"] = TPM{Device: os.Stdin, Cancel: os.Stdout}
	cmd, err := Build(def, testCaps(t), rt)
	if err != nil {
		t.Fatal(err)
	}
	want := "-add-fd set=0,fd=3,opaque=tpm0-device -add-fd set=1,fd=4,opaque=tpm0-cancel -tpmdev passthrough,id=tpm-tpm0,path=/dev/fdset/0,cancel-path=/dev/fdset/1"
	if !strings.Contains(strings.Join(cmd.Args, " "), want) {
		t.Errorf("no %s in %q", want, cmd.Args)
	}
}

func TestSetup(t *testing.T) {
	def := parseText(t, `<domain type='qemu'><memory unit='MiB'>64</memory><currentMemory unit='MiB'>32</currentMemory>
		<iothreadids><iothread id='2'><poll max='5'/></iothread></iothreadids><on_reboot>destroy</on_reboot><devices>
		<disk type='file' device='disk'><target dev='vda' bus='virtio'/><alias name='virtio-disk0'/>
		<iotune><read_bytes_sec>1000</read_bytes_sec><group_name>g</group_name></iotune></disk>
		<interface type='user'><link state='down'/><alias name='net0'/></interface>
		<memballoon model='virtio'><stats period='10'/><alias name='balloon0'/></memballoon></devices></domain>`)
	var got []string
	for _, q := range Setup(def) {
		got = append(got, q.Execute+" "+q.Arguments.String())
	}
	want := []string{
		`set-action {"reboot":"shutdown"}`,
		`qom-set {"path":"/objects/iothread2","property":"poll-max-ns","value":5}`,
		`block_set_io_throttle {"id":"/machine/peripheral/virtio-disk0/virtio-backend","bps":0,"bps_rd":1000,"bps_wr":0,"iops":0,"iops_rd":0,"iops_wr":0,` +
			`"bps_max":0,"bps_rd_max":0,"bps_wr_max":0,"iops_max":0,"iops_rd_max":0,"iops_wr_max":0,"iops_size":0,"group":"g"}`,
		`set_link {"name":"net0","up":false}`,
		`qom-set {"path":"/machine/peripheral/balloon0","property":"guest-stats-polling-interval","value":10}`,
		`balloon {"value":33554432}`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestBuildIsPure: a definition is not changed, and building twice gives the same.
func TestBuildIsPure(t *testing.T) {
	c := testCaps(t)
	def := parse(t, "testdata/virt-install-like.xml")
	before, err := def.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	first, err := Build(def, c, testRuntime(t, def))
	if err != nil {
		t.Fatal(err)
	}
	second, err := Build(def, c, testRuntime(t, def))
	if err != nil {
		t.Fatal(err)
	}
	after, err := def.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if before != after {
		t.Error("the definition was changed")
	}
	if !reflect.DeepEqual(first.Args, second.Args) {
		t.Error("two builds differ")
	}
}

func BenchmarkBuild(b *testing.B) {
	c := testCaps(b)
	def := parse(b, "testdata/virt-install-like.xml")
	rt := testRuntime(b, def)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Build(def, c, rt); err != nil {
			b.Fatal(err)
		}
	}
}
