package nwfilter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/await"
	"virtree/actors/internal/branch"
	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/nettest"
	"virtree/wire/protocol"
)

func TestMain(m *testing.M) { nettest.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// nft runs the nft program.
func nft(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("nft", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// lab is a branch and a bridge with three stations. Station a is the guest: its port is bound; b and c are the world.
type lab struct {
	t        *testing.T
	env      *branch.Env
	b        *branchtest.Branch
	c        *branchtest.Client
	stations map[string]*station
}

// station is a link whose other end is a port of the bridge.
type station struct {
	mac  net.HardwareAddr
	port string
	fd   int
}

const owner = "<owner><name>vm</name><uuid>5c6d49af-b071-6127-b4ec-6f8ed4b55335</uuid></owner>"

func newLab(t *testing.T) *lab {
	nettest.Need(t)
	l := &lab{t: t, env: branchtest.Env(t), stations: map[string]*station{}}
	off := false
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}, MulticastSnooping: &off}
	must(t, netlink.LinkAdd(br))
	t.Cleanup(func() {
		_ = netlink.LinkDel(br)
		nft(t, "flush", "ruleset")
	})
	must(t, netlink.LinkSetUp(br))
	for i, name := range []string{"a", "b", "c"} {
		mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, byte(i + 1)}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "p" + name
		veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "g" + name, PeerHardwareAddr: mac}
		must(t, netlink.LinkAdd(veth))
		t.Cleanup(func() { _ = netlink.LinkDel(veth) })
		must(t, netlink.LinkSetMaster(veth, br))
		must(t, netlink.LinkSetUp(veth))
		peer, err := netlink.LinkByName("g" + name)
		must(t, err)
		must(t, netlink.LinkSetUp(peer))
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		must(t, err)
		t.Cleanup(func() { _ = unix.Close(fd) })
		must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}), Ifindex: peer.Attrs().Index}))
		l.stations[name] = &station{mac: mac, port: "p" + name, fd: fd}
	}
	await.Within(t, "the bridge forwards", 20*time.Second, func() bool {
		_, ok := l.fence(50*time.Millisecond, "b", nil)
		return ok
	})
	return l
}

// start runs the branch and waits until it serves calls.
func (l *lab) start() {
	l.t.Helper()
	l.b = branchtest.Start(l.t, New(l.env))
	l.c = l.b.Client()
	if _, err := branchtest.Do(l.c, protocol.ConnectNumOfNwfilters, &protocol.Void{}); err != nil {
		l.t.Fatal(err)
	}
}

// restart ends the branch as the end of its process does, and runs it again.
func (l *lab) restart() {
	l.b.Stop()
	l.start()
}

func (l *lab) define(doc string) protocol.Nwfilter {
	l.t.Helper()
	f, err := branchtest.Do(l.c, protocol.NwfilterDefineXML, &protocol.NwfilterDefineXMLArgs{XML: doc})
	if err != nil {
		l.t.Fatal(err)
	}
	return f.Nwfilter
}

func (l *lab) bindingDoc(port, filter, params string) string {
	mac := "52:54:00:00:00:01"
	return "<filterbinding>" + owner + "<portdev name='" + port + "'/><mac address='" + mac + "'/><filterref filter='" + filter + "'>" + params + "</filterref></filterbinding>"
}

// param is a parameter's element.
func param(name, value string) string {
	return "<parameter name='" + name + "' value='" + value + "'/>"
}

// bind gives the guest's port a filter until the end of the test.
func (l *lab) bind(filter, params string) {
	l.t.Helper()
	_, err := branchtest.Do(l.c, protocol.NwfilterBindingCreateXML, &protocol.NwfilterBindingCreateXMLArgs{XML: l.bindingDoc("pa", filter, params)})
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) unbind() {
	l.t.Helper()
	_, err := branchtest.Do(l.c, protocol.NwfilterBindingDelete, &protocol.NwfilterBindingDeleteArgs{Nwfilter: protocol.NwfilterBinding{Portdev: "pa"}})
	if err != nil {
		l.t.Fatal(err)
	}
}

// nothingLeft checks that no rules, and no tables for them, are left.
func (l *lab) nothingLeft() {
	l.t.Helper()
	if out := nft(l.t, "list", "ruleset"); out != "" {
		l.t.Errorf("rules are left:\n%s", out)
	}
}

func (l *lab) bindingFile() string {
	return filepath.Join(l.env.Paths.Run(), "nwfilter-binding", "pa.xml")
}

// frame is an Ethernet frame from one station to another; to may also be a MAC address.
func (l *lab) frame(from, to string, etherType uint16, body []byte) []byte {
	return frame(l.mac(from), l.mac(to), etherType, body)
}

func (l *lab) mac(who string) net.HardwareAddr {
	if s := l.stations[who]; s != nil {
		return s.mac
	}
	mac, err := net.ParseMAC(who)
	must(l.t, err)
	return mac
}

func frame(src, dst net.HardwareAddr, etherType uint16, body []byte) []byte {
	f := append(append([]byte{}, dst...), src...)
	f = binary.BigEndian.AppendUint16(f, etherType)
	f = append(f, body...)
	for len(f) < 60 {
		f = append(f, 0)
	}
	return f
}

// send puts frames on a station's link. All of it happens on one processor, so what is sent first has arrived, or was
// dropped, before what is sent next.
func (l *lab) send(from string, frames ...[]byte) {
	l.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, first unix.CPUSet
	must(l.t, unix.SchedGetaffinity(0, &before))
	first.Set(0)
	must(l.t, unix.SchedSetaffinity(0, &first))
	defer func() { must(l.t, unix.SchedSetaffinity(0, &before)) }()
	for _, f := range frames {
		if _, err := unix.Write(l.stations[from].fd, f); err != nil {
			l.t.Fatal(err)
		}
	}
}

// receive returns the next frame that came for a station; nil when none is there.
func (l *lab) receive(at string) []byte {
	b := make([]byte, 2048)
	for {
		n, who, err := unix.Recvfrom(l.stations[at].fd, b, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		must(l.t, err)
		if a, ok := who.(*unix.SockaddrLinklayer); ok && a.Pkttype != unix.PACKET_OUTGOING {
			return b[:n]
		}
	}
}

// reaches sends a frame and tells whether it comes out at a station. A second frame between stations that are not
// filtered tells when the first one must be there.
func (l *lab) reaches(from, at string, f []byte) bool {
	l.t.Helper()
	for _, s := range []string{at, "b"} {
		for l.receive(s) != nil { // of before
		}
	}
	l.send(from, f)
	came, fenced := l.fence(20*time.Second, at, f)
	if !fenced {
		l.t.Fatal("the bridge does not forward")
	}
	return came
}

// fence sends a frame that is not filtered and waits for it; came tells whether f came to a station meanwhile.
func (l *lab) fence(limit time.Duration, at string, f []byte) (came, fenced bool) {
	fence := frame(l.stations["c"].mac, l.stations["b"].mac, 0x88b6, []byte("fence"))
	l.send("c", fence)
	for end := time.Now().Add(limit); !fenced; {
		left := time.Until(end)
		if left <= 0 {
			return came, false
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(l.stations["b"].fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		for got := l.receive("b"); got != nil && !fenced; got = l.receive("b") {
			came = came || at == "b" && same(got, f)
			fenced = same(got, fence)
		}
	}
	if at != "b" {
		for got := l.receive(at); got != nil; got = l.receive(at) {
			came = came || same(got, f)
		}
	}
	return came, true
}

// same compares frames without the zeros at their end: a bridge may cut what is behind an IP packet.
func same(a, b []byte) bool {
	return bytes.Equal(bytes.TrimRight(a, "\x00"), bytes.TrimRight(b, "\x00"))
}

// Bodies of packets.

func arp(op uint16, srcMAC net.HardwareAddr, srcIP string, dstMAC net.HardwareAddr, dstIP string) []byte {
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(append(b, srcMAC...), ip(srcIP)...)
	return append(append(b, dstMAC...), ip(dstIP)...)
}

func ip(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

func udp(src, dst uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

func ipv4Packet(src, dst string, payload []byte) []byte {
	b := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0}
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	b = append(append(b, ip(src)...), ip(dst)...)
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return append(b, payload...)
}

func ipv6Packet(src, dst string, payload []byte) []byte {
	b := []byte{0x60, 0, 0, 0, 0, 0, 17, 64}
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	return append(append(append(b, ip(src)...), ip(dst)...), payload...)
}

// dhcp is a DHCP message about the guest a.
func dhcp(op, kind byte, client, yours string, options ...[]byte) []byte {
	b := make([]byte, 240)
	b[0], b[1], b[2] = op, 1, 6
	copy(b[12:], ip(client))
	copy(b[16:], ip(yours))
	copy(b[28:], []byte{0x52, 0x54, 0, 0, 0, 1})
	binary.BigEndian.PutUint32(b[236:], 0x63825363)
	b = append(b, 53, 1, kind)
	for _, o := range options {
		b = append(b, o...)
	}
	return append(b, 255)
}
