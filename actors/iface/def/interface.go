package def

// Interface is one interface: a top-level one, or a port of a bridge or bond, which has no start mode, MTU or protocols.
type Interface struct {
	Type      string // "ethernet", "bridge", "bond" or "vlan"
	Name      string
	Start     string // "onboot", "hotplug", "none"; "" is not said
	MTU       uint   // bytes; 0 is not said
	Protocols []Protocol
	Link      *Link  // what a live document says; nil when it says nothing
	MAC       string // ethernet only
	Bridge    *Bridge
	Bond      *Bond
	VLAN      *VLAN
}

// Link is the state of a link, which nobody can define.
type Link struct {
	State string // the kernel's: "up", "down" ...
	Speed uint   // Mbit/s; 0 is not said
}

// Bridge is what a bridge has of its own.
type Bridge struct {
	STP   string // "on", "off"; "" is not said
	Delay string // forward delay in seconds, as written; "" is not said
	Ports []*Interface
}

// Bond is what a bond has of its own.
type Bond struct {
	Mode  string // "active-backup" ...; "" is not said
	MII   *MII   // nil: not watched by MII
	ARP   *ARP   // nil: not watched by ARP
	Ports []*Interface
}

// MII watches the links of a bond by their carrier. Times are milliseconds; 0 is not said.
type MII struct {
	Freq, DownDelay, UpDelay int
	Carrier                  string // "netif", "ioctl"; "" is not said
}

// ARP watches the links of a bond by ARP requests.
type ARP struct {
	Interval int // milliseconds
	Target   string
	Validate string // "active", "backup", "all"; "" is none
}

// VLAN is a tagged network on a device.
type VLAN struct{ Tag, Device string }

// Protocol is how addresses of one family come to the interface.
type Protocol struct {
	Family   string // "ipv4", "ipv6"
	Autoconf bool   // ipv6: by router advertisements
	DHCP     bool
	PeerDNS  string // with DHCP: take its name servers? "yes", "no"; "" is not said
	IPs      []IP
	Gateway  string // default route; "" for none
}

// IP is a static address. Prefix 0 is not said.
type IP struct {
	Address string
	Prefix  int
}

// Ports returns those below a bridge or a bond.
func (i *Interface) Ports() []*Interface {
	switch {
	case i.Bridge != nil:
		return i.Bridge.Ports
	case i.Bond != nil:
		return i.Bond.Ports
	}
	return nil
}

// Protocol returns the one of a family; nil when there is none.
func (i *Interface) Protocol(family string) *Protocol {
	for n := range i.Protocols {
		if i.Protocols[n].Family == family {
			return &i.Protocols[n]
		}
	}
	return nil
}
