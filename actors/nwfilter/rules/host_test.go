package rules

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"testing"
	"time"

	"virtree/actors/internal/nettest"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"libvirt.org/go/libvirtxml"
)

const hostAddress = "10.0.0.254"

// knows makes the host know a guest's address, which guests of tests do not answer for.
func (l *lab) knows(guest int, addr string) {
	l.t.Helper()
	m := mac(guest)
	l.must(netlink.NeighSet(&netlink.Neigh{LinkIndex: l.bridge.Attrs().Index, State: unix.NUD_PERMANENT, Family: unix.AF_INET,
		IP: net.ParseIP(addr), HardwareAddr: m[:]}))
}

// toHost is a frame from a guest to the host's own address.
func (l *lab) toHost(from int, src string, proto byte, payload []byte) []byte {
	link, err := netlink.LinkByName("br0")
	l.must(err)
	ether, p := above(src, hostAddress, proto, 0, payload)
	return frame([6]byte(link.Attrs().HardwareAddr), mac(from), ether, p)
}

// hears tells whether a datagram arrives at the host.
func (l *lab) hears(c *net.UDPConn, send func()) bool {
	l.t.Helper()
	send()
	l.fence()
	l.must(c.SetReadDeadline(time.Now())) // what has not come by now does not come
	buf := make([]byte, 2048)
	fd, err := c.SyscallConn()
	l.must(err)
	heard := false
	l.must(fd.Control(func(fd uintptr) {
		for {
			n, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			if err != nil || n < 0 {
				return
			}
			heard = true
		}
	}))
	return heard
}

func TestTrafficWithTheHost(t *testing.T) {
	l := newLab(t, 2)
	b := backend(t)
	l.knows(0, "10.0.0.1")
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(hostAddress), Port: 53})
	l.must(err)
	defer func() { _ = c.Close() }()
	ask := func(port uint16) func() {
		return func() { l.must(l.guests[0].send(l.toHost(0, "10.0.0.1", 17, udp(4000, port, "ask")))) }
	}
	if !l.hears(c, ask(53)) {
		t.Fatal("the host does not hear an unfiltered guest")
	}
	l.must(b.Apply(t.Context(), program(t, "vnet0", "<rule action='drop' direction='out'><udp dstportstart='53'/></rule>")))
	if l.hears(c, ask(53)) {
		t.Error("the host hears what the net rules drop")
	}
	l.must(b.Apply(t.Context(), program(t, "vnet0", "<rule action='drop' direction='out'><ip protocol='udp' dstportstart='53'/></rule>")))
	if l.hears(c, ask(53)) {
		t.Error("the host hears what the link rules drop")
	}
	l.must(b.Apply(t.Context(), program(t, "vnet0", "<rule action='accept' direction='out'><udp dstportstart='53'/></rule>"+dropIP4)))
	forget(t)
	if !l.hears(c, ask(53)) {
		t.Error("what a rule accepts does not reach the host")
	}
	// The host's answers pass, as with libvirt, whose iptables see no port where the host's own packets go.
	l.clear()
	_, err = c.WriteTo([]byte("answer"), &net.UDPAddr{IP: net.ParseIP("10.0.0.1"), Port: 4000})
	l.must(err)
	l.fence()
	if !got(l.guests[0].receive(), 17) {
		t.Error("the host's answer does not reach the guest")
	}
	l.must(b.Apply(t.Context(), program(t, "vnet0", "<rule action='drop' direction='in'><ip protocol='udp'/></rule>")))
	_, err = c.WriteTo([]byte("answer"), &net.UDPAddr{IP: net.ParseIP("10.0.0.1"), Port: 4000})
	l.must(err)
	l.fence()
	if got(l.guests[0].receive(), 17) {
		t.Error("link rules do not hold back what the host sends")
	}
}

// got tells whether a packet of that protocol is among frames.
func got(frames [][]byte, proto byte) bool {
	for _, f := range frames {
		if len(f) > 34 && bytes.Equal(f[12:14], []byte{8, 0}) && f[23] == proto {
			return true
		}
	}
	return false
}

func TestReject(t *testing.T) {
	l := newLab(t, 2)
	b := backend(t)
	l.knows(0, "10.0.0.1")
	l.knows(1, "10.0.0.2")
	for _, c := range []struct {
		rule string
		from int
	}{
		{"<rule action='reject' direction='out'><udp dstportstart='6'/></rule>", 0},
		{"<rule action='reject' direction='in'><udp dstportstart='6'/></rule>", 1},
		{"<rule action='reject' direction='inout'><tcp dstportstart='6'/></rule>", 1},
	} {
		l.must(b.Apply(t.Context(), program(t, "vnet0", c.rule)))
		addr := []string{"10.0.0.1", "10.0.0.2"}
		for _, p := range []struct {
			proto   byte
			payload []byte
		}{{17, udp(5, 6, "data")}, {6, tcp(5, 6, syn, 1, 0)}} {
			refused := bytes.Contains([]byte(c.rule), []byte(map[byte]string{17: "udp", 6: "tcp"}[p.proto]))
			forget(t)
			if passed := l.passes(c.from, 1-c.from, packet(c.from, 1-c.from, addr[c.from], addr[1-c.from], p.proto, 0, p.payload)); passed == refused {
				t.Errorf("%s: protocol %d passes: %v", c.rule, p.proto, passed)
			}
			told := false
			for _, f := range l.guests[c.from].receive() {
				told = told || len(f) > 36 && f[23] == 1 && f[34] == 3 && f[35] == 3 // port unreachable
			}
			if told != refused {
				t.Errorf("%s: the sender of protocol %d hears of it: %v", c.rule, p.proto, told)
			}
		}
	}
	// A frame is only dropped.
	l.must(b.Apply(t.Context(), program(t, "vnet0", "<rule action='reject' direction='out'><ip protocol='udp'/></rule>")))
	if l.passes(0, 1, packet(0, 1, "10.0.0.1", "10.0.0.2", 17, 0, udp(5, 6, "data"))) {
		t.Error("a rejected frame passes")
	}
	if got(l.guests[0].receive(), 1) {
		t.Error("a rejected frame is answered")
	}
}

func TestConnectionLimit(t *testing.T) {
	l := newLab(t, 2)
	b := backend(t)
	l.must(b.Apply(t.Context(), program(t, "vnet0", `<rule action='drop' direction='in' priority='100'><tcp dstportstart='80' connlimit-above='2'/></rule>
		<rule action='accept' direction='in'><tcp dstportstart='80'/></rule>`+dropIP4)))
	forget(t)
	open := func(src string, port uint16) bool {
		return l.passes(1, 0, packet(1, 0, src, "10.0.0.1", 6, 0, tcp(port, 80, syn, 1, 0)))
	}
	if !open("10.0.0.2", 1) {
		t.Error("the first connection does not pass")
	}
	if !open("10.0.0.2", 2) {
		t.Error("the second connection does not pass")
	}
	if open("10.0.0.2", 3) {
		t.Error("a third connection passes a limit of two")
	}
	if !open("10.0.0.3", 1) {
		t.Error("another source is counted with the first")
	}
	if !l.passes(0, 1, packet(0, 1, "10.0.0.1", "10.0.0.2", 6, 0, tcp(80, 1, syn|ack, 1, 2))) {
		t.Error("the answer of the first connection does not pass")
	}
	// Each port counts for itself.
	l.must(b.Apply(t.Context(), program(t, "vnet0", "<rule action='drop' direction='out'><udp connlimit-above='1'/></rule>"),
		program(t, "vnet1", "<rule action='drop' direction='out'><udp connlimit-above='1'/></rule>")))
	forget(t)
	for from := range 2 {
		if !l.passes(from, 1-from, packet(from, 1-from, "10.0.0.9", "10.0.0.8", 17, 0, udp(uint16(from+1), 9, "one"))) {
			t.Errorf("port %d: the first flow does not pass", from)
		}
		if l.passes(from, 1-from, packet(from, 1-from, "10.0.0.9", "10.0.0.8", 17, 0, udp(uint16(from+3), 9, "two"))) {
			t.Errorf("port %d: a second flow passes", from)
		}
	}
}

func TestStates(t *testing.T) {
	l := newLab(t, 2)
	b := backend(t)
	for from := range 2 { // so that the bridge knows where they are: a copy on its way elsewhere would be tracked
		l.passes(from, 1-from, frame(mac(1-from), mac(from), 0x88b5, nil))
	}
	there := packet(0, 1, "10.0.0.1", "10.0.0.2", 17, 0, udp(5, 6, "ask"))
	back := packet(1, 0, "10.0.0.2", "10.0.0.1", 17, 0, udp(6, 5, "answer"))
	for _, c := range []struct{ rule, want string }{
		// back first, there, back: what a rule's direction lets through brings its answers through
		{"<rule action='accept' direction='out'><udp dstportstart='6'/></rule>", "-++"},
		{"<rule action='accept' direction='out' statematch='false'><udp dstportstart='6'/></rule>", "+++"},
		{"<rule action='accept' direction='inout'><udp dstportstart='6'/></rule>", "---"}, // the guest's port would be 6
		{"<rule action='accept' direction='inout'><udp srcportstart='6'/></rule>", "+++"},
		{"<rule action='accept' direction='in'><udp srcportstart='6'/></rule>", "+++"},
		{"<rule action='accept' direction='in'><udp srcportstart='6' state='ESTABLISHED'/></rule>", "---"},
		{"<rule action='accept' direction='in'><udp srcportstart='6' state='NEW'/></rule>", "+--"}, // once answered, though the answer is dropped, it is not new
		{"<rule action='accept' direction='out'><udp state='NEW'/></rule><rule action='accept' direction='in'><udp state='ESTABLISHED'/></rule>", "-++"},
		{"<rule action='accept' direction='out'><udp state='INVALID,RELATED'/></rule>", "---"},
		{"<rule action='accept' direction='out'><udp state='NONE'/></rule>", "-+-"},
	} {
		l.must(b.Apply(t.Context(), program(t, "vnet0", c.rule+dropIP4)))
		forget(t)
		result := ""
		for i, f := range [][]byte{back, there, back} {
			mark := "-"
			if from := (i + 1) % 2; l.passes(from, 1-from, f) {
				mark = "+"
			}
			result += mark
		}
		if result != c.want {
			t.Errorf("%s: %s, not %s", c.rule, result, c.want)
		}
	}
}

func TestIPSet(t *testing.T) {
	l := newLab(t, 2)
	b := backend(t)
	_, err := compileAndApply(t, b, "<rule action='accept' direction='out'><udp ipset='absent' ipsetflags='dst'/></rule>")
	if want := "internal error: Failed to apply firewall rules: Set absent doesn't exist."; err == nil || err.Error() != want {
		t.Errorf("%v, not %s", err, want)
	}
	l.must(netlink.IpsetCreate("friends", "hash:ip", netlink.IpsetCreateOptions{Family: unix.AF_INET}))
	defer func() {
		l.must(b.Remove(t.Context(), "vnet0"))
		l.must(netlink.IpsetDestroy("friends"))
	}()
	l.must(netlink.IpsetAdd("friends", &netlink.IPSetEntry{IP: net.ParseIP("10.0.0.2")}))
	if _, err = compileAndApply(t, b, "<rule action='accept' direction='inout'><udp ipset='friends' ipsetflags='src'/></rule>"+dropIP4); err != nil {
		t.Fatal(err)
	}
	to := func(from int, addr string) bool {
		src, dst := "10.0.0.1", addr
		if from == 1 {
			src, dst = dst, src
		}
		return l.passes(from, 1-from, packet(from, 1-from, src, dst, 17, 0, udp(5, 6, "data")))
	}
	for from := range 2 {
		if !to(from, "10.0.0.2") {
			t.Errorf("guest %d: who is in the set is dropped", from)
		}
		if to(from, "10.0.0.3") {
			t.Errorf("guest %d: who is not in the set passes", from)
		}
	}
	if _, err = compileAndApply(t, b, "<rule action='accept' direction='inout'><udp ipset='friends'/></rule>"+dropIP4); err != nil {
		t.Fatal(err)
	}
	if !to(1, "10.0.0.2") || to(1, "10.0.0.3") {
		t.Error("without flags, the source is not what is looked up")
	}
	l.must(netlink.IpsetAdd("friends", &netlink.IPSetEntry{IP: net.ParseIP("10.0.0.3")}))
	if !to(0, "10.0.0.3") {
		t.Error("a later member of the set is dropped")
	}
}

func compileAndApply(t *testing.T, b Backend, rules string) (*Program, error) {
	p, err := compileRules(t, "vnet0", rules)
	if err != nil {
		return nil, err
	}
	return p, b.Apply(t.Context(), p)
}

func TestBridgesThatHideTheirPackets(t *testing.T) {
	nettest.Need(t)
	const path = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	was, err := os.ReadFile(path)
	if err != nil {
		t.Skip("no br_netfilter, nothing can be hidden")
	}
	defer func() { _ = os.WriteFile(path, was, 0) }()
	if err := os.WriteFile(path, []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	var warnings []string
	b := NFTables(Options{Warn: func(m string) { warnings = append(warnings, m) }})
	for i := range 2 {
		if err := b.Apply(t.Context(), program(t, "vnet0", "<rule action='drop' direction='in'><udp connlimit-above='3'/></rule>")); err != nil {
			t.Fatal(err)
		}
		if len(warnings) != 1 {
			t.Errorf("%d warnings after %d times", len(warnings), i+1)
		}
	}
	if err := b.Remove(t.Context(), "vnet0"); err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || warnings[0] != "To enable iptables filtering for the VM do 'echo 1 > "+path+"'" {
		t.Errorf("%q", warnings)
	}
}

// Ports that have the same rules have the same chains, whatever is done to one of them.
func TestSharing(t *testing.T) {
	l := newLab(t, 2)
	b := backend(t)
	rule := func(port int) *Program {
		return program(t, []string{"vnet0", "vnet1"}[port], "<rule action='drop' direction='out'><ip protocol='udp'/></rule><rule action='drop' direction='out'><tcp/></rule>")
	}
	chains := func() int {
		now, err := readKernel()
		l.must(err)
		n := 0
		for _, table := range now.tables {
			for name := range table.chains {
				if _, is := rootOf(name); is {
					n++
				}
			}
		}
		return n
	}
	datagram := func(from int) []byte {
		return packet(from, 1-from, "10.0.0.1", "10.0.0.2", 17, 0, udp(5, 6, binaryString(from)))
	}
	l.must(b.Apply(t.Context(), rule(0)))
	one := chains()
	l.must(b.Apply(t.Context(), rule(1), rule(0)))
	if two := chains(); two != one {
		t.Errorf("%d chains for two ports, %d for one", two, one)
	}
	if l.passes(0, 1, datagram(0)) || l.passes(1, 0, datagram(1)) {
		t.Error("passes")
	}
	l.must(b.Remove(t.Context(), "vnet0", "none"))
	if !l.passes(0, 1, datagram(0)) || l.passes(1, 0, datagram(1)) {
		t.Error("the wrong port has lost its rules")
	}
	// A failed transaction changes nothing.
	bad := program(t, "vnet1", "<rule action='drop' direction='out'><udp ipset='absent' ipsetflags='dst'/></rule>")
	if err := b.Apply(t.Context(), program(t, "vnet0", "<rule action='drop' direction='out'/>"), bad); err == nil {
		t.Error("a set that is not there is no error")
	}
	if !l.passes(0, 1, datagram(0)) || l.passes(1, 0, datagram(1)) {
		t.Error("a failed transaction changes something")
	}
	l.must(b.Remove(t.Context(), "vnet1"))
	now, err := readKernel()
	l.must(err)
	for family, table := range now.tables {
		if table.present {
			t.Errorf("a table of family %d stays behind", family)
		}
	}
	if ports, err := b.Ports(t.Context()); err != nil || len(ports) != 0 {
		t.Error(ports, err)
	}
}

func binaryString(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }

// Packets keep coming while rules are replaced, and none gets through that neither the old nor the new rules let.
func TestReplacingLeavesNoGap(t *testing.T) {
	l := newLab(t, 2)
	b := backend(t)
	filters := parse(t, many(50))
	compiled := func(addr string) *Program {
		p, err := Compile(&Binding{Port: "vnet0", Root: filters["many"], Vars: map[string][]string{"IP": {addr}},
			Filters: func(string) *libvirtxml.NWFilter { return nil }})
		l.must(err)
		return p
	}
	l.must(b.Apply(t.Context(), compiled("10.1.0.1")))
	done := make(chan error)
	go func() {
		for i := range 50 {
			if err := b.Apply(t.Context(), compiled([]string{"10.1.0.1", "10.1.0.2"}[i%2])); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	f := packet(1, 0, "10.0.0.2", "10.0.0.1", 6, 0, tcp(5, 1000, syn, 1, 0))
	for sent := 0; ; sent++ {
		select {
		case err := <-done:
			l.must(err)
			t.Logf("%d packets", sent)
			return
		default:
		}
		if l.passes(1, 0, f) {
			t.Fatal("a packet passes while rules are replaced")
		}
	}
}

// The kernel says what it can do; the log of a run then says what was tested.
func TestAbilities(t *testing.T) {
	nettest.Need(t)
	able, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("connection tracking of bridges: %v, rejection there: %v", able.bridgeCT, able.bridgeReject)
}

// Somebody else may flush all tables; the next transaction makes them anew.
func TestAFlushedFirewall(t *testing.T) {
	l := newLab(t, 2)
	b := backend(t)
	p := program(t, "vnet0", "<rule action='drop' direction='out'><ip protocol='udp'/></rule><rule action='drop' direction='out'><tcp/></rule>")
	l.must(b.Apply(t.Context(), p))
	now, err := readKernel()
	l.must(err)
	flush := newBatch() // as if by somebody else
	for family, table := range now.tables {
		if table.present {
			flush.deleteTable(&nftables.Table{Name: tableName, Family: family})
		}
	}
	l.must(flush.commit())
	f := packet(0, 1, "10.0.0.1", "10.0.0.2", 17, 0, udp(5, 6, "data"))
	if ports, err := b.Ports(t.Context()); err != nil || len(ports) != 0 || !l.passes(0, 1, f) {
		t.Error("the tables are still there", ports, err)
	}
	l.must(b.Remove(t.Context(), "vnet0"))
	l.must(b.Apply(t.Context(), p))
	if ports, err := b.Ports(t.Context()); err != nil || len(ports) != 1 || l.passes(0, 1, f) {
		t.Error("the tables are not made anew", ports, err)
	}
}
