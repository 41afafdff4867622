package network

import (
	"context"
	"encoding/binary"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/nftwatch"
	"virtree/wire/liberr"
)

var families = []struct {
	family nftables.TableFamily
	six    bool
}{{nftables.TableFamilyIPv4, false}, {nftables.TableFamilyIPv6, true}}

func firewallError(bridge string, err error) error {
	if err == nil {
		return nil
	}
	return liberr.New(from, liberr.InternalError, "Failed to apply firewall rules for bridge '%s': %s", bridge, err).WithCause(err)
}

// nftablesBackend keeps the rules in tables of our own.
type nftablesBackend struct{}

func (nftablesBackend) name() string { return backendNFTables }

// apply replaces the network's tables in one transaction: at no moment is there less than before or after.
func (nftablesBackend) apply(_ context.Context, _, def *definition) error {
	c, err := nftables.New()
	if err != nil {
		return firewallError(def.bridge, err)
	}
	for _, f := range families {
		t := &nftables.Table{Name: tableName(def.bridge), Family: f.family}
		c.AddTable(t) // so that it can be deleted
		c.DelTable(t)
		rules := def.rules(f.six)
		if len(rules) == 0 {
			continue
		}
		c.AddTable(t)
		chains := chainsOf(t)
		for _, name := range []string{chainForward, chainNAT} {
			if usesChain(rules, name) {
				c.AddChain(chains[name])
			}
		}
		for _, r := range rules {
			c.AddRule(&nftables.Rule{Table: t, Chain: chains[r.chain], Exprs: r.compile(f.six)})
		}
	}
	return firewallError(def.bridge, c.Flush())
}

func usesChain(rules []rule, name string) bool {
	for _, r := range rules {
		if r.chain == name {
			return true
		}
	}
	return false
}

func chainsOf(t *nftables.Table) map[string]*nftables.Chain {
	return map[string]*nftables.Chain{
		chainForward: {Name: chainForward, Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter},
		chainNAT:     {Name: chainNAT, Table: t, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource},
	}
}

// remove removes the tables of the network's bridge.
func (nftablesBackend) remove(_ context.Context, def *definition) error {
	bridge := def.bridge
	c, err := nftables.New()
	if err != nil {
		return firewallError(bridge, err)
	}
	for _, f := range families {
		t := &nftables.Table{Name: tableName(bridge), Family: f.family}
		c.AddTable(t)
		c.DelTable(t)
	}
	return firewallError(bridge, c.Flush())
}

// intact tells whether each chain has as many rules as it should. A rule that somebody replaced by another one is that
// somebody's will.
func (nftablesBackend) intact(_ context.Context, def *definition) bool {
	c, err := nftables.New()
	if err != nil {
		return false
	}
	for _, f := range families {
		t := &nftables.Table{Name: tableName(def.bridge), Family: f.family}
		want := map[string]int{}
		for _, r := range def.rules(f.six) {
			want[r.chain]++
		}
		for name, n := range want {
			have, err := c.GetRules(t, &nftables.Chain{Name: name, Table: t})
			if err != nil || len(have) < n {
				return false
			}
		}
	}
	return true
}

// compile makes the kernel's form of the rule.
func (r rule) compile(six bool) (e []expr.Any) {
	name := func(key expr.MetaKey, link string) {
		if link == "" {
			return
		}
		b := make([]byte, unix.IFNAMSIZ)
		copy(b, link)
		e = append(e, &expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b})
	}
	name(expr.MetaKeyIIFNAME, r.iif)
	name(expr.MetaKeyOIFNAME, r.oif)
	src, dst := uint32(12), uint32(16)
	if six {
		src, dst = 8, 24
	}
	e = append(e, matchNet(src, r.src, expr.CmpOpEq)...)
	e = append(e, matchNet(dst, r.dst, expr.CmpOpEq)...)
	e = append(e, matchNet(dst, r.notDst, expr.CmpOpNeq)...)
	if r.proto != "" {
		n := map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP}[r.proto]
		e = append(e, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{n}})
	}
	if r.established {
		mask := make([]byte, 4)
		binary.NativeEndian.PutUint32(mask, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
		e = append(e, &expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)})
	}
	e = append(e, &expr.Counter{})
	return append(e, r.compileVerdict(six)...)
}

func (r rule) compileVerdict(six bool) (e []expr.Any) {
	port := func(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
	switch r.verdict {
	case "accept":
		return append(e, &expr.Verdict{Kind: expr.VerdictAccept})
	case "return":
		return append(e, &expr.Verdict{Kind: expr.VerdictReturn})
	case "reject":
		code := uint8(3) // ICMP port unreachable
		if six {
			code = 4
		}
		return append(e, &expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: code})
	case "snat":
		n := &expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegAddrMax: 2}
		e = append(e, &expr.Immediate{Register: 1, Data: r.addrs[0].AsSlice()}, &expr.Immediate{Register: 2, Data: r.addrs[1].AsSlice()})
		if r.ports[1] != 0 {
			n.RegProtoMin, n.RegProtoMax = 3, 4
			e = append(e, &expr.Immediate{Register: 3, Data: port(r.ports[0])}, &expr.Immediate{Register: 4, Data: port(r.ports[1])})
		}
		return append(e, n)
	}
	m := &expr.Masq{}
	if r.ports[1] != 0 {
		m.ToPorts, m.RegProtoMin, m.RegProtoMax = true, 1, 2
		e = append(e, &expr.Immediate{Register: 1, Data: port(r.ports[0])}, &expr.Immediate{Register: 2, Data: port(r.ports[1])})
	}
	return append(e, m)
}

// matchNet compares the address at an offset of the network header with a network.
func matchNet(offset uint32, p netip.Prefix, op expr.CmpOp) []expr.Any {
	if !p.IsValid() {
		return nil
	}
	size := uint32(p.Addr().BitLen() / 8)
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: op, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

// watchRules tells the branch of every removal by somebody else that concerns rules of a backend, until it is stopped.
func watchRules(system *actor.ActorSystem, branch *actor.PID, log zerolog.Logger, backend string) (stop func()) {
	all := func() { system.Root.Send(branch, &tableGone{}) }
	if backend == backendIptables && legacyIptables() {
		return pollRules(all)
	}
	w := nftwatch.Start(log, func(tables []string) {
		if tables == nil {
			all()
		}
		for _, t := range tables {
			if backend == backendIptables {
				if slices.Contains(ipTableNames, t) { // all networks are in it
					all()
					return
				}
			} else if bridge, ours := strings.CutPrefix(t, tablePrefix); ours {
				system.Root.Send(branch, &tableGone{bridge})
			}
		}
	})
	return w.Close
}

// legacyIptables tells whether iptables is the old one, of whose rules the kernel tells nobody.
func legacyIptables() bool {
	out, err := exec.Command("iptables", "--version").Output()
	return err == nil && strings.Contains(string(out), "legacy")
}

// pollRules looks every second.
func pollRules(look func()) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				look()
			}
		}
	}()
	return cancel
}
