package nwfilter

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"virtree/actors/internal/disk"
	"virtree/actors/nwfilter/def"
	"virtree/wire/liberr"
)

// lease is an address that a guest may use, and until when.
type lease struct {
	address netip.Addr
	server  netip.Addr // who assigned it; invalid when nobody did
	end     time.Time  // zero: never
}

func (l lease) over(now time.Time) bool { return !l.end.IsZero() && !now.Before(l.end) }

// leaseKey names a guest's port over the times that the guest is not running.
func leaseKey(b *def.Binding) string { return b.OwnerUUID.String() + "-" + b.Address() }

// leasesOf are those that hold for a binding.
func leasesOf(b *def.Binding, kept map[string][]lease) []lease {
	if !followsDHCP(b.Params) {
		return nil
	}
	return kept[leaseKey(b)]
}

// addLease puts a lease in place of the one of its address, or behind the others, and tells whether the address is new.
func addLease(all []lease, l lease) (out []lease, fresh bool) {
	out = slices.Clone(all)
	if i := slices.IndexFunc(out, func(o lease) bool { return o.address == l.address }); i >= 0 {
		out[i] = l
		return out, false
	}
	return append(out, l), true
}

// The file of leases is libvirt's: a line each of when it ends (seconds since 1970, 0 for never), the port's key, the
// address and the server. A later line replaces an earlier one of the same key and address.

func (s *store) loadLeases() (map[string][]lease, error) {
	all := map[string][]lease{}
	text, err := os.ReadFile(s.leases)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return all, err
	}
	now := time.Now()
	for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
		key, l, ok := parseLease(in.Text())
		if !ok {
			err = fmt.Errorf("%s: not a lease: %s", s.leases, in.Text())
			continue
		}
		all[key], _ = addLease(all[key], l)
	}
	for key, leases := range all {
		all[key] = slices.DeleteFunc(leases, func(l lease) bool { return l.over(now) })
	}
	return all, err
}

func parseLease(line string) (key string, l lease, ok bool) {
	f := strings.Fields(line)
	if len(f) != 4 {
		return "", l, false
	}
	end, err := strconv.ParseInt(f[0], 10, 64)
	if err == nil && end != 0 {
		l.end = time.Unix(end, 0)
	}
	l.address, _ = netip.ParseAddr(f[2])
	l.server, _ = netip.ParseAddr(f[3])
	return f[1], l, err == nil && l.address.Is4()
}

// saveLeases makes these the leases of a port; those of other ports stay until they end. Synced: they outlive the daemon.
func (s *store) saveLeases(key string, leases []lease) error {
	all, err := s.loadLeases()
	if err != nil && len(all) == 0 {
		return err
	}
	all[key] = leases
	var b strings.Builder
	for key, leases := range all {
		for _, l := range leases {
			end := int64(0)
			if !l.end.IsZero() {
				end = l.end.Unix()
			}
			server := l.server
			if !server.IsValid() {
				server = netip.IPv4Unspecified()
			}
			fmt.Fprintln(&b, end, key, l.address, server)
		}
	}
	if err := disk.Write(s.leases, []byte(b.String()), 0o600); err != nil {
		return liberr.System(from, errnoOf(err), "cannot write %s", s.leases)
	}
	return nil
}
