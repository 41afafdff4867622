package rules

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// wanted collects what a transaction is to make of the kernel.
type wanted struct {
	now      *kernel
	able     *abilities
	families []family
	ports    map[nftables.TableFamily]map[kind]map[string]string // as in table, after the transaction
	chains   map[nftables.TableFamily]map[string]namedChain      // those that ports are led into now
	changed  map[nftables.TableFamily]bool
}

// namedChain is a chain that may have to be made.
type namedChain struct {
	chain *chain
	kind  kind
}

func newWanted(now *kernel, able *abilities) *wanted {
	if t := now.tables[nftables.TableFamilyBridge]; t.present && t.ports[netIn4] == nil {
		able = &abilities{} // what the kernel has learned since the table was made is of no use to it
	}
	w := &wanted{now: now, able: able, families: families(able),
		ports:   map[nftables.TableFamily]map[kind]map[string]string{},
		chains:  map[nftables.TableFamily]map[string]namedChain{},
		changed: map[nftables.TableFamily]bool{}}
	for _, f := range w.families {
		w.ports[f.family], w.chains[f.family] = map[kind]map[string]string{}, map[string]namedChain{}
		for _, k := range f.kinds {
			w.ports[f.family][k] = map[string]string{}
			maps.Copy(w.ports[f.family][k], now.tables[f.family].ports[k])
		}
	}
	return w
}

// set leads a port's packets into a chain; into none if it is nil.
func (w *wanted) set(k kind, port string, c *chain) {
	home := nftables.TableFamily(unix.NFPROTO_UNSPEC)
	name := ""
	if c != nil {
		home, name = w.home(k, c), kindNames[k]+"-"+c.id(port)
	}
	for _, f := range w.families {
		ports := w.ports[f.family][k]
		if ports == nil {
			continue
		}
		if f.family != home {
			if ports[port] != "" {
				delete(ports, port)
				w.changed[f.family] = true
			}
			continue
		}
		w.chains[f.family][name] = namedChain{c, k}
		if ports[port] != name {
			ports[port] = name
			w.changed[f.family] = true
		}
	}
}

// home is the family that a chain is for. The bridge's own connection tracking is preferred: it needs no br_netfilter.
// What it cannot do is done at the hooks of IP.
func (w *wanted) home(k kind, c *chain) nftables.TableFamily {
	switch {
	case k == linkIn, k == linkOut:
		return nftables.TableFamilyBridge
	case w.able.bridgeCT && !c.hasField(ipSet) && !c.hasField(connLimit) &&
		(!c.hasVerdict(reject) || w.able.bridgeReject && (k == netIn4 || k == netIn6)): // reject is for prerouting only
		return nftables.TableFamilyBridge
	case k == netIn6, k == netOut6:
		return nftables.TableFamilyIPv6
	}
	return nftables.TableFamilyIPv4
}

// commit changes the kernel in one transaction.
func (w *wanted) commit() error {
	b := newBatch()
	for _, f := range w.families {
		if !w.changed[f.family] {
			continue
		}
		if err := w.write(b, f); err != nil {
			return err
		}
	}
	if b.empty() {
		return nil
	}
	return b.commit()
}

// write adds one family's part to the transaction.
func (w *wanted) write(b *batch, f family) error {
	now, ports := w.now.tables[f.family], w.ports[f.family]
	t := &nftables.Table{Name: tableName, Family: f.family}
	if empty(ports) { // without it the kernel need not track connections for us
		if now.present {
			b.deleteTable(t)
		}
		return nil
	}
	if !now.present {
		if err := makeTable(b, t, f); err != nil {
			return err
		}
	}
	used := map[string]bool{}
	for _, k := range f.kinds {
		for _, name := range ports[k] {
			used[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.chains[f.family])) {
		if !used[name] || now.chains[name] {
			continue
		}
		if err := writeChain(b, t, name, w.chains[f.family][name]); err != nil {
			return err
		}
	}
	for _, k := range f.kinds {
		was, is := now.ports[k], ports[k]
		other := func(a, b map[string]string) []string {
			return slices.DeleteFunc(slices.Sorted(maps.Keys(a)), func(port string) bool { return a[port] == b[port] })
		}
		b.elements(t, kindNames[k], other(was, is), nil)
		b.elements(t, kindNames[k], other(is, was), is)
	}
	if f.family != nftables.TableFamilyBridge {
		if err := lead(b, t, chainFrom, ports[f.kinds[0]], false); err != nil {
			return err
		}
		if err := lead(b, t, chainTo, ports[f.kinds[1]], true); err != nil {
			return err
		}
	}
	// What nobody is led into any more goes: rules first, since they lead from one such chain to another.
	var dead []string
	for name := range now.chains {
		if root, is := rootOf(name); is && !used[root] {
			dead = append(dead, name)
		}
	}
	slices.Sort(dead)
	for _, name := range dead {
		b.flush(t, name)
	}
	for _, name := range dead {
		b.deleteChain(t, name)
	}
	return nil
}

// empty tells whether no port is led anywhere.
func empty(ports map[kind]map[string]string) bool {
	for _, m := range ports {
		if len(m) > 0 {
			return false
		}
	}
	return true
}

// makeTable makes the table, its maps and its base chains.
func makeTable(b *batch, t *nftables.Table, f family) error {
	b.addTable(t)
	for i, k := range f.kinds {
		b.addPortMap(t, kindNames[k], uint32(i+1))
	}
	for _, base := range f.bases {
		b.addChain(t, base.name, base.hook, base.priority)
		for _, e := range base.rules {
			if err := b.addRule(t, base.name, e...); err != nil {
				return err
			}
		}
		for _, k := range base.kinds {
			if err := b.addRule(t, base.name, leadByMap(k)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// leadByMap leads packets into the chain of their port.
func leadByMap(k kind) []expr.Any {
	var e []expr.Any
	ether := uint16(etherIPv4)
	switch k {
	case netIn6, netOut6:
		ether = etherIPv6
		fallthrough
	case netIn4, netOut4:
		e = append(e, &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseLLHeader, Offset: 12, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{byte(ether >> 8), byte(ether)}})
	}
	key := expr.MetaKeyIIFNAME
	if k == linkOut || k == netOut4 || k == netOut6 {
		key = expr.MetaKeyOIFNAME
	}
	return append(e, &expr.Meta{Key: key, Register: 1},
		&expr.Lookup{SourceRegister: 1, DestRegister: 0, IsDestRegSet: true, SetName: kindNames[k]})
}

// lead fills a chain of the IP hooks anew: a rule for each port.
func lead(b *batch, t *nftables.Table, chain string, ports map[string]string, out bool) error {
	b.flush(t, chain)
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		if err := b.addRule(t, chain, physdev(port, out), &expr.Verdict{Kind: expr.VerdictGoto, Chain: ports[port]}); err != nil {
			return err
		}
	}
	return nil
}

func writeChain(b *batch, t *nftables.Table, name string, n namedChain) error {
	e := &encoder{six: n.kind == netIn6 || n.kind == netOut6, set: findIPSet}
	subName := func(sub string) string { return name + "-" + sub }
	for _, sub := range n.chain.subs {
		if err := e.chain(b, t, subName(sub.name), sub.rules, false, subName); err != nil {
			return err
		}
		if err := b.addRule(t, subName(sub.name), &expr.Verdict{Kind: expr.VerdictAccept}); err != nil {
			return err
		}
	}
	return e.chain(b, t, name, n.chain.rules, true, subName)
}

// rootOf tells which root chain a chain belongs to, if it is one for packets.
func rootOf(name string) (string, bool) {
	for _, k := range kindNames {
		if rest, is := strings.CutPrefix(name, k+"-"); is && len(rest) >= idLength {
			return name[:len(k)+1+idLength], true
		}
	}
	return "", false
}
