package main

import "strings"

// initialisms keep their capitals, as Go writes them.
var initialisms = map[string]string{
	"xml": "XML", "uuid": "UUID", "id": "ID", "cpu": "CPU", "vcpu": "VCPU", "vcpus": "VCPUs", "os": "OS",
	"fd": "FD", "fds": "FDs", "uri": "URI", "io": "IO", "fs": "FS", "ssh": "SSH", "dhcp": "DHCP",
	"sev": "SEV", "numa": "NUMA", "tcp": "TCP", "sasl": "SASL", "mac": "MAC", "pm": "PM", "nmi": "NMI",
	"ip": "IP", "rpc": "RPC", "ids": "IDs", "abi": "ABI", "acl": "ACL", "api": "API", "dns": "DNS", "gic": "GIC",
	"fsinfo": "FSInfo", "iothread": "IOThread", "iothreads": "IOThreads", "ui": "UI", "cpus": "CPUs",
	"rng": "RNG", "vnc": "VNC", "usb": "USB", "ssf": "SSF", "nic": "NIC", "tls": "TLS", "scsi": "SCSI", "pci": "PCI",
	"wwn": "WWN", "nvram": "NVRAM", "tpm": "TPM", "https": "HTTPS", "http": "HTTP", "ipv4": "IPv4", "ipv6": "IPv6",
	"callbackid": "CallbackID", "eventid": "EventID", "devalias": "DevAlias", "guid": "GUID",
}

// camel turns SOME_NAME, some_name or someName into SomeName.
func camel(s string) string {
	var b strings.Builder
	for _, w := range strings.Split(s, "_") {
		if w == "" {
			continue
		}
		if i, ok := initialisms[strings.ToLower(w)]; ok && (w == strings.ToUpper(w) || w == strings.ToLower(w) || strings.HasSuffix(w, "ID")) {
			b.WriteString(i)
			continue
		}
		if w == strings.ToUpper(w) {
			w = strings.ToLower(w)
		}
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}

// typeName is the Go name of a wire type: remote's own carry no prefix, and a "nonnull" object is
// simply the object, because the optional form becomes a pointer.
func typeName(wire string) string {
	switch wire {
	case "remote_error":
		return "RemoteError"
	case "remote_node_get_cpu_stats", "remote_node_get_memory_stats":
		wire += "_entry" // the procedure has the shorter name
	}
	for _, cut := range []struct{ prefix, put string }{
		{"remote_nonnull_", ""}, {"remote_", ""}, {"admin_nonnull_", "Admin"}, {"admin_", "Admin"},
		{"virLogManagerProtocol", "Log"}, {"virLockSpaceProtocol", "Lock"}, {"virNetMessage", "Net"},
	} {
		if rest, ok := strings.CutPrefix(wire, cut.prefix); ok {
			return cut.put + camel(rest)
		}
	}
	return camel(wire)
}

// procName is the Go name of a procedure's descriptor.
func procName(program, name string) string {
	switch program {
	case "remote":
		return camel(name)
	case "log":
		return "Log" + camel(strings.TrimPrefix(name, "DOMAIN_"))
	case "keepalive":
		return "Keepalive" + camel(name)
	}
	return camel(program + "_" + name)
}

// constName is the Go name of a public constant: VIR_DOMAIN_AFFECT_LIVE is DomainAffectLive.
func constName(s string) string { return camel(strings.TrimPrefix(s, "VIR_")) }
