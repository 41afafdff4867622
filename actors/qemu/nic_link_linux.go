package qemu

import (
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"virtree/wire/liberr"
)

// What is done to the host's links, with libvirt's words for what does not work.

func findLink(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, liberr.System(liberr.FromNone, unix.ENODEV, "Unable to get index for interface %s", name).WithCause(err)
	}
	return link, nil
}

func linkExists(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

// setUp brings a link up or down; one that is already is left alone, since a change is an event for others.
func setUp(name string, up bool) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return liberr.System(liberr.FromNone, unix.ENODEV, "Cannot get interface flags on '%s'", name).WithCause(err)
	}
	if link.Attrs().Flags&net.FlagUp != 0 == up {
		return nil
	}
	if up {
		err = netlink.LinkSetUp(link)
	} else {
		err = netlink.LinkSetDown(link)
	}
	if err != nil {
		return liberr.System(liberr.FromNone, err, "Cannot set interface flags on '%s'", name)
	}
	return nil
}

func setMTU(name string, mtu int) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetMTU(link, mtu)
	}
	if err != nil {
		return liberr.System(liberr.FromNone, err, "Cannot set interface MTU on '%s'", name)
	}
	return nil
}

func setMAC(name string, mac net.HardwareAddr) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetHardwareAddr(link, mac)
	}
	if err != nil {
		return liberr.System(liberr.FromNone, err, "Cannot set interface MAC to %s on '%s'", mac, name)
	}
	return nil
}

// hostMAC is the address of the host's end of a tap: the guest's with another first byte, since the kernel complains of
// packets that come from its own address; a high one, which no bridge takes for its own.
func hostMAC(guest string) (net.HardwareAddr, error) {
	mac, err := net.ParseMAC(guest)
	if err != nil {
		return nil, err
	}
	if mac[0] == 0xfe {
		mac[0] = 0xfa
	} else {
		mac[0] = 0xfe
	}
	return mac, nil
}

// joinBridge makes a link a port of a bridge.
func joinBridge(name, bridge string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return liberr.System(liberr.FromNone, unix.ENODEV, "Unable to get interface index for %s", name).WithCause(err)
	}
	master, err := netlink.LinkByName(bridge)
	if err != nil {
		return liberr.System(liberr.FromNone, unix.ENODEV, "Unable to add bridge %s port %s", bridge, name).WithCause(err)
	}
	if err := netlink.LinkSetMaster(link, master); err != nil {
		return liberr.System(liberr.FromNone, err, "Unable to add bridge %s port %s", bridge, name)
	}
	return nil
}

// isolatePort keeps a port of a bridge from talking to others that are isolated, or lets it.
func isolatePort(bridge, name string, on bool) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetIsolated(link, on)
	}
	if err != nil {
		value := "0"
		if on {
			value = "1"
		}
		return liberr.System(liberr.FromNone, err, "Unable to set bridge %s port %s %s to %s", bridge, name, "isolated", value)
	}
	return nil
}
