package def

import (
	"virtree/actors/internal/xmltree"
	wire "virtree/wire/protocol"

	"virtree/wire/liberr"
)

// Binding is the document of a binding: which filter a port has.
type Binding struct {
	OwnerName string
	OwnerUUID wire.UUID
	Port      string // the link's name
	Link      string // of the guest's traffic when it is another one than the port; "" when it is not
	MAC       [6]byte
	Filter    string
	Params    Params
}

// ParseBinding reads a document that came with a call. validate also holds it against the schema.
func ParseBinding(doc string, validate bool) (*Binding, error) {
	root, err := reader("filterbinding", "(nwfilterbinding_definition)").Read(doc)
	if err != nil {
		return nil, err
	}
	if validate {
		if err := checkBinding(root); err != nil {
			return nil, err
		}
	}
	return parseBinding(root)
}

// ParseBindingStatus reads the file of a binding.
func ParseBindingStatus(doc string) (*Binding, error) {
	root, err := reader("", "(nwfilterbinding_status)").Read(doc)
	if err != nil {
		return nil, err
	}
	if root.Name != "filterbindingstatus" {
		return nil, liberr.New(from, liberr.XMLError, "unknown root element '%s' for filter binding", root.Name)
	}
	b := root.Kid("filterbinding")
	if b == nil {
		return nil, internal("filter binding status missing content")
	}
	return parseBinding(b)
}

func parseBinding(n *node) (*Binding, error) {
	b := &Binding{Port: n.Kid("portdev").Get("name")}
	if b.Port == "" {
		return nil, internal("filter binding has no port dev name")
	}
	if l := n.Kid("linkdev"); l != nil {
		if b.Link = l.Get("name"); b.Link == "" {
			return nil, internal("filter binding has no link dev name")
		}
	}
	owner := n.Kid("owner")
	if b.OwnerName = owner.Kid("name").Content(); b.OwnerName == "" {
		return nil, internal("filter binding has no owner name")
	}
	id := owner.Kid("uuid").Content()
	if id == "" {
		return nil, internal("filter binding has no owner UUID")
	}
	var ok bool
	if b.OwnerUUID, ok = xmltree.UUID(id); !ok {
		return nil, internal("Unable to parse UUID '%s'", id)
	}
	address := n.Kid("mac").Get("address")
	if address == "" {
		return nil, internal("filter binding has no MAC address")
	}
	if b.MAC, ok = xmltree.MAC(address); !ok {
		return nil, internal("Unable to parse MAC '%s'", address)
	}
	ref := n.Kid("filterref")
	if b.Filter = ref.Get("filter"); b.Filter == "" {
		return nil, internal("filter binding has no filter reference")
	}
	b.Params = parseParams(ref)
	return b, nil
}

// Address is the MAC address as text.
func (b *Binding) Address() string { return FormatMAC(b.MAC) }

// FormatMAC is a MAC address as text.
func FormatMAC(m [6]byte) string {
	const digits = "0123456789abcdef"
	var s []byte
	for i, v := range m {
		if i > 0 {
			s = append(s, ':')
		}
		s = append(s, digits[v>>4], digits[v&15])
	}
	return string(s)
}

// Format prints the document.
func (b *Binding) Format() string {
	w := &writer{}
	w.binding(b)
	return w.String()
}

// FormatStatus prints the binding's file, without the comment above it.
func (b *Binding) FormatStatus() string {
	w := &writer{}
	w.line("<filterbindingstatus>")
	w.depth++
	w.binding(b)
	w.depth--
	w.line("</filterbindingstatus>")
	return w.String()
}

func (w *writer) binding(b *Binding) {
	w.line("<filterbinding>")
	w.depth++
	w.line("<owner>")
	w.depth++
	w.line("<name>", xmltree.Escape(b.OwnerName), "</name>")
	w.line("<uuid>", b.OwnerUUID.String(), "</uuid>")
	w.depth--
	w.line("</owner>")
	w.line("<portdev name='", xmltree.Escape(b.Port), "'/>")
	if b.Link != "" {
		w.line("<linkdev name='", xmltree.Escape(b.Link), "'/>")
	}
	w.line("<mac address='", b.Address(), "'/>")
	w.ref(b.Filter, b.Params)
	w.depth--
	w.line("</filterbinding>")
}
