package live

import (
	"os"
	"strconv"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"virtree/actors/iface/def"
)

// setBridge sets the options for which the netlink package has no fields. The delay comes first: the kernel takes one below
// its minimum only while STP is off.
func setBridge(link netlink.Link, b *def.Bridge) error {
	if b.Delay != "" {
		seconds, err := strconv.ParseFloat(b.Delay, 64)
		if err != nil {
			return err
		}
		if err := setBridgeOption(link, nl.IFLA_BR_STP_STATE, 0); err != nil {
			return err
		}
		if err := setBridgeOption(link, nl.IFLA_BR_FORWARD_DELAY, uint32(seconds*100)); err != nil {
			return err
		}
	}
	if b.STP == "" {
		return nil
	}
	return setBridgeOption(link, nl.IFLA_BR_STP_STATE, map[string]uint32{"on": 1, "off": 0}[b.STP])
}

func setBridgeOption(link netlink.Link, option int, value uint32) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(link.Attrs().Index)
	req.AddData(msg)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(option, nl.Uint32Attr(value))
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// autoconf lets the kernel take addresses from router advertisements, or not.
func autoconf(name string, on bool) error {
	value := "0\n"
	if on {
		value = "1\n"
	}
	for _, key := range []string{"accept_ra", "autoconf"} {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/"+key, []byte(value), 0)
		if err != nil && (on || !os.IsNotExist(err)) {
			return err
		}
	}
	return nil
}
