package nwfilter

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"virtree/actors/internal/await"
	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// fails creates a binding and checks the error.
func (l *lab) fails(filter, params string, code liberr.Code, message string) {
	l.t.Helper()
	branchtest.Fails(l.c, protocol.NwfilterBindingCreateXML, &protocol.NwfilterBindingCreateXMLArgs{XML: l.bindingDoc("pa", filter, params)}, from, code, message)
}

func (l *lab) bindingXML() string {
	l.t.Helper()
	r, err := branchtest.Do(l.c, protocol.NwfilterBindingGetXMLDesc, &protocol.NwfilterBindingGetXMLDescArgs{Nwfilter: protocol.NwfilterBinding{Portdev: "pa"}})
	if err != nil {
		return err.Message
	}
	return r.XML
}

// dropping is a filter that drops one ethertype that the guest sends.
func dropping(name, etherType string) string {
	return "<filter name='" + name + "' chain='mac'><uuid>11111111-2222-3333-4444-5555555555" + fmt.Sprintf("%02x", name[0]) + "</uuid>" +
		"<rule action='drop' direction='out'><mac protocolid='" + etherType + "'/></rule></filter>"
}

// passes tells whether the guest can send a frame of that type.
func (l *lab) passes(etherType uint16) bool {
	l.t.Helper()
	return l.reaches("a", "b", l.frame("a", "b", etherType, []byte("test")))
}

// The messages were recorded from libvirtd 9.0.0.
func TestBindingsAreRefused(t *testing.T) {
	l := newLab(t)
	_, err := InstallStock(l.env.Paths)
	must(t, err)
	l.start()
	l.fails("nosuch", "", liberr.InternalError, "internal error: referenced filter 'nosuch' is missing")
	const unresolved = "internal error: Cannot instantiate filter due to unresolvable variables or unavailable list elements: "
	l.fails("clean-traffic", param("CTRL_IP_LEARNING", "none"), liberr.InternalError, unresolved+"IP")
	l.fails("clean-traffic", param("CTRL_IP_LEARNING", "bogus"), liberr.ParseFailed, "failed to parse configuration file filter 'clean-traffic' learning value 'bogus' invalid.")
	l.fails("clean-traffic-gateway", param("CTRL_IP_LEARNING", "none"), liberr.InternalError, unresolved+"GATEWAY_MAC")
	l.fails("clean-traffic-gateway", param("IP", "1.2.3.4"), liberr.InternalError, unresolved+"GATEWAY_MAC")
	l.define("<filter name='element'><rule action='drop' direction='in'><ip srcipaddr='$A[1]'/></rule></filter>")
	l.fails("element", param("A", "1.2.3.4"), liberr.InternalError, unresolved+"A[1]")
	l.nothingLeft()
	if _, err := os.Stat(l.bindingFile()); err == nil {
		t.Error("a refused binding has left its file")
	}
	l.bind("clean-traffic", param("IP", "10.0.0.1"))
	l.fails("clean-traffic", "", liberr.OperationFailed, "operation failed: binding 'pa' already exists")
	for _, name := range []string{"clean-traffic", "no-mac-spoofing"} {
		f, err := branchtest.Do(l.c, protocol.NwfilterLookupByName, &protocol.NwfilterLookupByNameArgs{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		branchtest.Fails(l.c, protocol.NwfilterUndefine, &protocol.NwfilterUndefineArgs{Nwfilter: f.Nwfilter}, from, liberr.OperationInvalid, "Requested operation is not valid: nwfilter is in use")
	}
	l.unbind()
	branchtest.Fails(l.c, protocol.NwfilterBindingDelete, &protocol.NwfilterBindingDeleteArgs{Nwfilter: protocol.NwfilterBinding{Portdev: "pa"}}, from, liberr.NoNwfilterBinding,
		"Network filter binding not found: no nwfilter binding for port dev 'pa'")
	l.nothingLeft()
}

// A port without a link is bound without rules.
func TestPortWithoutLink(t *testing.T) {
	l := newLab(t)
	l.start()
	doc := l.bindingDoc("nolink", "nosuch", "")
	if _, err := branchtest.Do(l.c, protocol.NwfilterBindingCreateXML, &protocol.NwfilterBindingCreateXMLArgs{XML: doc}); err != nil {
		t.Fatal(err)
	}
	r, err := branchtest.Do(l.c, protocol.NwfilterBindingGetXMLDesc, &protocol.NwfilterBindingGetXMLDescArgs{Nwfilter: protocol.NwfilterBinding{Portdev: "nolink"}})
	if err != nil || strings.Contains(r.XML, "MAC'") {
		t.Error(r.XML, err)
	}
}

// The branch goes and comes back, its rules were removed meanwhile, and so were some of another port left over: bindings
// are there again, with their rules and no others.
func TestBindingsSurviveARestart(t *testing.T) {
	l := newLab(t)
	l.start()
	l.define(dropping("x", "0x88b5"))
	l.bind("x", param("A", "1")+param("A", "2"))
	before := l.bindingXML()
	if !strings.Contains(before, "<parameter name='MAC' value='52:54:00:00:00:01'/>") || l.passes(0x88b5) || !l.passes(0x88b4) {
		t.Error(before)
	}
	rules := nft(t, "list", "ruleset")
	l.restart()
	if after := l.bindingXML(); after != before {
		t.Errorf("the binding is now\n%s", after)
	}
	if after := nft(t, "list", "ruleset"); after != rules {
		t.Errorf("the rules are now\n%s, were\n%s", after, rules)
	}
	l.b.Stop()
	nft(t, "flush", "ruleset")
	if !l.passes(0x88b5) {
		t.Error("the test is wrong")
	}
	l.start()
	if l.bindingXML() != before || l.passes(0x88b5) {
		t.Error("the rules did not come back")
	}
	l.b.Stop()
	must(t, os.Remove(l.bindingFile()))
	l.start()
	if n, err := branchtest.Do(l.c, protocol.ConnectListAllNwfilterBindings, &protocol.ConnectListAllNwfilterBindingsArgs{NeedResults: 1}); err != nil || n.Ret != 0 || l.passes(0x88b5) {
		t.Error("rules of a port that may be another system's are gone", n, err)
	}
	link, err := netlink.LinkByName("pa")
	must(t, err)
	must(t, netlink.LinkDel(link))
	l.restart()
	if _, err := branchtest.Do(l.c, protocol.ConnectNumOfNwfilters, &protocol.Void{}); err != nil {
		t.Error(err)
	}
	l.nothingLeft()
}

// A crash of the branch's actor costs nothing but the calls it had not answered: they get an error.
func TestCrash(t *testing.T) {
	l := newLab(t)
	_, err := InstallStock(l.env.Paths)
	must(t, err)
	l.start()
	l.define(dropping("x", "0x88b5"))
	l.bind("x", "")
	before := l.bindingXML()
	l.c.Send(protocol.NwfilterDefineXML.Procedure, &protocol.NwfilterDefineXMLArgs{XML: dropping("y", "0x88b5")})
	l.b.Root().Send(l.b.PID, &call.Call{}) // of no procedure: a nil pointer
	l.c.Reply()                            // whatever it is, there is one
	if after := l.bindingXML(); after != before || l.passes(0x88b5) || !l.passes(0x88b4) {
		t.Errorf("the binding is now %s", after)
	}
	l.unbind()
	l.bind("clean-traffic", "")
	l.b.Root().Send(l.b.PID, &call.Call{})
	await.Within(t, "the address is learned after a crash", 20*time.Second, func() bool {
		l.send("a", l.frame("a", "b", 0x800, ipv4Packet("10.0.0.1", "10.0.0.2", udp(1, 2, nil))))
		return strings.Contains(nft(t, "list", "ruleset"), "10.0.0.1")
	})
	l.unbind()
	l.nothingLeft()
}

// Whatever is asked in whatever order, and though the actor crashes in between, every call gets one answer; what was
// answered is what is there afterwards.
func TestEveryCallGetsOneAnswer(t *testing.T) {
	l := newLab(t)
	l.start()
	const rounds = 40
	sent := 0
	send := func(p *protocol.Procedure, args protocol.Encoder) {
		l.c.Send(p, args)
		sent++
	}
	for i := range rounds {
		f := protocol.Nwfilter{Name: "x", UUID: protocol.UUID{0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44, 0x55, 0x55, 0x55, 0x55, 0x55, 0x78}}
		send(protocol.NwfilterDefineXML.Procedure, &protocol.NwfilterDefineXMLArgs{XML: dropping("x", fmt.Sprintf("0x88b%d", 4+i%2))})
		send(protocol.NwfilterBindingCreateXML.Procedure, &protocol.NwfilterBindingCreateXMLArgs{XML: l.bindingDoc("pa", "x", "")})
		send(protocol.NwfilterGetXMLDesc.Procedure, &protocol.NwfilterGetXMLDescArgs{Nwfilter: f})
		send(protocol.NwfilterUndefine.Procedure, &protocol.NwfilterUndefineArgs{Nwfilter: f})
		send(protocol.ConnectListAllNwfilterBindings.Procedure, &protocol.ConnectListAllNwfilterBindingsArgs{NeedResults: 1})
		if i%10 == 5 {
			l.b.Root().Send(l.b.PID, &call.Call{})
		}
		if i%3 == 0 {
			send(protocol.NwfilterBindingDelete.Procedure, &protocol.NwfilterBindingDeleteArgs{Nwfilter: protocol.NwfilterBinding{Portdev: "pa"}})
		}
	}
	seen := map[uint64]bool{}
	for range sent {
		r := l.c.Reply()
		if seen[r.Serial] {
			t.Errorf("call %d was answered twice", r.Serial)
		}
		seen[r.Serial] = true
	}
	if len(seen) != sent {
		t.Errorf("%d of %d calls were answered", len(seen), sent)
	}
	bindings, err := branchtest.Do(l.c, protocol.ConnectListAllNwfilterBindings, &protocol.ConnectListAllNwfilterBindingsArgs{NeedResults: 1})
	if err != nil {
		t.Fatal(err)
	}
	filters, err := branchtest.Do(l.c, protocol.ConnectListAllNwfilters, &protocol.ConnectListAllNwfiltersArgs{NeedResults: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.restart()
	again, err := branchtest.Do(l.c, protocol.ConnectListAllNwfilterBindings, &protocol.ConnectListAllNwfilterBindingsArgs{NeedResults: 1})
	if err != nil || !slices.Equal(again.Bindings, bindings.Bindings) {
		t.Errorf("bindings are %v after a restart, were %v: %v", again, bindings, err)
	}
	also, err := branchtest.Do(l.c, protocol.ConnectListAllNwfilters, &protocol.ConnectListAllNwfiltersArgs{NeedResults: 1})
	if err != nil || !slices.Equal(also.Filters, filters.Filters) {
		t.Errorf("filters are %v after a restart, were %v: %v", also, filters, err)
	}
	if bound := len(bindings.Bindings) == 1; bound == (nft(t, "list", "ruleset") == "") {
		t.Errorf("bound %v, but the rules are\n%s", bound, nft(t, "list", "ruleset"))
	}
}

// Files that are broken, or contradict others, are left out; the rest is there.
func TestBrokenFilesAreLeftOut(t *testing.T) {
	l := newLab(t)
	s := newStore(l.env.Paths)
	must(t, os.MkdirAll(s.filters, 0o700))
	must(t, os.MkdirAll(s.bindings, 0o700))
	for name, doc := range map[string]string{
		"good": "<filter name='good'><filterref filter='last'/></filter>", "broken": "<filter name='broken'>", "other": "<filter name='name'/>",
		"last": "<filter name='last'><filterref filter='good'/></filter>", // a loop with good, which comes first
	} {
		must(t, os.WriteFile(s.filters+"/"+name+".xml", []byte(doc), 0o600))
	}
	must(t, os.WriteFile(s.bindings+"/pa.xml", []byte("<filterbindingstatus/>"), 0o600))
	l.start()
	all, err := branchtest.Do(l.c, protocol.ConnectListNwfilters, &protocol.ConnectListNwfiltersArgs{Maxnames: 10})
	if err != nil || !slices.Equal(all.Names, []string{"good"}) {
		t.Error(all, err)
	}
	f, err := branchtest.Do(l.c, protocol.NwfilterLookupByName, &protocol.NwfilterLookupByNameArgs{Name: "good"})
	l.restart()
	if again, e := branchtest.Do(l.c, protocol.NwfilterLookupByName, &protocol.NwfilterLookupByNameArgs{Name: "good"}); err != nil || e != nil || again.Nwfilter.UUID != f.Nwfilter.UUID {
		t.Error("a UUID that was made up is another one at the next start")
	}
}

// A filter that is redefined is applied to the ports that use it by reference; a definition that cannot be is refused and
// nothing has changed.
func TestRedefinitionReachesPorts(t *testing.T) {
	l := newLab(t)
	l.start()
	l.define(dropping("x", "0x88b5"))
	l.define("<filter name='top'><filterref filter='mid'/></filter>")
	l.define("<filter name='mid'><filterref filter='x'/></filter>")
	l.bind("top", "")
	if l.passes(0x88b5) || !l.passes(0x88b4) {
		t.Fatal("the filter is not applied")
	}
	l.define(dropping("x", "0x88b4"))
	if !l.passes(0x88b5) || l.passes(0x88b4) {
		t.Error("the new definition is not applied")
	}
	for doc, want := range map[string]string{
		strings.Replace(dropping("x", "0x88b3"), "</filter>", "<filterref filter='nosuch'/></filter>", 1): "internal error: referenced filter 'nosuch' is missing",
		strings.Replace(dropping("x", "0x88b3"), "</filter>", "<filterref filter='top'/></filter>", 1):    "operation failed: filter would introduce a loop",
		strings.Replace(dropping("x", "0x88b3"), "0x88b3", "$TYPE", 1):                                    "internal error: Cannot instantiate filter due to unresolvable variables or unavailable list elements: TYPE",
		strings.Replace(dropping("x", "0x88b3"), "555578", "5555ff", 1):                                   "operation failed: filter 'x' already exists with uuid 11111111-2222-3333-4444-555555555578",
		strings.Replace(dropping("x", "0x88b3"), "name='x'", "name='y'", 1):                               "operation failed: filter with same UUID but different name ('x') already exists",
	} {
		_, err := branchtest.Do(l.c, protocol.NwfilterDefineXML, &protocol.NwfilterDefineXMLArgs{XML: doc})
		if err == nil || err.Message != want {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
	if !l.passes(0x88b5) || l.passes(0x88b4) {
		t.Error("a refused definition is applied")
	}
	l.restart()
	if !l.passes(0x88b5) || l.passes(0x88b4) {
		t.Error("after a restart another definition is applied")
	}
	l.unbind()
	if !l.passes(0x88b4) {
		t.Error("rules are left")
	}
}

// A definition that cannot be stored is taken back from the ports.
func TestDefinitionThatCannotBeStored(t *testing.T) {
	l := newLab(t)
	l.start()
	l.define(dropping("x", "0x88b5"))
	l.bind("x", "")
	s := newStore(l.env.Paths)
	must(t, os.RemoveAll(s.filters))
	must(t, os.WriteFile(s.filters, nil, 0o600)) // a folder cannot be made there
	_, err := branchtest.Do(l.c, protocol.NwfilterDefineXML, &protocol.NwfilterDefineXMLArgs{XML: dropping("x", "0x88b4")})
	if err == nil || err.Code != liberr.SystemError || l.passes(0x88b5) || !l.passes(0x88b4) {
		t.Error(err)
	}
}

// Somebody removes rules; they are back within two seconds.
func TestRulesArePutBack(t *testing.T) {
	l := newLab(t)
	l.start()
	l.define(dropping("x", "0x88b5"))
	l.bind("x", "")
	for _, command := range [][]string{{"flush", "ruleset"}, {"delete", "table", "bridge", rulesTable}} {
		nft(t, command...)
		await.Within(t, fmt.Sprint("the rules are back after ", command), 2*time.Second, func() bool { return !l.passes(0x88b5) })
	}
	var flush []string
	for _, line := range strings.Split(nft(t, "list", "table", "bridge", rulesTable), "\n") {
		if name, is := strings.CutPrefix(strings.TrimSpace(line), "chain "); is {
			flush = append(flush, "flush chain bridge "+rulesTable+" "+strings.TrimSuffix(name, " {"))
		}
	}
	nft(t, strings.Join(flush, "; "))
	await.Within(t, "the rules are back after the chains were flushed", 2*time.Second, func() bool { return !l.passes(0x88b5) })
}

// A filter of 500 rules on 50 ports is applied again in under a second.
func TestManyPorts(t *testing.T) {
	l := newLab(t)
	l.start()
	doc := func(first int) string {
		var b strings.Builder
		b.WriteString("<filter name='big' chain='ipv4'><uuid>11111111-2222-3333-4444-555555555500</uuid>")
		for i := range 500 {
			fmt.Fprintf(&b, "<rule action='drop' direction='out' priority='%d'><ip srcipaddr='$IP' dstipaddr='10.%d.%d.%d'/></rule>", i, first, i/250, i%250)
		}
		return b.String() + "</filter>"
	}
	l.define(doc(1))
	l.bind("big", param("IP", "10.0.0.1"))
	for i := range 49 {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = fmt.Sprintf("many%d", i)
		link := &netlink.Bridge{LinkAttrs: attrs}
		must(t, netlink.LinkAdd(link))
		t.Cleanup(func() { _ = netlink.LinkDel(link) })
		if _, err := branchtest.Do(l.c, protocol.NwfilterBindingCreateXML, &protocol.NwfilterBindingCreateXMLArgs{XML: l.bindingDoc(attrs.Name, "big", param("IP", fmt.Sprintf("10.9.0.%d", i)))}); err != nil {
			t.Fatal(err)
		}
	}
	best := time.Hour
	for range 3 { // other programs may want the processors
		for first := range 2 {
			begin := time.Now()
			l.define(doc(2 + first))
			best = min(best, time.Since(begin))
		}
	}
	t.Logf("500 rules on 50 ports were applied again in %v", best)
	if best > time.Second*raceFactor {
		t.Errorf("500 rules on 50 ports were applied again in %v", best)
	}
	to := func(dst string) bool {
		return l.reaches("a", "b", l.frame("a", "b", 0x800, ipv4Packet("10.0.0.1", dst, udp(1, 2, nil))))
	}
	if to("10.3.1.249") || !to("10.2.1.249") {
		t.Error("the new rules are not there")
	}
}

// Loops are refused however they come about, and many ways through a tree of references do not take for ever.
func TestReferences(t *testing.T) {
	l := newLab(t)
	l.start()
	branchtest.Fails(l.c, protocol.NwfilterDefineXML, &protocol.NwfilterDefineXMLArgs{XML: "<filter name='self'><filterref filter='self'/></filter>"}, from, liberr.OperationFailed, "operation failed: filter would introduce a loop")
	const depth = 40
	for i := range depth {
		ref := fmt.Sprintf("<filterref filter='n%d'/>", i+1)
		l.define(fmt.Sprintf("<filter name='n%d'>%s%s</filter>", i, ref, ref))
	}
	branchtest.Fails(l.c, protocol.NwfilterDefineXML, &protocol.NwfilterDefineXMLArgs{XML: fmt.Sprintf("<filter name='n%d'><filterref filter='n0'/></filter>", depth)},
		from, liberr.OperationFailed, "operation failed: filter would introduce a loop")
	l.define(fmt.Sprintf("<filter name='n%d'/>", depth))
	l.fails("n0", "", liberr.InternalError, "internal error: filter 'n0' refers to others in too many ways")
}

// A filter with as many rules as a call can carry is answered.
func TestHundredThousandRules(t *testing.T) {
	l := newLab(t)
	l.start()
	f := l.define("<filter name='huge'>" + strings.Repeat("<rule action='drop' direction='in'/>", 100_000) + "</filter>")
	_, err := branchtest.Do(l.c, protocol.NwfilterGetXMLDesc, &protocol.NwfilterGetXMLDescArgs{Nwfilter: f})
	if err == nil || err.Code != liberr.RPC {
		t.Errorf("a document that does not fit into a packet: %v", err)
	}
	begin := time.Now()
	l.bind("huge", "")
	t.Logf("bound in %v", time.Since(begin))
}

func TestLookups(t *testing.T) {
	l := newLab(t)
	l.start()
	names := map[string]protocol.UUID{}
	for i := range 30 {
		name := fmt.Sprintf("f%02d", 29-i)
		names[name] = l.define("<filter name='" + name + "'/>").UUID
	}
	list, err := branchtest.Do(l.c, protocol.ConnectListNwfilters, &protocol.ConnectListNwfiltersArgs{Maxnames: 5})
	if err != nil || !slices.Equal(list.Names, slices.Sorted(maps.Keys(names))[:5]) {
		t.Error(list, err)
	}
	all, err := branchtest.Do(l.c, protocol.ConnectListAllNwfilters, &protocol.ConnectListAllNwfiltersArgs{NeedResults: 1})
	if err != nil || len(all.Filters) != 30 || all.Ret != 30 {
		t.Error(all, err)
	}
	one, err := branchtest.Do(l.c, protocol.NwfilterLookupByUUID, &protocol.NwfilterLookupByUUIDArgs{UUID: names["f07"]})
	if err != nil || one.Nwfilter.Name != "f07" {
		t.Error(one, err)
	}
	if _, err := branchtest.Do(l.c, protocol.NwfilterUndefine, &protocol.NwfilterUndefineArgs{Nwfilter: one.Nwfilter}); err != nil {
		t.Error(err)
	}
	branchtest.Fails(l.c, protocol.NwfilterGetXMLDesc, &protocol.NwfilterGetXMLDescArgs{Nwfilter: one.Nwfilter}, from, liberr.NoNwfilter, "")
	l.restart()
	if n, err := branchtest.Do(l.c, protocol.ConnectNumOfNwfilters, &protocol.Void{}); err != nil || n.Num != 29 {
		t.Error(n, err)
	}
}
