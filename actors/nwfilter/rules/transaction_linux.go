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
	c, err := open()
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseLasting() }()
	for _, f := range w.families {
		if !w.changed[f.family] {
			continue
		}
		if err := w.write(c, f); err != nil {
			return err
		}
	}
	return c.Flush()
}

// write adds one family's part to the transaction.
func (w *wanted) write(c *nftables.Conn, f family) error {
	now, ports := w.now.tables[f.family], w.ports[f.family]
	t := &nftables.Table{Name: tableName, Family: f.family}
	if !now.present {
		w.frame(c, t, f)
	}
	chainNamed := func(name string) *nftables.Chain { return &nftables.Chain{Name: name, Table: t} }

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
		if err := writeChain(c, t, name, w.chains[f.family][name]); err != nil {
			return err
		}
	}

	for _, k := range f.kinds {
		var gone, come []nftables.SetElement
		for port, name := range now.ports[k] {
			if ports[k][port] != name {
				gone = append(gone, nftables.SetElement{Key: linkName(port)})
			}
		}
		for port, name := range ports[k] {
			if now.ports[k][port] != name {
				come = append(come, nftables.SetElement{Key: linkName(port), VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: name}})
			}
		}
		for batch := range slices.Chunk(gone, elementsAtOnce) {
			if err := c.SetDeleteElements(portMap(t, k), batch); err != nil {
				return err
			}
		}
		for batch := range slices.Chunk(come, elementsAtOnce) {
			if err := c.SetAddElements(portMap(t, k), batch); err != nil {
				return err
			}
		}
	}
	if f.family != nftables.TableFamilyBridge {
		w.lead(c, chainNamed(chainFrom), ports[f.kinds[0]], false)
		w.lead(c, chainNamed(chainTo), ports[f.kinds[1]], true)
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
		c.FlushChain(chainNamed(name))
	}
	for _, name := range dead {
		c.DelChain(chainNamed(name))
	}
	return nil
}

// elementsAtOnce is how many elements of a map fit into one message, whose attributes have lengths of 16 bits.
const elementsAtOnce = 256

// frame makes the table, its maps and its base chains.
func (w *wanted) frame(c *nftables.Conn, t *nftables.Table, f family) {
	c.AddTable(t)
	sets := map[kind]*nftables.Set{}
	for _, k := range f.kinds {
		sets[k] = portMap(t, k)
		_ = c.AddSet(sets[k], nil) // it complains of what we do not ask for
	}
	for _, b := range f.bases {
		ch := &nftables.Chain{Name: b.name, Table: t}
		if b.hook != nil {
			ch.Type, ch.Hooknum, ch.Priority = nftables.ChainTypeFilter, b.hook, nftables.ChainPriorityRef(b.priority)
		}
		c.AddChain(ch)
		for _, e := range b.rules {
			c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: e})
		}
		for _, k := range b.kinds {
			c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: leadByMap(sets[k], k)})
		}
	}
}

// leadByMap leads packets into the chain of their port.
func leadByMap(s *nftables.Set, k kind) []expr.Any {
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
		&expr.Lookup{SourceRegister: 1, DestRegister: 0, IsDestRegSet: true, SetID: s.ID, SetName: s.Name})
}

// lead fills a chain of the IP hooks anew: a rule for each port.
func (w *wanted) lead(c *nftables.Conn, ch *nftables.Chain, ports map[string]string, out bool) {
	c.FlushChain(ch)
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		c.AddRule(&nftables.Rule{Table: ch.Table, Chain: ch,
			Exprs: []expr.Any{physdev(port, out), &expr.Verdict{Kind: expr.VerdictGoto, Chain: ports[port]}}})
	}
}

func writeChain(c *nftables.Conn, t *nftables.Table, name string, n namedChain) error {
	e := &encoder{family: t.Family, net: n.kind != linkIn && n.kind != linkOut, six: n.kind == netIn6 || n.kind == netOut6, set: findIPSet}
	root := c.AddChain(&nftables.Chain{Name: name, Table: t})
	subName := func(sub string) string { return name + "-" + sub }
	write := func(ch *nftables.Chain, rules []rule) error {
		for i := range rules {
			x, err := e.exprs(&rules[i], subName)
			if err != nil {
				return err
			}
			if x != nil {
				c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: x, UserData: comment(&rules[i])})
			}
		}
		return nil
	}
	for _, sub := range n.chain.subs {
		ch := c.AddChain(&nftables.Chain{Name: subName(sub.name), Table: t})
		if err := write(ch, sub.rules); err != nil {
			return err
		}
		c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}})
	}
	return write(root, n.chain.rules)
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

func linkName(port string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, port)
	return b
}
