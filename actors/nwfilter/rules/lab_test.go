package rules

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"virtree/actors/internal/nettest"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestMain runs the tests in namespaces of their own. Frames are sent on one processor, which the fence of a lab relies on.
func TestMain(m *testing.M) { nettest.Main(m) }

// mac is the address of a guest.
func mac(guest int) [6]byte { return [6]byte{0x52, 0x54, 0, 0, 0, byte(guest)} }

// lab is a bridge with ports, each of which has a raw socket at its other end where a guest would be. Two more ports,
// that no rule is ever for, carry the fence.
type lab struct {
	t      testing.TB
	bridge netlink.Link
	guests []*guest // port vnet0 has guest 0
	fences [2]*guest
	fenced uint32
}

type guest struct {
	fd    int
	index int
}

// newLab makes a bridge with so many ports. Its own address, for traffic with the host, is 10.0.0.254.
func newLab(t testing.TB, ports int) *lab {
	t.Helper()
	nettest.Need(t)
	runtime.LockOSThread()
	var one unix.CPUSet
	one.Set(firstCPU(t))
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, bridge: &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}}
	l.must(netlink.LinkAdd(l.bridge))
	t.Cleanup(func() {
		_ = netlink.LinkDel(l.bridge)
		runtime.UnlockOSThread()
	})
	addr, err := netlink.ParseAddr("10.0.0.254/24")
	l.must(err)
	l.must(netlink.AddrAdd(l.bridge, addr))
	l.must(netlink.LinkSetUp(l.bridge))
	for i := range ports {
		l.guests = append(l.guests, l.plug(fmt.Sprintf("vnet%d", i), fmt.Sprintf("g%d", i)))
	}
	l.fences = [2]*guest{l.plug("fence0", "f0"), l.plug("fence1", "f1")}
	return l
}

func firstCPU(t testing.TB) int {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	for i := range 1024 {
		if all.IsSet(i) {
			return i
		}
	}
	return 0
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) plug(port, other string) *guest {
	l.t.Helper()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: port, MasterIndex: l.bridge.Attrs().Index}, PeerName: other}
	l.must(netlink.LinkAdd(veth))
	l.t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	peer, err := netlink.LinkByName(other)
	l.must(err)
	l.must(netlink.LinkSetARPOff(peer))
	l.must(netlink.LinkSetUp(peer))
	l.must(netlink.LinkSetUp(veth))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	l.must(err)
	l.t.Cleanup(func() { _ = unix.Close(fd) })
	l.must(unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: peer.Attrs().Index}))
	l.must(unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)) // the tags of VLANs, which the kernel takes out
	return &guest{fd: fd, index: peer.Attrs().Index}
}

func htons(n uint16) uint16 { return n<<8 | n>>8 }

func (g *guest) send(frame []byte) error {
	return unix.Sendto(g.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: g.index})
}

// receive gives what came in since the last time.
func (g *guest) receive() (frames [][]byte) {
	buf, oob := make([]byte, 65536), make([]byte, 256)
	for {
		n, oobn, _, from, err := unix.Recvmsg(g.fd, buf, oob, 0)
		if err != nil {
			return frames
		}
		if ll, is := from.(*unix.SockaddrLinklayer); is && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		frames = append(frames, withTag(bytes.Clone(buf[:n]), oob[:oobn]))
	}
}

// withTag puts a tag back that the kernel took out.
func withTag(frame, oob []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return frame
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < 20 {
			continue
		}
		if binary.NativeEndian.Uint32(m.Data)&unix.TP_STATUS_VLAN_VALID == 0 {
			continue
		}
		tag := binary.BigEndian.AppendUint16([]byte{0x81, 0}, binary.NativeEndian.Uint16(m.Data[16:]))
		return append(append(bytes.Clone(frame[:12]), tag...), frame[12:]...)
	}
	return frame
}

// fence waits until everything that was sent before has arrived or is lost. All of it stands in the queue of one
// processor, as does a frame from one unfiltered port to another that is sent now.
func (l *lab) fence() {
	l.t.Helper()
	l.fenced++
	mark := frame(bridgeAll, mac(200), 0x88b5, binary.BigEndian.AppendUint32(nil, l.fenced))
	l.must(l.fences[0].send(mark))
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		for _, f := range l.fences[1].receive() {
			if bytes.HasPrefix(f, mark) {
				return
			}
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(l.fences[1].fd), Events: unix.POLLIN}}, 1000)
	}
	l.t.Fatal("a frame between unfiltered ports is lost")
}

// bridgeAll is an address that the bridge floods.
var bridgeAll = [6]byte{0x52, 0x54, 0, 0, 0, 0xfe}

// clear forgets what has come in.
func (l *lab) clear() {
	for _, g := range l.guests {
		g.receive()
	}
}

// passes sends a frame from one guest and tells whether it reaches another as it is.
func (l *lab) passes(from, to int, frame []byte) bool {
	l.t.Helper()
	l.clear()
	l.must(l.guests[from].send(frame))
	l.fence()
	for _, f := range l.guests[to].receive() {
		if bytes.HasPrefix(f, frame) {
			return true
		}
	}
	return false
}
