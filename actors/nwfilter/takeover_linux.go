package nwfilter

import (
	"bytes"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

// A host that libvirtd has served before has libvirtd's rules for the ports of running guests, made by ebtables and
// iptables. Ours take their place; left behind they would outlive the guest and hit the next one whose port has the name.
// Only what iptables-nft made is seen here, which is what Debian and its like have.

// foreign are the tables of libvirt's rules and the beginnings of its chains' names, before the name of the port.
var foreign = []struct {
	family   nftables.TableFamily
	table    string
	prefixes []string
}{
	{nftables.TableFamilyBridge, "nat", []string{"libvirt-I-", "libvirt-O-", "libvirt-J-", "libvirt-P-", "I-", "O-", "J-", "P-"}},
	{nftables.TableFamilyIPv4, "filter", []string{"FI-", "FO-", "HI-", "FJ-", "FP-", "HJ-"}},
	{nftables.TableFamilyIPv6, "filter", []string{"FI-", "FO-", "HI-", "FJ-", "FP-", "HJ-"}},
}

// postChain is where libvirt accepts what a port sent, without a chain for the port.
const postChain = "libvirt-in-post"

// dropForeign removes libvirt's rules for these ports, and returns how many chains they had.
func dropForeign(ports []string) (n int, err error) {
	if len(ports) == 0 {
		return 0, nil
	}
	c, err := nftables.New()
	if err != nil {
		return 0, err
	}
	for _, f := range foreign {
		chains, err := c.ListChainsOfTableFamily(f.family)
		if err != nil {
			return 0, err
		}
		var ours []*nftables.Chain // of libvirt's for our ports
		names := map[string]bool{}
		for _, ch := range chains {
			if ch.Table.Name == f.table && isForeign(ch.Name, f.prefixes, ports) {
				ours, names[ch.Name] = append(ours, ch), true
			}
		}
		if len(ours) == 0 {
			continue
		}
		for _, ch := range chains {
			if ch.Table.Name != f.table || names[ch.Name] {
				continue
			}
			rules, err := c.GetRules(ch.Table, ch)
			if err != nil {
				return 0, err
			}
			for _, r := range rules {
				if leadsTo(r, names) || ch.Name == postChain && isAbout(r, ports) {
					if err := c.DelRule(r); err != nil {
						return 0, err
					}
				}
			}
		}
		for _, ch := range ours {
			c.FlushChain(ch)
		}
		for _, ch := range ours {
			c.DelChain(ch)
		}
		n += len(ours)
	}
	if n == 0 {
		return 0, nil
	}
	return n, c.Flush()
}

// isForeign tells whether a chain is libvirt's for one of the ports: prefix and port, or with a suffix behind a dash.
func isForeign(chain string, prefixes, ports []string) bool {
	for _, prefix := range prefixes {
		rest, ok := strings.CutPrefix(chain, prefix)
		for _, port := range ports {
			if ok && (rest == port || strings.HasPrefix(rest, port+"-")) {
				return true
			}
		}
	}
	return false
}

func leadsTo(r *nftables.Rule, chains map[string]bool) bool {
	for _, e := range r.Exprs {
		if v, ok := e.(*expr.Verdict); ok && chains[v.Chain] {
			return true
		}
	}
	return false
}

// isAbout tells whether a rule matches one of the ports as a port of a bridge.
func isAbout(r *nftables.Rule, ports []string) bool {
	for _, e := range r.Exprs {
		m, ok := e.(*expr.Match)
		if !ok || m.Name != "physdev" {
			continue
		}
		info, ok := m.Info.(*xt.Unknown)
		for _, port := range ports {
			if ok && bytes.HasPrefix(*info, append([]byte(port), 0)) { // the name of the port that a packet came in by is first
				return true
			}
		}
	}
	return false
}
