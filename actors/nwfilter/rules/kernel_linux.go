package rules

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tableName is the name of our table in each family that we have rules in.
//
// In family bridge, base chains look the port up in a map from ports to chains, one for each kind of chain. In ip and ip6,
// whose hooks see packets of a bridge by way of br_netfilter and know ports by physdev alone, the maps only keep account;
// chains "from" and "to" have a rule for each port in them.
//
// A chain for packets is called by its kind and a hash of what is in it, a sub-chain by that and its own name. Ports with
// equal rules have the same chain, and a chain of the right name is never looked into.
const tableName = "virtree_nwfilter"

// family tells which kinds of chains a table can have, and what surrounds them.
type family struct {
	family nftables.TableFamily
	kinds  []kind
	bases  []baseChain
}

// baseChain is a chain at a hook, or one that such a chain leads to.
type baseChain struct {
	name     string
	hook     *nftables.ChainHook // nil if it is led to
	priority nftables.ChainPriority
	rules    [][]expr.Any // jumps by map are added for kinds
	kinds    []kind
}

// Priorities in family bridge. Connection tracking is at -200 of prerouting. br_netfilter is at 0 of all hooks, and having
// shown a packet to the hooks of IP goes on behind 0, so that nothing of ours may stand there.
const (
	priorityLinkIn  = -300
	priorityNetIn   = -150
	priorityNetOut  = 100
	priorityLinkOut = 300
)

const (
	chainFrom = "from" // a rule for each port that has rules for packets from it
	chainTo   = "to"
)

func families(able *abilities) []family {
	bridge := family{
		family: nftables.TableFamilyBridge,
		kinds:  []kind{linkIn, linkOut},
		bases: []baseChain{
			{name: "link-in", hook: nftables.ChainHookPrerouting, priority: priorityLinkIn, kinds: []kind{linkIn}},
			{name: "link-out", hook: nftables.ChainHookPostrouting, priority: priorityLinkOut, kinds: []kind{linkOut}},
		},
	}
	if able.bridgeCT {
		bridge.kinds = append(bridge.kinds, netIn4, netIn6, netOut4, netOut6)
		bridge.bases = append(bridge.bases,
			baseChain{name: "net-in", hook: nftables.ChainHookPrerouting, priority: priorityNetIn, kinds: []kind{netIn4, netIn6}},
			baseChain{name: "net-out", hook: nftables.ChainHookForward, priority: priorityNetOut, kinds: []kind{netOut4, netOut6}})
	}
	ip := func(f nftables.TableFamily, kinds ...kind) family {
		to := func(chain string) []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}} }
		return family{family: f, kinds: kinds, bases: []baseChain{
			{name: chainFrom}, {name: chainTo},
			// two at one hook, since accepting what a port sent leaves it to the other port whether it gets it
			{name: "forward-from", hook: nftables.ChainHookForward, rules: [][]expr.Any{to(chainFrom)}},
			{name: "forward-to", hook: nftables.ChainHookForward, priority: 1, rules: [][]expr.Any{to(chainTo)}},
			{name: "input", hook: nftables.ChainHookInput, rules: [][]expr.Any{to(chainFrom)}},
		}}
	}
	return []family{bridge,
		ip(nftables.TableFamilyIPv4, netIn4, netOut4),
		ip(nftables.TableFamilyIPv6, netIn6, netOut6)}
}

// table is what the kernel has of ours in one family.
type table struct {
	present bool
	chains  map[string]bool
	// Name of the chain that a port's packets are led into. No map for a kind that the table was not made for.
	ports map[kind]map[string]string
}

// kernel is what the kernel has of ours.
type kernel struct {
	tables map[nftables.TableFamily]*table
}

func readKernel() (*kernel, error) {
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.CloseLasting() }()
	k := &kernel{tables: map[nftables.TableFamily]*table{}}
	for _, f := range families(&abilities{bridgeCT: true}) {
		t := &table{chains: map[string]bool{}, ports: map[kind]map[string]string{}}
		k.tables[f.family] = t
		nt := &nftables.Table{Name: tableName, Family: f.family}
		chains, err := c.ListChainsOfTableFamily(f.family)
		if err != nil {
			return nil, err
		}
		for _, ch := range chains {
			if ch.Table.Name == tableName {
				t.chains[ch.Name] = true
				t.present = true
			}
		}
		if !t.present {
			continue
		}
		for _, kd := range f.kinds {
			elements, err := c.GetSetElements(portMap(nt, kd))
			if errors.Is(err, unix.ENOENT) || err != nil && strings.Contains(err.Error(), unix.ENOENT.Error()) {
				continue // a kind that this kernel could not have when the table was made
			}
			if err != nil {
				return nil, err
			}
			m := map[string]string{}
			t.ports[kd] = m
			for _, e := range elements {
				m[strings.TrimRight(string(e.Key), "\x00")] = verdictChain(e.Val)
			}
		}
	}
	return k, nil
}

func portMap(t *nftables.Table, k kind) *nftables.Set {
	return &nftables.Set{Table: t, Name: kindNames[k], IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeVerdict}
}

// verdictChain finds the chain in the attributes of a verdict: length, type and value, padded to four bytes.
func verdictChain(b []byte) string {
	for len(b) >= 4 {
		n, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)
		if n < 4 || n > len(b) {
			return ""
		}
		if kind == unix.NFTA_VERDICT_CHAIN {
			return strings.TrimRight(string(b[4:n]), "\x00")
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return ""
}
