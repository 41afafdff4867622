package network

import (
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

func (l *lab) portXML(p protocol.NetworkPort) string {
	l.t.Helper()
	x, err := branchtest.Do(l.c, protocol.NetworkPortGetXMLDesc, &protocol.NetworkPortGetXMLDescArgs{Port: p})
	if err != nil {
		l.t.Fatal(err)
	}
	return x.XML
}

// Each kind of network says where a guest is plugged in, in a document that libvirtxml reads.
func TestPlugs(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct{ name, doc, more, plug string }{
		{"own bridge", "<bridge name='pbr0' macTableManager='kernel'/><port isolated='yes'/>", "", "<plug type='network' bridge='pbr0' macTableManager='kernel'/>"},
		{"bridge of the host", "<forward mode='bridge'/><bridge name='hostbr'/>", "", "<plug type='bridge' bridge='hostbr'/>"},
		{"macvtap", "<forward mode='vepa'><interface dev='e0'/></forward>", "", "<plug type='direct' dev='e0' mode='vepa'/>"},
		{"trust and vlan of the portgroup", "<forward mode='passthrough'><interface dev='e0'/></forward><portgroup name='g' trustGuestRxFilters='yes'><vlan><tag id='42'/></vlan></portgroup>",
			"<group>g</group>", "<rxfilters trustGuest='yes'/>"},
	} {
		n := l.define("<network><name>p</name>" + c.doc + "</network>")
		l.start(n)
		p := l.port(n, "52:54:00:77:00:05", c.more)
		text := l.portXML(p)
		if !strings.Contains(text, c.plug) {
			t.Errorf("%s: no %s in %s", c.name, c.plug, text)
		}
		var doc libvirtxml.NetworkPort
		if err := doc.Unmarshal(text); err != nil || doc.UUID != p.UUID.String() || doc.Plug == nil {
			t.Errorf("%s: %v %+v", c.name, err, doc)
		}
		again, err := parsePort(text)
		if err != nil || again.format() != text {
			t.Errorf("%s: does not read back: %v", c.name, err)
		}
		if _, err := branchtest.Do(l.c, protocol.NetworkPortDelete, &protocol.NetworkPortDeleteArgs{Port: p}); err != nil {
			t.Error(err)
		}
		l.destroy(n)
		if _, err := branchtest.Do(l.c, protocol.NetworkUndefine, &protocol.NetworkUndefineArgs{Net: n}); err != nil {
			t.Error(err)
		}
	}
}

// Two devices of a pool: a direct mode takes the one that is used least, passthrough needs one for each guest.
func TestPools(t *testing.T) {
	l := newLab(t)
	for _, mode := range []string{"private", "passthrough"} {
		n := l.define("<network><name>p</name><uuid>0f0f0f0f-0000-4000-8000-0000000000aa</uuid><forward mode='" + mode + "'><interface dev='e0'/><interface dev='e1'/></forward></network>")
		l.start(n)
		a, b := l.portXML(l.port(n, "52:54:00:77:00:01", "")), l.portXML(l.port(n, "52:54:00:77:00:02", ""))
		if !strings.Contains(a, "dev='e0'") || !strings.Contains(b, "dev='e1'") {
			t.Error(mode, a, b)
		}
		doc := "<networkport><uuid>" + newUUID().String() + "</uuid><owner><name>guest</name><uuid>0f0f0f0f-0000-4000-8000-0000000000bb</uuid></owner><mac address='52:54:00:77:00:03'/></networkport>"
		_, err := branchtest.Do(l.c, protocol.NetworkPortCreateXML, &protocol.NetworkPortCreateXMLArgs{Network: n, XML: doc})
		if mode == "private" && err != nil || mode == "passthrough" && (err == nil || err.Code != liberr.InternalError) {
			t.Error(mode, err)
		}
		if x, err := branchtest.Do(l.c, protocol.NetworkGetXMLDesc, &protocol.NetworkGetXMLDescArgs{Net: n}); err != nil || !strings.Contains(x.XML, "<network connections='") || !strings.Contains(x.XML, "<interface dev='e1' connections='1'/>") {
			t.Error(x.XML, err)
		}
		l.destroy(n)
	}
}

// After a loss of the run-time files a hypervisor gives its port back with where it is plugged in.
func TestReclaim(t *testing.T) {
	l := newLab(t)
	n := l.define("<network><name>p</name><bridge name='pbr0'/></network>")
	l.start(n)
	defer l.destroy(n)
	p := l.port(n, "52:54:00:77:00:05", "")
	text := l.portXML(p)
	create := &protocol.NetworkPortCreateXMLArgs{Network: n, XML: text, Flags: virt.NetworkPortCreateReclaim}
	branchtest.Fails(l.c, protocol.NetworkPortCreateXML, create, from, liberr.NetworkPortExist, "network port Network port with UUID "+p.UUID.String()+" already exists exists already")
	if _, err := branchtest.Do(l.c, protocol.NetworkPortDelete, &protocol.NetworkPortDeleteArgs{Port: p}); err != nil {
		t.Fatal(err)
	}
	if got, err := branchtest.Do(l.c, protocol.NetworkPortCreateXML, create); err != nil || got.Port.UUID != p.UUID || l.portXML(p) != text {
		t.Error(got, err)
	}
}

func TestFloors(t *testing.T) {
	l := newLab(t)
	n := l.define("<network><name>p</name><bridge name='pbr0'/><bandwidth><inbound average='1000' peak='2000' burst='512'/></bandwidth></network>")
	l.start(n)
	defer l.destroy(n)
	if out := shell(t, "tc class show dev pbr0"); !strings.Contains(out, "class htb 1:2 parent 1:1 prio 0 rate 8Mbit ceil 16Mbit") {
		t.Error(out)
	}
	p := l.port(n, "52:54:00:77:00:05", "<bandwidth><inbound average='100' floor='300'/></bandwidth>")
	if x := l.portXML(p); !strings.Contains(x, "<bandwidth classID='3'>") {
		t.Error(x)
	}
	if out := shell(t, "tc class show dev pbr0"); !strings.Contains(out, "class htb 1:3 parent 1:1 prio 0 rate 2400Kbit ceil 16Mbit") || !strings.Contains(out, "class htb 1:2 parent 1:1 prio 0 rate 13600Kbit") {
		t.Error(out)
	}
	get := &protocol.NetworkPortGetParametersArgs{Port: p, Nparams: 16}
	if g, err := branchtest.Do(l.c, protocol.NetworkPortGetParameters, get); err != nil || len(g.Params) != 4 || g.Params[0].Field != "inbound.average" || g.Params[0].Value.UI != 100 {
		t.Error(g, err)
	}
	set := &protocol.NetworkPortSetParametersArgs{Port: p, Params: []protocol.TypedParam{
		{Field: "inbound.average", Value: protocol.TypedParamValue{Type: virt.TypedParamUint, UI: 50}},
		{Field: "inbound.floor", Value: protocol.TypedParamValue{Type: virt.TypedParamUint, UI: 200}},
	}}
	if _, err := branchtest.Do(l.c, protocol.NetworkPortSetParameters, set); err != nil {
		t.Error(err)
	}
	if out := shell(t, "tc class show dev pbr0"); !strings.Contains(out, "rate 1600Kbit") || !strings.Contains(out, "rate 14400Kbit") {
		t.Error(out)
	}
	if _, err := branchtest.Do(l.c, protocol.NetworkPortDelete, &protocol.NetworkPortDeleteArgs{Port: p}); err != nil {
		t.Error(err)
	}
	if out := shell(t, "tc class show dev pbr0; tc filter show dev pbr0"); strings.Contains(out, "1:3") || strings.Contains(out, "flowid") {
		t.Error(out)
	}
}

// What guests send is policed where they come in. Kernels without the police action refuse the network, as libvirt does.
func TestOutboundBandwidth(t *testing.T) {
	l := newLab(t)
	n := l.define("<network><name>p</name><bridge name='pbr0'/><bandwidth><outbound average='500' burst='64'/></bandwidth></network>")
	if tryShell("ip link add q0 type bridge && tc qdisc add dev q0 ingress && tc filter add dev q0 parent ffff: protocol all u32 match u32 0 0 police rate 500kbps burst 64kb drop flowid :1; r=$?; ip link del q0; exit $r") != nil {
		branchtest.Fails(l.c, protocol.NetworkCreate, &protocol.NetworkCreateArgs{Net: n}, from, liberr.InternalError, "")
		nothingLeft(t)
		t.Skip("this kernel cannot police")
	}
	l.start(n)
	defer l.destroy(n)
	if out := shell(t, "tc filter show dev pbr0 parent ffff:"); !strings.Contains(out, "police") || !strings.Contains(out, "rate 4Mbit") {
		t.Error(out)
	}
}
