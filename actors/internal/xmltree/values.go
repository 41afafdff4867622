package xmltree

import "virtree/wire/liberr"

// BadValue is libvirt's complaint about the value of an attribute. expected says what it may be; "" says nothing, else it
// begins with a blank.
func (n *Node) BadValue(attribute, value, expected string) error {
	return liberr.New(liberr.FromXML, liberr.XMLError, "Invalid value for attribute '%s' in element '%s': '%s'.%s", attribute, n.Local(), value, expected)
}
