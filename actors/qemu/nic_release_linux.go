package qemu

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"libvirt.org/go/libvirtxml"
)

const (
	// branchPatience bounds how long the end of a guest, or of a NIC, waits for a driver that is away.
	branchPatience = 5 * time.Second
	// returnLimit bounds the attempts to give something back that nobody waits for.
	returnLimit = 10 * time.Minute
)

// giveBack gives something back to another driver. When that is away, the guest's end does not wait for it: it is told
// when it is back.
func (s *shared) giveBack(what string, do func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), branchPatience)
	defer cancel()
	err := do(ctx)
	if err == nil {
		return
	}
	s.env.Log.Warn().Err(err).Str("what", what).Bool("again", !final(err)).Msg("cannot give something back to its driver")
	if final(err) {
		return
	}
	hold := s.env.Hold("return of " + what)
	go func() {
		defer hold()
		ctx, cancel := context.WithTimeout(context.Background(), returnLimit)
		defer cancel()
		if err := retry(ctx, do); err != nil {
			s.env.Log.Error().Err(err).Str("what", what).Msg("gave up giving something back to its driver")
		}
	}()
}

// releaseNIC takes back what a NIC had on the host. QEMU does not have it any more, and its tap went with it. What does not
// work is logged: the NIC is gone all the same, and the next start does not trip over it.
func (s *shared) releaseNIC(n *libvirtxml.DomainInterface) {
	warn := func(err error, what string) {
		if err != nil {
			s.env.Log.Warn().Err(err).Str("link", hostLink(n)).Msg(what)
		}
	}
	s.releaseFilter(n)
	name := hostLink(n)
	switch actualKind(n) {
	case "direct":
		if name != "" {
			removeLink(name)
		}
		if dev, mode := directOf(n); mode == "passthrough" {
			warn(s.returnAddress(dev), "cannot give a device its address back")
		}
	case "ethernet":
		ctx, cancel := context.WithTimeout(context.Background(), branchPatience)
		defer cancel()
		if n.DownScript != nil && n.DownScript.Path != "" && name != "" {
			warn(runScript(ctx, n.DownScript.Path, name), "the script that ends an interface failed")
		}
		if name != "" && managed(n) {
			removeLink(name)
		}
	case "hostdev":
		warn(s.returnFunction(n), "cannot give a function back to the host")
	}
	if virtualPort(n) == "openvswitch" && name != "" {
		ctx, cancel := context.WithTimeout(context.Background(), branchPatience)
		defer cancel()
		warn(leaveSwitch(ctx, name), "cannot take a port off its switch")
	}
	s.releasePort(n)
}

func reattachTap(ctx context.Context, n *libvirtxml.DomainInterface, owner string) error {
	link, err := netlink.LinkByName(hostLink(n))
	if err != nil {
		return err
	}
	if virtualPort(n) == "openvswitch" {
		return nil // the switch keeps its own records
	}
	master, err := netlink.LinkByName(bridgeOf(n))
	if err != nil || link.Attrs().MasterIndex == master.Attrs().Index {
		return err
	}
	return plugTap(ctx, n, bridgeOf(n), owner)
}

// seenLink keeps a name in use from being given again.
func (s *shared) seenLink(name string) {
	for _, c := range []struct {
		prefix string
		seen   func(int32)
	}{{"vnet", s.vnets.Seen}, {"macvtap", s.macvtaps.Seen}} {
		rest, ok := strings.CutPrefix(name, c.prefix)
		var n int32
		if _, err := fmt.Sscanf(rest, "%d", &n); ok && err == nil {
			c.seen(n + 1) // names count from 0, the counter from 1
		}
	}
}
