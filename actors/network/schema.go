package network

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// What VALIDATE demands of a document beyond what the parser does: nothing that the schema does not know, nothing twice, and
// every value in the form that the schema gives it. What libvirt's schema of 9.0.0 says is said here in tables; titles and
// descriptions of networks are younger.

// schemaFile is the file libvirt names in its message.
const schemaFile = "/usr/share/libvirt/schemas/network.rng"

// shape of an element: attributes as "name:type", with ! when they must be there; children by name, with * when there may be
// several and + when there must be one or more; and the type of its text, none when it may have none.
type elementShape struct {
	attrs, kids, text string
	choice            func(n *node) bool // what the tables cannot say; nil when there is nothing
}

const pciAttrs = " domain:pciDomain bus:uint8 slot:pciSlot function:pciFunction multifunction:onOff"

// grammar has the shapes by the names of parent and element, or by that of the element alone where it is the same everywhere.
var grammar = map[string]elementShape{
	"network": {attrs: "connections:uint ipv6:yesNo trustGuestRxFilters:yesNo",
		kids: "name+ uuid title description metadata forward bridge mtu mac domain dns vlan bandwidth port ip* route* virtualport portgroup*",
		choice: func(n *node) bool {
			return len(n.All("name")) == 1
		}},
	"name": {text: "any"}, "uuid": {text: "uuid"}, "title": {text: "line"}, "description": {text: "any"}, "hostname": {text: "dnsName"},
	"forward": {attrs: "dev:device mode:forwardMode managed:yesNo", kids: "driver nat pf interface* address*", choice: func(n *node) bool {
		return len(n.All("interface")) == 0 || len(n.All("address")) == 0
	}},
	"driver":          {attrs: "name:driver!"},
	"nat":             {attrs: "ipv6:yesNo", kids: "address port"},
	"nat/address":     {attrs: "start:ip4! end:ip4!"},
	"nat/port":        {attrs: "start:port! end:port!"},
	"pf":              {attrs: "dev:device!"},
	"interface":       {attrs: "dev:device! connections:uint"},
	"forward/address": {attrs: "type:pci! connections:uint" + pciAttrs},
	"bridge":          {attrs: "name:device zone:zone stp:onOff delay:ulong macTableManager:tableManager"},
	"mtu":             {attrs: "size:ushort!"},
	"mac":             {attrs: "address:mac!"},
	"domain":          {attrs: "name:dnsName! localOnly:yesNo"},
	"dns":             {attrs: "enable:yesNo forwardPlainNames:yesNo", kids: "forwarder* txt* srv* host*"},
	"forwarder":       {attrs: "domain:dnsName addr:ip"},
	"txt":             {attrs: "name:dnsName! value:any!"},
	"srv":             {attrs: "service:any! protocol:protocol! domain:dnsName target:any port:ushort priority:ushort weight:ushort"},
	"dns/host":        {attrs: "ip:ip!", kids: "hostname+"},
	"vlan":            {attrs: "trunk:yes", kids: "tag+"},
	"tag":             {attrs: "id:vlan! nativeMode:nativeMode"},
	"bandwidth":       {attrs: "classID:uint", kids: "inbound outbound"},
	"inbound":         {attrs: "average:rate peak:rate floor:rate burst:rate"},
	"outbound":        {attrs: "average:rate peak:rate floor:rate burst:rate"},
	"network/port":    {attrs: "isolated:yesNo"},
	"ip":              {attrs: "address:ip netmask:ip4 prefix:prefix family:family localPtr:yesNo", kids: "tftp dhcp", choice: oneMask},
	"tftp":            {attrs: "root:any!"},
	"dhcp":            {kids: "range* host* bootp"},
	"range":           {attrs: "start:ip! end:ip!", kids: "lease"},
	"dhcp/host": {attrs: "mac:mac id:duid name:any ip:ip!", kids: "lease", choice: func(n *node) bool {
		_, mac := n.Lookup("mac")
		_, id := n.Lookup("id")
		_, name := n.Lookup("name")
		return !(mac && id) && (mac || id || name)
	}},
	"lease":       {attrs: "expiry:ulong! unit:leaseUnit"},
	"bootp":       {attrs: "file:path! server:dnsName"},
	"route":       {attrs: "family:family address:ip! netmask:ip4 prefix:prefix gateway:ip! metric:uint", choice: oneMask},
	"virtualport": {attrs: "type:vport", kids: "parameters", choice: fitsVPort},
	"parameters":  {attrs: "managerid:uint8 typeid:uint24 typeidversion:uint8 instanceid:uuid profileid:profile interfaceid:uuid"},
	"portgroup":   {attrs: "name:device! default:yesNo trustGuestRxFilters:yesNo", kids: "vlan virtualport bandwidth"},
}

func oneMask(n *node) bool {
	_, mask := n.Lookup("netmask")
	_, prefix := n.Lookup("prefix")
	return !(mask && prefix)
}

// fitsVPort tells whether the parameters are those of the type; midonet must have its own.
func fitsVPort(n *node) bool {
	typ, given := n.Lookup("type")
	p := n.Kid("parameters")
	if typ == "midonet" {
		if _, ok := p.Lookup("interfaceid"); !ok {
			return false
		}
	}
	if p == nil || !given {
		return true
	}
	fields := vportFields[typ]
	if typ == "midonet" {
		fields = "interfaceid"
	}
	return !slices.ContainsFunc(p.Attrs, func(a xmltree.Attr) bool { return !slices.Contains(strings.Fields(fields), a.Name) })
}

// forms are the types of values.
var forms = map[string]func(string) bool{
	"any": func(string) bool { return true }, "line": func(s string) bool { return !strings.Contains(s, "\n") },
	"yesNo": among("yes", "no"), "yes": among("yes"), "onOff": among("on", "off"), "pci": among("pci"), "driver": among("kvm", "vfio"),
	"forwardMode": among(modes...), "tableManager": among("kernel", "libvirt"), "nativeMode": among("tagged", "untagged"),
	"family": among("ipv4", "ipv6"), "protocol": among("tcp", "udp"), "leaseUnit": among("seconds", "minutes", "hours"),
	"vport": among("802.1Qbg", "802.1Qbh", "openvswitch", "midonet"),
	"uint":  upTo(1<<32 - 1), "ulong": upTo(1<<64 - 1), "ushort": upTo(65535), "prefix": func(s string) bool { return upTo(128)(strings.TrimSpace(s)) }, "vlan": upTo(4095),
	"port":    func(s string) bool { return upTo(65535)(s) && strings.Trim(s, "0") != "" },
	"rate":    func(s string) bool { return upTo(1<<32-1)(s) && strings.Trim(s, "0") != "" },
	"uint8":   hexOr(2, 255),
	"uint24":  hexOr(6, 1<<24-1),
	"device":  like(`[a-zA-Z0-9_.\-\\:/]+`),
	"zone":    like(`[a-zA-Z0-9_\-]+`),
	"dnsName": like(`[a-zA-Z0-9.\-]+`),
	"path":    like(`.+`),
	"profile": like(`.{0,39}`),
	"mac":     like(`[a-fA-F0-9][02468aAcCeE](:[a-fA-F0-9]{2}){5}`),
	"uuid":    like(`[a-fA-F0-9]{32}|[a-fA-F0-9]{8}-([a-fA-F0-9]{4}-){3}[a-fA-F0-9]{12}`),
	// The four kinds of RFC 8415: link address and time, vendor, link address, UUID.
	"duid": like(`0{1,2}:0?1:0{1,2}:0?[a-fA-F1-9](:[a-fA-F0-9]{1,2}){10,12}|0{1,2}:0?2(:[a-fA-F0-9]{1,2}){5,128}|` +
		`0{1,2}:0?3:0{1,2}:0?[a-fA-F1-9](:[a-fA-F0-9]{1,2}){6,8}|0{1,2}:0?4(:[a-fA-F0-9]{1,2}){16}`),
	"pciDomain":   like(`(0x)?[0-9a-fA-F]{1,8}`),
	"pciSlot":     like(`(0x)?[01]?[0-9a-fA-F]|2[0-9]|3[01]`),
	"pciFunction": like(`(0x)?[0-7]`),
	"ip":          isAddr(func(netip.Addr) bool { return true }),
	"ip4":         isAddr(netip.Addr.Is4),
}

func among(values ...string) func(string) bool {
	return func(s string) bool { return slices.Contains(values, s) }
}

func upTo(limit uint64) func(string) bool {
	return func(s string) bool {
		v, err := strconv.ParseUint(s, 10, 64)
		return err == nil && v <= limit
	}
}

func hexOr(digits int, limit uint64) func(string) bool {
	hex, decimal := like(`0x[0-9a-fA-F]{1,`+strconv.Itoa(digits)+`}`), upTo(limit)
	return func(s string) bool { return hex(s) || decimal(s) }
}

func like(pattern string) func(string) bool {
	re := regexp.MustCompile(`^(?:` + pattern + `)$`)
	return re.MatchString
}

func isAddr(fits func(netip.Addr) bool) func(string) bool {
	return func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err == nil && a.Zone() == "" && fits(a)
	}
}

// checkSchema refuses a document that does not have the shape of the schema.
func checkSchema(doc string) error {
	root, err := reader("network", origin).Read(doc)
	if err != nil {
		return err
	}
	return fitsSchema(root, "")
}

func schemaError(why string) error {
	return liberr.New(liberr.FromXML, liberr.XMLInvalidSchema, "Unable to validate doc against %s\n%s\n", schemaFile, why)
}

func fitsSchema(n *node, parent string) error {
	shape, ok := grammar[parent+"/"+n.Name]
	if !ok {
		shape = grammar[n.Name]
	}
	if err := fitsAttributes(n, shape); err != nil {
		return err
	}
	if err := fitsContent(n, shape); err != nil {
		return err
	}
	if shape.choice != nil && !shape.choice(n) {
		return schemaError("Element " + n.Local() + " failed to validate content")
	}
	return nil
}

func fitsAttributes(n *node, shape elementShape) error {
	types := map[string]string{}
	for _, spec := range strings.Fields(shape.attrs) {
		name, typ, _ := strings.Cut(spec, ":")
		typ, needed := strings.CutSuffix(typ, "!")
		types[name] = typ
		if _, given := n.Lookup(name); needed && !given {
			return schemaError("Element " + n.Name + " failed to validate attributes")
		}
	}
	for _, a := range n.Attrs {
		if a.Name == "xmlns" || strings.Contains(a.Name, ":") {
			continue
		}
		typ, known := types[a.Name]
		if !known {
			return schemaError("Invalid attribute " + a.Name + " for element " + n.Name)
		}
		if !forms[typ](a.Value) {
			return schemaError("Element " + n.Name + " failed to validate attributes")
		}
	}
	return nil
}

func fitsContent(n *node, shape elementShape) error {
	if shape.text != "" {
		if !forms[shape.text](n.Content()) {
			return schemaError("Element " + n.Name + " failed to validate content")
		}
		return nil
	}
	if strings.TrimSpace(n.Text) != "" {
		return schemaError("Element " + n.Name + " has extra content: text")
	}
	counts := map[string]int{}
	for _, k := range n.Kids {
		if k.Space == "" {
			counts[k.Name]++
		} else if err := fitsOptions(k); err != nil {
			return err
		}
	}
	for _, spec := range strings.Fields(shape.kids) {
		name := strings.TrimRight(spec, "+*")
		if strings.HasSuffix(spec, "+") && counts[name] == 0 || spec == name && counts[name] > 1 {
			return schemaError("Element " + n.Name + " failed to validate content")
		}
		delete(counts, name)
	}
	for name := range counts {
		return schemaError("Element " + n.Name + " has extra content: " + name)
	}
	for _, k := range n.Kids {
		if k.Space == "" && k.Name != "metadata" {
			if err := fitsSchema(k, n.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// fitsOptions checks the one element of another namespace that a network may have.
func fitsOptions(n *node) error {
	bad := !n.Is(dnsmasqSpace, "options")
	for _, k := range n.Kids {
		_, value := k.Lookup("value")
		bad = bad || !k.Is(dnsmasqSpace, "option") || !value
	}
	if bad {
		return schemaError("Element " + n.Local() + " failed to validate content")
	}
	return nil
}
