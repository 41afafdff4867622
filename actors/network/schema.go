package network

import (
	"strings"

	"virtree/wire/liberr"
)

// schemaFile is the file libvirt names in its message.
const schemaFile = "/usr/share/libvirt/schemas/network.rng"

// grammar is what a network's document may hold: for each element the attributes and the children it knows.
var grammar = map[string][2]string{
	"network": {"ipv6 trustGuestRxFilters connections", "name uuid title description metadata forward bridge mtu mac domain dns vlan bandwidth port ip route virtualport portgroup"},
	"name":    {}, "uuid": {}, "title": {}, "description": {},
	"forward":     {"dev mode managed", "driver nat pf interface address"},
	"driver":      {"name", ""},
	"nat":         {"ipv6", "address port"},
	"pf":          {"dev", ""},
	"interface":   {"dev connections", ""},
	"address":     {"type domain bus slot function start end", ""},
	"bridge":      {"name zone stp delay macTableManager", ""},
	"mtu":         {"size", ""},
	"mac":         {"address", ""},
	"domain":      {"name localOnly register", ""},
	"dns":         {"enable forwardPlainNames", "forwarder txt srv host"},
	"forwarder":   {"domain addr", ""},
	"txt":         {"name value", ""},
	"srv":         {"service protocol domain target port priority weight", ""},
	"host":        {"ip mac id name", "hostname lease"},
	"hostname":    {},
	"lease":       {"expiry unit", ""},
	"vlan":        {"trunk", "tag"},
	"tag":         {"id nativeMode", ""},
	"bandwidth":   {"", "inbound outbound"},
	"inbound":     {"average peak burst floor", ""},
	"outbound":    {"average peak burst", ""},
	"port":        {"isolated start end", ""},
	"ip":          {"family address netmask prefix localPtr", "tftp dhcp"},
	"tftp":        {"root", ""},
	"dhcp":        {"", "range host bootp"},
	"range":       {"start end", "lease"},
	"bootp":       {"file server", ""},
	"route":       {"family address netmask prefix gateway metric", ""},
	"virtualport": {"type", "parameters"},
	"parameters":  {"managerid typeid typeidversion instanceid profileid interfaceid", ""},
	"portgroup":   {"name default trustGuestRxFilters", "vlan virtualport bandwidth"},
}

// checkSchema refuses a document with elements or attributes that the schema does not have. What their values may be is
// checked by the parser.
func checkSchema(doc string) error {
	root, err := scan(doc, "", origin)
	if err != nil {
		return err
	}
	if root.name != "network" {
		return schemaError("Expecting element network, got " + root.name)
	}
	return root.fitsSchema()
}

func schemaError(why string) error {
	return liberr.New(liberr.FromXML, liberr.XMLInvalidSchema, "Unable to validate doc against %s\n%s\n", schemaFile, why)
}

func (n *node) fitsSchema() error {
	g := grammar[n.name]
	for _, a := range n.attrs {
		if a.Name.Space != "" || a.Name.Local == "xmlns" {
			continue
		}
		if !strings.Contains(" "+g[0]+" ", " "+a.Name.Local+" ") {
			return schemaError("Invalid attribute " + a.Name.Local + " for element " + n.name)
		}
	}
	for _, k := range n.kids {
		if k.name == "" || k.space != "" {
			continue // namespaces are their owners' business
		}
		if !strings.Contains(" "+g[1]+" ", " "+k.name+" ") {
			return schemaError("Element " + n.name + " has extra content: " + k.name)
		}
		if k.name == "metadata" {
			continue
		}
		if err := k.fitsSchema(); err != nil {
			return err
		}
	}
	return nil
}
