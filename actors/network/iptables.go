package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"virtree/wire/liberr"
)

// The iptables backend: libvirt's own chains, which all networks share, below those of the kernel. Rules are written as
// iptables-save prints them, because that is how those that are there are recognised.

// iptables is the backend. It takes a lock while it looks and changes, so that networks that start at once do not get
// into each other's way.
type iptables struct{ lock string } // a folder

// ipTable is a part of one family's firewall: chains of ours, each jumped to from one of the kernel's, and rules in them.
type ipTable struct {
	jumps []string
	rules []string
}

var ipTableNames = []string{"filter", "nat", "mangle"}

// ipTables is, for each of ipTableNames, what the network needs of iptables or, for IPv6, ip6tables. The chains are there even when nothing is in them.
func (d *definition) ipTables(six bool) []ipTable {
	filter := ipTable{jumps: []string{
		"-A INPUT -j LIBVIRT_INP", "-A OUTPUT -j LIBVIRT_OUT", "-A FORWARD -j LIBVIRT_FWX", "-A FORWARD -j LIBVIRT_FWI", "-A FORWARD -j LIBVIRT_FWO"}}
	nat := ipTable{jumps: []string{"-A POSTROUTING -j LIBVIRT_PRT"}}
	mangle := ipTable{jumps: []string{"-A POSTROUTING -j LIBVIRT_PRT"}}
	filter.rules = d.hostRules(six)
	for _, r := range d.rules(six) {
		if r.chain == chainNAT {
			nat.rules = append(nat.rules, r.iptables("LIBVIRT_PRT", six))
			continue
		}
		chain := "LIBVIRT_FWO"
		switch {
		case r.iif == d.bridge && r.oif == d.bridge:
			chain = "LIBVIRT_FWX"
		case r.oif == d.bridge:
			chain = "LIBVIRT_FWI"
		}
		filter.rules = append(filter.rules, r.iptables(chain, six))
	}
	if !six && d.serves(false) && d.ownBridge() && d.forward.mode != modeOpen {
		// Old DHCP clients want a checksum that virtual links leave out.
		mangle.rules = append(mangle.rules, "-A LIBVIRT_PRT -o "+d.bridge+" -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill")
	}
	return []ipTable{filter, nat, mangle}
}

// serves tells whether the network has DHCP of a family.
func (d *definition) serves(six bool) bool {
	return slices.ContainsFunc(d.ips, func(ip ipDef) bool { return ip.address.Is6() == six && ip.dhcp() })
}

// hostRules let guests reach the host's DHCP, DNS and TFTP, and these answer.
func (d *definition) hostRules(six bool) (out []string) {
	if !d.ownBridge() || d.forward.mode == modeOpen {
		return nil
	}
	has := slices.ContainsFunc(d.ips, func(ip ipDef) bool { return ip.address.Is6() == six })
	if six && !has {
		return nil
	}
	add := func(in bool, proto string, port int) {
		chain, flag := "LIBVIRT_OUT", "-o"
		if in {
			chain, flag = "LIBVIRT_INP", "-i"
		}
		out = append(out, fmt.Sprintf("-A %s %s %s -p %s -m %s --dport %d -j ACCEPT", chain, flag, d.bridge, proto, proto, port))
	}
	for _, in := range []bool{true, false} {
		if six {
			add(in, "udp", map[bool]int{true: 547, false: 546}[in])
		}
		add(in, "udp", 53)
		add(in, "tcp", 53)
		if !six {
			dhcp := map[bool]int{true: 67, false: 68}[in]
			add(in, "udp", dhcp)
			add(in, "tcp", dhcp)
			if slices.ContainsFunc(d.ips, func(ip ipDef) bool { return ip.tftp != "" }) {
				add(in, "udp", 69)
			}
		}
	}
	return out
}

// iptables is the rule as iptables-save prints it.
func (r rule) iptables(chain string, six bool) string {
	var b strings.Builder
	add := func(cond bool, format string, args ...any) {
		if cond {
			fmt.Fprintf(&b, " "+format, args...)
		}
	}
	b.WriteString("-A " + chain)
	add(r.src.IsValid(), "-s %s", r.src)
	add(r.dst.IsValid(), "-d %s", r.dst)
	add(r.notDst.IsValid(), "! -d %s", r.notDst)
	add(r.iif != "", "-i %s", r.iif)
	add(r.oif != "", "-o %s", r.oif)
	add(r.proto != "", "-p %s", r.proto)
	add(r.established, "-m conntrack --ctstate RELATED,ESTABLISHED")
	add(true, "-j %s", strings.ToUpper(r.verdict))
	ports := ""
	if r.ports[1] != 0 {
		ports = fmt.Sprintf("%d-%d", r.ports[0], r.ports[1])
	}
	switch r.verdict {
	case "reject":
		kind := "icmp-port-unreachable"
		if six {
			kind = "icmp6-port-unreachable"
		}
		add(true, "--reject-with %s", kind)
	case "masquerade":
		add(ports != "", "--to-ports %s", ports)
	case "snat":
		to := r.addrs[0].String()
		if r.addrs[1] != r.addrs[0] {
			to += "-" + r.addrs[1].String()
		}
		if ports != "" {
			to += ":" + ports
		}
		add(true, "--to-source %s", to)
	}
	return b.String()
}

// restoreScript is what iptables-restore is to do, without flushing, to bring what iptables-save printed to what the
// network needs after; "" when that is there already. What it needed before and still finds goes away. New rules come before
// those of other networks, in one order, so that what a network rejects stands behind what it accepts.
func restoreScript(saved string, before, after []ipTable) string {
	var script strings.Builder
	have := parseSaved(saved)
	for i, name := range ipTableNames {
		var old, want ipTable
		if before != nil {
			old = before[i]
		}
		if after != nil {
			want = after[i]
		}
		there := have[name]
		if there == nil {
			there = savedTable{}
		}
		if slices.Equal(old.rules, want.rules) && there.all(want.rules) && there.all(want.jumps) {
			continue
		}
		var lines []string
		for _, j := range want.jumps {
			chain := j[strings.LastIndexByte(j, ' ')+1:]
			if !there[":"+chain] {
				lines = append(lines, ":"+chain+" - [0:0]")
			}
		}
		for _, r := range append(slices.Clone(old.rules), want.rules...) {
			if there[r] {
				lines = append(lines, "-D"+r[2:])
				delete(there, r)
			}
		}
		for _, j := range slices.Backward(want.jumps) {
			if !there[j] {
				lines = append(lines, "-I"+j[2:])
			}
		}
		for _, r := range slices.Backward(want.rules) {
			lines = append(lines, "-I"+r[2:])
		}
		if len(lines) > 0 {
			script.WriteString("*" + name + "\n" + strings.Join(lines, "\n") + "\nCOMMIT\n")
		}
	}
	return script.String()
}

// savedTable is what a table has: rules, and chains with a colon before them.
type savedTable map[string]bool

func (s savedTable) all(rules []string) bool {
	return !slices.ContainsFunc(rules, func(r string) bool { return !s[r] })
}

func parseSaved(text string) map[string]savedTable {
	all := map[string]savedTable{}
	var t savedTable
	for _, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "*"):
			t = savedTable{}
			all[line[1:]] = t
		case strings.HasPrefix(line, ":"):
			chain, _, _ := strings.Cut(line, " ")
			t[chain] = true
		case strings.HasPrefix(line, "-A "):
			t[strings.TrimSpace(line)] = true
		}
	}
	return all
}

func (f *iptables) apply(ctx context.Context, before, after *definition) error {
	return f.change(ctx, before, after)
}

func (f *iptables) remove(ctx context.Context, def *definition) error {
	return f.change(ctx, def, nil)
}

// change takes the rules of one definition away and puts those of another in; either may be nil.
func (f *iptables) change(ctx context.Context, before, after *definition) error {
	unlock, err := lockDir(f.lock)
	if err != nil {
		return liberr.System(from, err, "cannot lock '%s'", f.lock)
	}
	defer unlock()
	for _, six := range []bool{false, true} {
		var old, want []ipTable
		if before != nil {
			old = before.ipTables(six)
		}
		if after != nil {
			want = after.ipTables(six)
		}
		program := "iptables"
		if six {
			program = "ip6tables"
		}
		saved, err := ipCommand(ctx, program+"-save", "")
		if err == nil {
			err = f.restore(ctx, program+"-restore", restoreScript(saved, old, want))
		}
		if errors.Is(err, exec.ErrNotFound) && after == nil {
			continue // then there are no rules either
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// restore carries a script out, a table in one transaction.
func (f *iptables) restore(ctx context.Context, program, script string) error {
	main, mangle, _ := strings.Cut(script, "*mangle\n")
	if main != "" {
		if _, err := ipCommand(ctx, program, main, "-w", "--noflush"); err != nil {
			return err
		}
	}
	if mangle != "" {
		// A kernel that cannot fill in checksums serves all but very old clients: no reason not to start.
		_, _ = ipCommand(ctx, program, "*mangle\n"+mangle, "-w", "--noflush")
	}
	return nil
}

func (f *iptables) intact(ctx context.Context, def *definition) bool {
	for _, six := range []bool{false, true} {
		program := "iptables-save"
		if six {
			program = "ip6tables-save"
		}
		want := def.ipTables(six)
		saved, err := ipCommand(ctx, program, "")
		main, _, _ := strings.Cut(restoreScript(saved, want, want), "*mangle\n")
		if err != nil || main != "" {
			return false
		}
	}
	return true
}

func (f *iptables) name() string { return backendIptables }

// ipCommand runs a program of iptables.
func ipCommand(ctx context.Context, program, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", liberr.New(liberr.FromFirewall, liberr.InternalError, "Failed to apply firewall rules %s: %s",
			strings.Join(append([]string{cmd.Path}, args...), " "), strings.TrimSpace(errs.String()+" "+err.Error())).WithCause(err)
	}
	return out.String(), nil
}
