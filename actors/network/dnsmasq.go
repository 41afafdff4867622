package network

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"virtree/actors/internal/disk"
	"virtree/wire/liberr"
)

// needsDnsmasq tells whether the network has DHCP or DNS to offer: it has an address of its own on the bridge.
func needsDnsmasq(def *definition) bool {
	return def.ownBridge() && len(def.ips) > 0 && (def.dns.enable != "no" || def.wantsDHCP() || def.wantsRA())
}

func (d *definition) wantsDHCP() bool {
	for i := range d.ips {
		if d.ips[i].dhcp() || d.ips[i].tftp != "" {
			return true
		}
	}
	return false
}

func (d *definition) wantsRA() bool {
	for i := range d.ips {
		if d.ips[i].address.Is6() {
			return true
		}
	}
	return false
}

// dnsmasqConf is dnsmasq's configuration, in libvirt's terms and order.
func (s *shared) dnsmasqConf(def *definition) string {
	var b strings.Builder
	b.WriteString("# This file is written by the daemon at each start of the network: a change made here is lost.\n" +
		"# Change the network with:  virsh net-edit " + def.name + "\n# or through any other client of the API.\n")
	add := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	add("strict-order")
	def.confNames(add)
	add("pid-file=%s", s.runPath(def.name, ".pid"))
	// bind-dynamic takes addresses into use that appear on the bridge later; lo is always listened on unless excepted.
	add("except-interface=lo")
	add("bind-dynamic")
	add("interface=%s", def.bridge)
	if def.forward.mode == modeNone {
		// No route leads out of an isolated network: guests must not be told of a router, nor be served from outside.
		add("dhcp-option=3")
		add("no-resolv")
		add("ra-param=*,0,0")
	}
	for _, t := range def.dns.txts {
		add("txt-record=%s,%s", t.name, t.value)
	}
	for _, v := range def.dns.srvs {
		add("srv-host=%s", v.dnsmasq())
	}
	s.confDHCP(def, add)
	add("addn-hosts=%s", s.dnsmasqPath(def.name, ".addnhosts"))
	if def.mtu != 0 {
		add("dhcp-option=option:mtu,%d", def.mtu)
	}
	def.confRA(add)
	for _, o := range def.options {
		add("%s", strings.ReplaceAll(o, "\n", " "))
	}
	return b.String()
}

// confNames says where names are resolved: here, by the servers that are given, or by the host's own.
func (d *definition) confNames(add func(string, ...any)) {
	if d.dns.enable == "no" {
		add("port=0")
	}
	alone := false // the host's own servers are not asked
	for _, f := range d.dns.forwarders {
		switch {
		case f.domain != "" && f.addr.IsValid():
			add("server=/%s/%s", f.domain, f.addr)
		case f.domain != "":
			add("server=/%s/#", f.domain)
		default:
			add("server=%s", f.addr)
			alone = true
		}
	}
	if alone {
		add("no-resolv")
	}
	if d.domain != "" {
		if d.local == "yes" {
			add("local=/%s/", d.domain)
		}
		add("domain=%s", d.domain)
		add("expand-hosts")
	}
	for i := range d.ips {
		if ip := &d.ips[i]; ip.localPtr == "yes" {
			add("local=/%s/", arpa(ip.net()))
		}
	}
	if d.dns.plain == "no" {
		add("domain-needed")
		add("local=//")
	}
}

// dnsmasq is the record in the form _service._protocol.domain,target,port,priority,weight.
func (s *srv) dnsmasq() string {
	name := "_" + s.service + "._" + s.protocol
	if s.domain != "" {
		name += "." + s.domain
	}
	if s.target == "" {
		return name
	}
	text := name + "," + s.target
	if s.port == 0 && (s.priority != 0 || s.weight != 0) {
		text += ",1"
	} else if s.port != 0 {
		text += "," + utoa(s.port)
	}
	if s.priority != 0 || s.weight != 0 {
		text += "," + utoa(s.priority)
	}
	if s.weight != 0 {
		text += "," + utoa(s.weight)
	}
	return text
}

// confDHCP says what guests are given. IPv4 comes with more than IPv6, which has no boot files here.
func (s *shared) confDHCP(def *definition, add func(string, ...any)) {
	leases, any := 0, false
	for i := range def.ips {
		ip := &def.ips[i]
		if ip.tftp != "" {
			add("enable-tftp")
			add("tftp-root=%s", ip.tftp)
		}
		for _, r := range ip.ranges {
			tail := ""
			if r.lease != nil {
				tail = "," + r.lease.dnsmasq()
			}
			if ip.address.Is4() {
				add("dhcp-range=%s,%s,%s%s", r.start, r.end, netmask(ip.bits()), tail)
			} else {
				add("dhcp-range=%s,%s,%d%s", r.start, r.end, ip.bits(), tail)
			}
			leases += rangeSize(r.start, r.end)
		}
		if len(ip.ranges) == 0 && len(ip.hosts) > 0 { // only hosts that we know
			if ip.address.Is4() {
				add("dhcp-range=%s,static", ip.address)
			} else {
				add("dhcp-range=%s,static,%d", ip.address, ip.bits())
			}
		}
		if ip.dhcp() && ip.address.Is4() {
			add("dhcp-no-override")
			add("dhcp-authoritative")
			if ip.bootFile != "" {
				if ip.bootFrom.IsValid() {
					add("dhcp-boot=%s,,%s", ip.bootFile, ip.bootFrom)
				} else {
					add("dhcp-boot=%s", ip.bootFile)
				}
			}
		}
		any = any || ip.dhcp()
	}
	if any {
		if leases > 0 {
			add("dhcp-lease-max=%d", leases)
		}
		add("dhcp-hostsfile=%s", s.dnsmasqPath(def.name, ".hostsfile"))
	}
}

// confRA lets dnsmasq advertise the IPv6 networks, with DHCP where there is any.
func (d *definition) confRA(add func(string, ...any)) {
	for i := range d.ips {
		if d.ips[i].address.Is6() && d.ips[i].dhcp() {
			add("enable-ra")
			return
		}
	}
	for i := range d.ips {
		if d.ips[i].address.Is6() {
			add("dhcp-range=%s,ra-only", d.ips[i].address)
		}
	}
}

func (l *lease) dnsmasq() string {
	if l.expiry == 0 {
		return "infinite"
	}
	return utoa(l.expiry) + l.unit[:1]
}

func netmask(bits int) netip.Addr {
	v := ^uint32(0) << (32 - bits)
	if bits == 0 {
		v = 0
	}
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

// arpa is the zone of the reverse lookups of a network, down to whole labels.
func arpa(p netip.Prefix) string {
	b, per, suffix := p.Addr().AsSlice(), 8, "in-addr.arpa"
	if p.Addr().Is6() {
		per, suffix = 4, "ip6.arpa"
	}
	name := ""
	for i := range p.Bits() / per {
		if per == 8 {
			name = fmt.Sprintf("%d.", b[i]) + name
		} else {
			nibble := b[i/2] >> 4
			if i%2 == 1 {
				nibble = b[i/2] & 15
			}
			name = fmt.Sprintf("%x.", nibble) + name
		}
	}
	return name + suffix
}

// hostsFile is who gets which address by DHCP.
func hostsFile(def *definition) string {
	var b strings.Builder
	for i := range def.ips {
		for _, h := range def.ips[i].hosts {
			var parts []string
			if h.ip.Is6() {
				if h.id != "" {
					parts = append(parts, "id:"+h.id)
				}
				if h.name != "" {
					parts = append(parts, h.name)
				}
				parts = append(parts, "["+h.ip.String()+"]")
			} else {
				if h.mac != "" {
					parts = append(parts, h.mac)
				}
				if h.id != "" {
					parts = append(parts, "id:"+h.id)
				}
				if h.mac == "" && h.name != "" {
					parts = append(parts, h.name)
				}
				parts = append(parts, h.ip.String())
				if h.mac != "" && h.name != "" {
					parts = append(parts, h.name)
				}
			}
			if h.lease != nil {
				parts = append(parts, h.lease.dnsmasq())
			}
			b.WriteString(strings.Join(parts, ",") + "\n")
		}
	}
	return b.String()
}

// namesFile is the names that are known beside DHCP's, in the form of /etc/hosts.
func namesFile(def *definition) string {
	var b strings.Builder
	for _, h := range def.dns.hosts {
		b.WriteString(h.ip.String() + "\t" + strings.Join(h.names, "\t") + "\t\n")
	}
	return b.String()
}

// writeDnsmasq writes the files that dnsmasq reads.
func (s *shared) writeDnsmasq(def *definition) error {
	conf := s.dnsmasqConf(def)
	if u, err := user.Lookup("libvirt-dnsmasq"); err == nil && os.Geteuid() == 0 {
		conf += "user=" + u.Username + "\n"
	}
	for _, f := range []struct{ ext, text string }{{".conf", conf}, {".hostsfile", hostsFile(def)}, {".addnhosts", namesFile(def)}} {
		path := s.dnsmasqPath(def.name, f.ext)
		if err := disk.WriteVolatile(path, []byte(f.text), 0o644); err != nil {
			return liberr.System(from, err, "couldn't write dnsmasq config file '%s'", path)
		}
	}
	return nil
}

// startDnsmasq writes dnsmasq's files and starts it. It detaches itself when it serves.
func (s *shared) startDnsmasq(ctx context.Context, def *definition) (*process, error) {
	bin, err := exec.LookPath("dnsmasq")
	if err != nil {
		return nil, liberr.New(from, liberr.OperationUnsupported, "Cannot find dnsmasq binary in $PATH").WithCause(err)
	}
	if err := s.writeDnsmasq(def); err != nil {
		return nil, err
	}
	conf := s.dnsmasqPath(def.name, ".conf")
	cmd := exec.CommandContext(ctx, bin, "--conf-file="+conf, "--leasefile-ro", "--dhcp-script="+s.helperPath())
	cmd.Env = append(os.Environ(), "VIR_BRIDGE_NAME="+def.bridge, helperVariable+"="+s.dnsmasqPath(def.bridge, ".status"))
	cmd.Dir = "/"
	var out strings.Builder
	errs, w, err := os.Pipe()
	if err != nil {
		return nil, liberr.System(from, err, "cannot create pipe")
	}
	defer errs.Close()
	cmd.Stderr = w
	err = cmd.Run()
	_ = w.Close()
	if err != nil {
		_ = s.killStray(context.WithoutCancel(ctx), def) // it may have detached itself before it was told to end
		// What it wrote is in the pipe: it has ended, and no child of it lives on.
		buf := make([]byte, 4096)
		_ = errs.SetReadDeadline(time.Now().Add(time.Second))
		n, _ := errs.Read(buf)
		out.Write(buf[:n])
		return nil, liberr.New(liberr.FromNone, liberr.InternalError, "Child process (VIR_BRIDGE_NAME=%s %s --conf-file=%s --leasefile-ro --dhcp-script=%s) unexpected %s: %s",
			def.bridge, filepath.Clean(bin), conf, s.helperPath(), exitText(err), out.String()).WithCause(err)
	}
	p := findProcess(s.runPath(def.name, ".pid"), conf)
	if p == nil {
		return nil, liberr.New(from, liberr.InternalError, "dnsmasq of network '%s' did not stay", def.name)
	}
	return p, nil
}

// exitText says how a program ended, as libvirt does.
func exitText(err error) string {
	return strings.TrimPrefix(err.Error(), "exec: ")
}

// refreshDnsmasq lets a running dnsmasq read its hosts again. What stands in its configuration file takes a restart.
func (s *shared) refreshDnsmasq(def *definition, p *process) error {
	if err := s.writeDnsmasq(def); err != nil {
		return err
	}
	if err := p.signal(unix.SIGHUP); err != nil {
		return liberr.System(from, err, "failed to reload dnsmasq of network '%s'", def.name)
	}
	return nil
}
