package def

import (
	"fmt"
	"slices"
	"strings"

	"virtree/wire/liberr"
)

// grammar is what a document may hold: for each element the attributes and the children it knows. What the values may be
// is for Parse and Check.
var grammar = map[string][2]string{
	"interface": {"type name", "start mtu protocol link mac bridge bond vlan"},
	"start":     {"mode", ""},
	"mtu":       {"size", ""},
	"protocol":  {"family", "autoconf dhcp ip route"},
	"autoconf":  {},
	"dhcp":      {"peerdns", ""},
	"ip":        {"address prefix", ""},
	"route":     {"gateway", ""},
	"link":      {"speed state", ""},
	"mac":       {"address", ""},
	"bridge":    {"stp delay", "interface"},
	"bond":      {"mode", "miimon arpmon interface"},
	"miimon":    {"freq downdelay updelay carrier", ""},
	"arpmon":    {"interval target validate", ""},
	"vlan":      {"tag", "interface"},
}

// Validate refuses a document with elements or attributes that libvirt's schema does not have.
func Validate(doc string) error {
	root, err := read(doc)
	if err != nil {
		return err
	}
	why := ""
	if root.Local() != "interface" {
		why = "Expecting element interface, got " + root.Local()
	} else {
		why = fits(root)
	}
	if why == "" {
		return nil
	}
	return liberr.New(from, liberr.XMLInvalidSchema, "%s", fmt.Sprintf("Unable to validate doc against /usr/share/libvirt/schemas/interface.rng\n%s\n", why))
}

func fits(e *node) string {
	rule := grammar[e.Local()]
	for _, a := range e.Attrs {
		if !slices.Contains(strings.Fields(rule[0]), a.Name) {
			return fmt.Sprintf("Invalid attribute %s for element %s", a.Name, e.Local())
		}
	}
	for _, c := range e.Kids {
		if !slices.Contains(strings.Fields(rule[1]), c.Local()) {
			return fmt.Sprintf("Element %s failed to validate content", e.Local())
		}
		if why := fits(c); why != "" {
			return why
		}
	}
	return ""
}
