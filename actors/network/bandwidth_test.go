package network

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/branchtest"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// The steps are the tc commands that libvirt 9.0.0 runs for the same network and ports, in its order.
func TestShapingIsLibvirts(t *testing.T) {
	net := &bandwidth{in: &rate{average: 1000, peak: 5000, burst: 5120}, out: &rate{average: 1000}}
	guest := &port{mac: "52:54:00:00:00:01", class: 3, bandwidth: &bandwidth{in: &rate{average: 500, floor: 300}}}
	bare := &port{mac: "52:54:00:00:00:01", class: 10, bandwidth: &bandwidth{in: &rate{floor: 600}}}
	for _, c := range []struct {
		what  string
		steps []tcStep
		want  string
	}{
		{"a network", append(clearSteps(), shapeSteps(net)...), `qdisc del dev b root
qdisc del dev b ingress
qdisc add dev b root handle 1: htb default 2
class add dev b parent 1: classid 1:1 htb rate 1000kbps ceil 5000kbps quantum 85
class add dev b parent 1:1 classid 1:2 htb rate 1000kbps ceil 5000kbps burst 5120kb quantum 85
qdisc add dev b parent 1:2 handle 2: sfq perturb 10
filter add dev b parent 1:0 protocol all prio 1 handle 1 fw flowid 1
qdisc add dev b ingress
filter add dev b parent ffff: protocol all u32 match u32 0 0 police rate 1000kbps burst 1000kb mtu 64kb drop flowid :1`},
		{"a network without a peak", shapeSteps(&bandwidth{in: &rate{average: 1000}}), `qdisc add dev b root handle 1: htb default 2
class add dev b parent 1: classid 1:1 htb rate 1000kbps ceil 1000kbps quantum 85
class add dev b parent 1:1 classid 1:2 htb rate 1000kbps quantum 85
qdisc add dev b parent 1:2 handle 2: sfq perturb 10
filter add dev b parent 1:0 protocol all prio 1 handle 1 fw flowid 1`},
		{"a port with a floor", plugSteps(net.in, guest, 300), `class add dev b parent 1:1 classid 1:3 htb rate 300kbps ceil 5000kbps quantum 42
qdisc add dev b parent 1:3 handle 3: sfq perturb 10
filter add dev b protocol ip prio 2 handle 800::803 u32 match u16 0x0800 0xffff at -2 match u32 0x00000001 0xffffffff at -12 match u16 0x5254 0xffff at -14 flowid 1:3
class change dev b classid 1:2 htb rate 4700kbps ceil 5000kbps quantum 85`},
		{"a floor alone, and all is given away", plugSteps(&rate{average: 600}, bare, 600), `class add dev b parent 1:1 classid 1:10 htb rate 600kbps ceil 600kbps quantum 1
qdisc add dev b parent 1:10 handle 10: sfq perturb 10
filter add dev b protocol ip prio 2 handle 800::810 u32 match u16 0x0800 0xffff at -2 match u32 0x00000001 0xffffffff at -12 match u16 0x5254 0xffff at -14 flowid 1:10
class change dev b classid 1:2 htb rate 0kbps ceil 600kbps quantum 51`},
		{"another floor", floorSteps(net.in, guest, 300), `class change dev b classid 1:3 htb rate 300kbps ceil 5000kbps quantum 85
class change dev b classid 1:2 htb rate 4700kbps ceil 5000kbps quantum 85`},
		{"no floor any more", unplugSteps(net.in, guest, 0), `qdisc del dev b handle 3:
filter del dev b prio 2 handle 800::803 u32
class del dev b classid 1:3
class change dev b classid 1:2 htb rate 5000kbps ceil 5000kbps quantum 85`},
	} {
		var got []string
		for _, s := range c.steps {
			got = append(got, fmt.Sprintf(s.String(), "b"))
		}
		if text := strings.Join(got, "\n"); text != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.what, text, c.want)
		}
	}
}

// fakeTC takes everything, as a kernel with all schedulers and actions would, or fails as told.
type fakeTC struct {
	made []any
	fail func(any) error
}

func (f *fakeTC) take(o any) error {
	if f.fail != nil {
		if err := f.fail(o); err != nil {
			return err
		}
	}
	f.made = append(f.made, o)
	return nil
}
func (f *fakeTC) QdiscAdd(q netlink.Qdisc) error    { return f.take(q) }
func (f *fakeTC) QdiscDel(q netlink.Qdisc) error    { return f.take(q) }
func (f *fakeTC) ClassAdd(c netlink.Class) error    { return f.take(c) }
func (f *fakeTC) ClassChange(c netlink.Class) error { return f.take(c) }
func (f *fakeTC) ClassDel(c netlink.Class) error    { return f.take(c) }
func (f *fakeTC) FilterAdd(c netlink.Filter) error  { return f.take(c) }
func (f *fakeTC) FilterDel(c netlink.Filter) error  { return f.take(c) }

// What the kernel of a test machine may lack is asked of it in the right numbers, and what it may do without is.
func TestShapingOfAnotherKernel(t *testing.T) {
	net := &bandwidth{in: &rate{average: 1000}, out: &rate{average: 1000, burst: 64}}
	f := &fakeTC{}
	if err := shapeWith(f, "b", 7, shapeSteps(net)); err != nil || len(f.made) != 7 {
		t.Fatal(f.made, err)
	}
	if sfq, ok := f.made[3].(*netlink.Sfq); !ok || sfq.Parent != netlink.MakeHandle(1, 2) || sfq.Perturb != 10 || sfq.LinkIndex != 7 {
		t.Errorf("%+v", f.made[3])
	}
	if fw, ok := f.made[4].(*netlink.FwFilter); !ok || fw.Handle != 1 || fw.ClassId != netlink.MakeHandle(1, 1) {
		t.Errorf("%+v", f.made[4])
	}
	if u, ok := f.made[6].(*netlink.U32); !ok || u.Police == nil || u.Police.Rate != 1000_000 || u.Police.Burst != 64<<10 || u.Police.ExceedAction != netlink.TC_POLICE_SHOT || u.Parent != netlink.MakeHandle(0xffff, 0) {
		t.Errorf("%+v", f.made[6])
	}
	lacks := func(kind string) error {
		f := &fakeTC{fail: func(o any) error {
			switch v := o.(type) {
			case *netlink.Sfq:
				if kind == "sfq" {
					return unix.ENOENT
				}
			case *netlink.FwFilter:
				if kind == "fw" {
					return unix.ENOENT
				}
			case *netlink.U32:
				if kind == "police" && v.Police != nil {
					return unix.ENOENT
				}
			}
			return nil
		}}
		return shapeWith(f, "b", 7, shapeSteps(net))
	}
	if err := lacks("sfq"); err != nil {
		t.Error(err)
	}
	if err := lacks("fw"); err != nil {
		t.Error(err)
	}
	if err := lacks("police"); err == nil || !strings.Contains(err.Error(), "cannot set bandwidth limits on b: tc filter add dev b parent ffff:") {
		t.Error("a limit that cannot be set is no error:", err)
	}
}

// Floors in the kernel: classes and filters come, change and go with the ports, and survive the daemon.
func TestFloorsInTheKernel(t *testing.T) {
	l := newLab(t)
	n := l.define("<network><name>q</name><bridge name='tbr0'/><bandwidth><inbound average='1000' peak='5000'/></bandwidth></network>")
	l.start(n)
	defer l.destroy(n)
	class := func(minor, want string) {
		t.Helper()
		out := shell(t, "tc class show dev tbr0")
		for _, line := range strings.Split(out, "\n") {
			if strings.HasPrefix(line, "class htb 1:"+minor+" ") {
				if want == "" || !strings.Contains(line, want) {
					t.Errorf("class %s: %s, want %q", minor, line, want)
				}
				return
			}
		}
		if want != "" {
			t.Errorf("no class %s in %s", minor, out)
		}
	}
	class("1", "rate 8Mbit ceil 40Mbit")
	class("2", "rate 8Mbit ceil 40Mbit")
	p := l.port(n, "52:54:00:77:00:01", "<bandwidth><inbound average='10' floor='300'/></bandwidth>")
	q := l.port(n, "52:54:00:77:00:02", "<bandwidth><inbound floor='400'/></bandwidth>")
	class("3", "rate 2400Kbit ceil 40Mbit")
	class("4", "rate 3200Kbit ceil 40Mbit")
	class("2", "rate 34400Kbit")
	if out := shell(t, "tc filter show dev tbr0"); strings.Count(out, "match 5254") != 0 && strings.Count(out, "flowid 1:3") != 1 || !strings.Contains(out, "fh 800::803") || !strings.Contains(out, "00770001/ffffffff at -12") {
		t.Error(out)
	}
	set := func(p protocol.NetworkPort, floor uint32) {
		t.Helper()
		args := &protocol.NetworkPortSetParametersArgs{Port: p}
		if floor != 0 {
			args.Params = []protocol.TypedParam{{Field: virt.NetworkPortBandwidthInFloor, Value: protocol.TypedParamValue{Type: virt.TypedParamUint, UI: floor}}}
		}
		if _, err := branchtest.Do(l.c, protocol.NetworkPortSetParameters, args); err != nil {
			t.Error(err)
		}
	}
	set(p, 500)
	class("3", "rate 4Mbit")
	class("2", "rate 32800Kbit")
	l.b.Stop()
	l.b = branchtest.Start(t, New(l.env))
	l.c = l.b.Client()
	set(q, 0)
	class("4", "")
	class("2", "rate 36Mbit")
	if _, err := branchtest.Do(l.c, protocol.NetworkPortDelete, &protocol.NetworkPortDeleteArgs{Port: p}); err != nil {
		t.Error(err)
	}
	class("3", "")
	class("2", "rate 40Mbit")
	if out := shell(t, "tc filter show dev tbr0"); strings.Contains(out, "flowid") {
		t.Error("a filter is left:", out)
	}
}
