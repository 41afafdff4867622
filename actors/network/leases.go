package network

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// leaseEntry is one lease in BRIDGE.status, which libvirt's NSS module reads too: names and their order are libvirt's.
type leaseEntry struct {
	IP         string `json:"ip-address"`
	MAC        string `json:"mac-address,omitempty"`
	IAID       string `json:"iaid,omitempty"`
	Hostname   string `json:"hostname,omitempty"`
	ClientID   string `json:"client-id,omitempty"`
	ServerDUID string `json:"server-duid,omitempty"`
	Expiry     int64  `json:"expiry-time"` // 0 = never
}

// readLeases reads a status file; one that is missing or empty has no leases.
func readLeases(path string) ([]leaseEntry, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(text)) == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []leaseEntry
	return all, json.Unmarshal(text, &all)
}

// leases serves virNetworkGetDHCPLeases. An inactive network has none.
func (n *network) leases(ctx actor.Context, r *call.Request, a *protocol.NetworkGetDHCPLeasesArgs) error {
	def := n.current()
	path := n.drv.dnsmasqPath(def.bridge, ".status")
	want := ""
	if a.MAC != nil {
		mac, _ := xmltree.MAC(strings.ReplaceAll(*a.MAC, "-", ":"))
		want = macString(mac)
	}
	kit.Job[any]{Name: "leases", Timeout: jobLimit, Run: func(context.Context, *kit.Undo) (any, error) {
		all, err := readLeases(path)
		if err != nil {
			err = liberr.New(from, liberr.InternalError, "Invalid json in file: %s", path).WithCause(err)
			r.Fail(err)
			return nil, err
		}
		ret := &protocol.NetworkGetDHCPLeasesRet{}
		for _, l := range all {
			if w, ok := l.wire(def, want, time.Now()); ok {
				ret.Ret++
				if a.NeedResults != 0 {
					ret.Leases = append(ret.Leases, w)
				}
			}
		}
		r.Reply(ret)
		return nil, nil
	}}.Start(ctx)
	return nil
}

// wire is the lease as clients see it; false when it is over or another guest's.
func (l *leaseEntry) wire(def *definition, mac string, now time.Time) (w protocol.NetworkDHCPLease, ok bool) {
	if l.Expiry != 0 && l.Expiry < now.Unix() || mac != "" && !strings.EqualFold(mac, l.MAC) {
		return w, false
	}
	addr, err := netip.ParseAddr(l.IP)
	if err != nil {
		return w, false
	}
	w = protocol.NetworkDHCPLease{Iface: def.bridge, Expirytime: l.Expiry, Ipaddr: l.IP, Type: virt.IPAddrTypeIPv4,
		MAC: optional(l.MAC), Iaid: optional(l.IAID), Hostname: optional(l.Hostname), Clientid: optional(l.ClientID)}
	if addr.Is6() {
		w.Type = virt.IPAddrTypeIPv6
	}
	for i := range def.ips {
		if ip := &def.ips[i]; ip.address.BitLen() == addr.BitLen() && ip.dhcp() {
			w.Prefix = uint32(ip.bits())
			break
		}
	}
	return w, true
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
