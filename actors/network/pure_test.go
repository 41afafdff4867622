package network

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"virtree/actors/internal/branch"
	"virtree/supervisors/paths"
	"virtree/wire/virt"
)

func TestLifeStateMachine(t *testing.T) {
	off, defined, on, both := life{}, life{persistent: true}, life{active: true}, life{true, true}
	for _, c := range []struct {
		from  life
		order order
		to    life
		event int32
		fails string
	}{
		{off, orderDefine, defined, virt.NetworkEventDefined, ""},
		{on, orderDefine, both, virt.NetworkEventDefined, ""},
		{defined, orderUndefine, off, virt.NetworkEventUndefined, ""},
		{both, orderUndefine, on, virt.NetworkEventUndefined, ""},
		{on, orderUndefine, on, 0, "can't undefine transient network"},
		{off, orderCreate, on, virt.NetworkEventStarted, ""},
		{both, orderCreate, both, 0, "network is already active as 'n'"},
		{defined, orderStart, both, virt.NetworkEventStarted, ""},
		{both, orderStart, both, 0, "network is already active"},
		{both, orderDestroy, defined, virt.NetworkEventStopped, ""},
		{on, orderDestroy, off, virt.NetworkEventStopped, ""},
		{defined, orderDestroy, defined, 0, "network 'n' is not active"},
	} {
		to, event, err := c.from.on(c.order, "n")
		if (err != nil) != (c.fails != "") || err != nil && err.Error() != "Requested operation is not valid: "+c.fails {
			t.Errorf("%+v order %d: %v", c.from, c.order, err)
		}
		if to != c.to || err == nil && event != c.event {
			t.Errorf("%+v order %d: %+v event %d", c.from, c.order, to, event)
		}
	}
}

func TestRules(t *testing.T) {
	ip4, ip6 := "<ip address='10.0.0.1' prefix='24'/>", "<ip family='ipv6' address='fd00::1' prefix='64'/>"
	const cross, end = "forward: iifname b oifname b accept", "forward: oifname b reject; forward: iifname b reject"
	for _, c := range []struct{ name, doc, four, six string }{
		{"isolated guests talk to each other only", ip4, cross + "; " + end, ""},
		{"an IPv6 address brings IPv6 rules", ip6, cross + "; " + end, cross + "; " + end},
		{"open is not our business", "<forward mode='open'/>" + ip4, "", ""},
		{"route lets in", "<forward mode='route' dev='up'/>" + ip4,
			cross + "; forward: iifname up oifname b ip daddr 10.0.0.0/24 accept; forward: iifname b oifname up ip saddr 10.0.0.0/24 accept; " + end, ""},
		{"nat with addresses and ports", "<forward mode='nat'><nat><address start='1.2.3.4' end='1.2.3.5'/><port start='5' end='6'/></nat></forward>" + ip4,
			cross + "; forward: oifname b ip daddr 10.0.0.0/24 ct state established,related accept; forward: iifname b ip saddr 10.0.0.0/24 accept; " + end +
				"; postrouting: ip saddr 10.0.0.0/24 ip daddr 224.0.0.0/24 return; postrouting: ip saddr 10.0.0.0/24 ip daddr 255.255.255.255/32 return" +
				"; postrouting: ip saddr 10.0.0.0/24 ip daddr != 10.0.0.0/24 meta l4proto tcp snat to 1.2.3.4-1.2.3.5 to :5-6" +
				"; postrouting: ip saddr 10.0.0.0/24 ip daddr != 10.0.0.0/24 meta l4proto udp snat to 1.2.3.4-1.2.3.5 to :5-6" +
				"; postrouting: ip saddr 10.0.0.0/24 ip daddr != 10.0.0.0/24 snat to 1.2.3.4-1.2.3.5", ""},
		{"IPv6 is routed where only IPv4 is translated", "<forward/>" + ip6, cross + "; " + end,
			cross + "; forward: oifname b ip6 daddr fd00::/64 accept; forward: iifname b ip6 saddr fd00::/64 accept; " + end},
	} {
		d, err := parse("<network><name>n</name><bridge name='b'/>" + c.doc + "</network>")
		if err != nil {
			t.Error(err)
			continue
		}
		for i, want := range []string{c.four, c.six} {
			var got []string
			for _, r := range d.rules(i == 1) {
				got = append(got, r.String())
			}
			if strings.Join(got, "; ") != want {
				t.Errorf("%s:\n\tgot  %s\n\twant %s", c.name, strings.Join(got, "; "), want)
			}
		}
	}
}

func TestDnsmasqFiles(t *testing.T) {
	s := &shared{env: &branch.Env{Paths: paths.System("/r")}}
	d, err := parse(`<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'><name>n</name><forward mode='nat'/><bridge name='b'/><domain name='d.e' localOnly='yes'/>
<dns forwardPlainNames='no'><forwarder addr='8.8.8.8'/><forwarder domain='x.y'/><forwarder domain='q' addr='1.1.1.1'/><srv service='s' protocol='tcp' domain='d' target='t' port='5' priority='1' weight='2'/><host ip='10.0.0.9'><hostname>a</hostname><hostname>b</hostname></host></dns>
<ip address='10.0.0.1' prefix='24' localPtr='yes'><tftp root='/t'/><dhcp><range start='10.0.0.2' end='10.0.0.9'><lease expiry='2' unit='hours'/></range><host mac='52:54:00:00:00:01' name='x' ip='10.0.0.5'><lease expiry='0'/></host><host name='y' ip='10.0.0.6'/><bootp file='f' server='10.0.0.7'/></dhcp></ip>
<ip family='ipv6' address='fd00::1' prefix='64' localPtr='yes'><dhcp><range start='fd00::2' end='fd00::9'/><host id='0:1' name='z' ip='fd00::5'/></dhcp></ip><dnsmasq:options><dnsmasq:option value='foo=bar'/></dnsmasq:options></network>`)
	if err != nil {
		t.Fatal(err)
	}
	conf := s.dnsmasqConf(d)
	for _, want := range strings.Fields("strict-order server=8.8.8.8 no-resolv server=/x.y/# server=/q/1.1.1.1 local=/0.0.10.in-addr.arpa/ local=/0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa/ local=/d.e/ domain=d.e expand-hosts domain-needed " +
		"srv-host=_s._tcp.d,t,5,1,2 dhcp-range=10.0.0.2,10.0.0.9,255.255.255.0,2h dhcp-range=fd00::2,fd00::9,64 enable-tftp tftp-root=/t dhcp-boot=f,,10.0.0.7 dhcp-lease-max=16 enable-ra foo=bar interface=b pid-file=/r/run/libvirt/network/n.pid") {
		if !strings.Contains(conf, "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, conf)
		}
	}
	if got, want := hostsFile(d), "52:54:00:00:00:01,10.0.0.5,x,infinite\ny,10.0.0.6\nid:0:1,z,[fd00::5]\n"; got != want {
		t.Errorf("hosts %q, want %q", got, want)
	}
	if got, want := namesFile(d), "10.0.0.9\ta\tb\t\n"; got != want {
		t.Errorf("names %q, want %q", got, want)
	}
}

// The lease helper as dnsmasq runs it: leases come, are renewed, go, and are told at its next start.
func TestLeaseHelper(t *testing.T) {
	path := t.TempDir() + "/b.status"
	env := map[string]string{helperVariable: path}
	now := time.Unix(1000, 0)
	run := func(line string, more ...string) string {
		t.Helper()
		e := map[string]string{}
		for k, v := range env {
			e[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			e[more[i]] = more[i+1]
		}
		var out strings.Builder
		if err := helpLease(strings.Fields(line), func(k string) string { return e[k] }, &out, now); err != nil {
			t.Error(line, err)
		}
		return out.String()
	}
	run("add 52:54:00:00:00:01 10.0.0.5 web", "DNSMASQ_LEASE_EXPIRES", "2000", "DNSMASQ_CLIENT_ID", "01:52:54:00:00:00:01")
	run("old 52:54:00:00:00:01 10.0.0.5 web", "DNSMASQ_LEASE_EXPIRES", "3000")
	run("add 00:01:00:01 fd00::5 six", "DNSMASQ_LEASE_EXPIRES", "3000", "DNSMASQ_IAID", "77", "DNSMASQ_SERVER_DUID", "00:aa", "DNSMASQ_MAC", "52:54:00:00:00:02")
	run("add 52:54:00:00:00:03 10.0.0.6", "DNSMASQ_LEASE_EXPIRES", "1500")
	if got, want := run("init"), "3000 52:54:00:00:00:01 10.0.0.5 web 01:52:54:00:00:00:01\n1500 52:54:00:00:00:03 10.0.0.6 * *\nduid 00:aa\n3000 77 fd00::5 six 00:01:00:01\n"; got != want {
		t.Errorf("init tells %q, want %q", got, want)
	}
	now = time.Unix(1600, 0)
	run("del 52:54:00:00:00:01 10.0.0.5")
	all, err := readLeases(path)
	if err != nil || len(all) != 1 || all[0].IP != "fd00::5" || all[0].MAC != "52:54:00:00:00:02" {
		t.Error(fmt.Sprint(all), err)
	}
}

func FuzzDocuments(f *testing.F) {
	f.Add(natDoc)
	f.Add("<networkport><uuid>0f0f0f0f-0000-4000-8000-0000000000b2</uuid><owner><name>g</name><uuid>0f0f0f0f-0000-4000-8000-0000000000bb</uuid></owner><mac address='52:54:00:77:00:06'/></networkport>")
	f.Add("<networkstatus><class_id bitmap='0-2,7'/><floor sum='3'/><network><name>a</name></network></networkstatus>")
	f.Fuzz(func(t *testing.T, doc string) {
		if d, err := parse(doc); err == nil {
			text := d.format(nil)
			again, err := parse(text)
			if err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			_ = again.rules(false)
			_ = checkSchema(doc)
		}
		if p, err := parsePort(doc); err == nil {
			if _, err := parsePort(p.format()); err != nil {
				t.Fatalf("%v: %s", err, p.format())
			}
		}
		if st, err := parseStatus(doc); err == nil {
			_ = st.format()
		}
		c := &change{command: updateAddLast, index: -1, doc: doc}
		d, _ := parse(natDoc)
		for c.section = 1; c.section < 13; c.section++ {
			_ = c.apply(d.clone())
		}
	})
}
