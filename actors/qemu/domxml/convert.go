package domxml

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/xmltree"
)

// toStruct turns a finished tree into libvirtxml's form.
func toStruct(root *node) (*libvirtxml.Domain, error) {
	d := &libvirtxml.Domain{}
	meta := root.Kid(metadataName)
	root.Drop(metadataName)
	if err := decode(root, d); err != nil {
		return nil, err
	}
	if err := takeActual(root, d); err != nil {
		return nil, err
	}
	if err := takeResolved(root, d); err != nil {
		return nil, err
	}
	if meta = stash(root, meta); meta != nil {
		d.Metadata = &libvirtxml.DomainMetadata{}
		if len(meta.Kids) > 0 {
			d.Metadata.XML = "\n" + dumpMetadata(meta, 2) + "  "
		}
	}
	return d, nil
}

func decode(n *node, into any) error {
	dec := xml.NewTokenDecoder(&tokens{stack: []frame{{n: &node{Kids: []*node{n}}}}})
	if err := dec.Decode(into); err != nil {
		return internalError("cannot keep <%s>: %v", n.Name, err)
	}
	return nil
}

// fromStruct is toStruct's inverse; the tree is in libvirt's order.
func fromStruct(d *libvirtxml.Domain) (*node, error) {
	plain := *unresolved(d)
	plain.Metadata = nil
	root, err := encode(&plain)
	if err != nil {
		return nil, err
	}
	if err := addActual(root, d); err != nil {
		return nil, err
	}
	if err := addResolved(root, d); err != nil {
		return nil, err
	}
	if err := addHostAddresses(root, d); err != nil {
		return nil, err
	}
	if d.Metadata != nil {
		meta := metadataTree(d)
		if meta == nil {
			return nil, internalError("metadata of domain '%s' is not well formed", d.Name)
		}
		root.Add(meta)
		unstash(root, meta)
	}
	adoptNamespaces(root)
	grammar["domain"].arrange(root)
	return root, nil
}

func encode(v any) (*node, error) {
	text, err := xml.Marshal(v)
	if err != nil {
		return nil, internalError("cannot format definition: %v", err)
	}
	root, bad := xmltree.Scan(string(text))
	if bad != nil {
		return nil, internalError("cannot format definition: %s", bad.Complaint)
	}
	return root, nil
}

// addHostAddresses puts back what libvirtxml leaves out: the host's addresses of an interface that has no routes there, and
// the other way round.
func addHostAddresses(root *node, d *libvirtxml.Domain) error {
	if d.Devices == nil {
		return nil
	}
	nodes := root.Kid("devices").All("interface")
	for i := range d.Devices.Interfaces {
		s := d.Devices.Interfaces[i].Source
		if i >= len(nodes) || s == nil || s.Ethernet == nil || (len(s.Ethernet.IP) == 0) == (len(s.Ethernet.Route) == 0) {
			continue
		}
		made, err := encode(s.Ethernet)
		if err != nil {
			return err
		}
		made.Name = "source"
		nodes[i].Add(made)
	}
	return nil
}

// tokens hands a tree to encoding/xml without the way through text.
type tokens struct{ stack []frame }

type frame struct {
	n    *node
	next int
	text bool // the text has been handed out
}

func (t *tokens) Token() (xml.Token, error) {
	if len(t.stack) == 0 {
		return nil, io.EOF
	}
	f := &t.stack[len(t.stack)-1]
	if !f.text {
		f.text = true
		if f.n.Text != "" {
			return xml.CharData(f.n.Text), nil
		}
	}
	if f.next < len(f.n.Kids) {
		k := f.n.Kids[f.next]
		f.next++
		t.stack = append(t.stack, frame{n: k})
		start := xml.StartElement{Name: xmlName(k.Name)}
		for _, a := range k.Attrs {
			start.Attr = append(start.Attr, xml.Attr{Name: xmlName(a.Name), Value: a.Value})
		}
		return start, nil
	}
	t.stack = t.stack[:len(t.stack)-1]
	if len(t.stack) == 0 {
		return nil, io.EOF
	}
	return xml.EndElement{Name: xmlName(f.n.Name)}, nil
}

func xmlName(name string) xml.Name {
	prefix, local, ok := strings.Cut(name, ":")
	if !ok {
		return xml.Name{Local: name}
	}
	return xml.Name{Space: prefix, Local: local}
}

// Clone returns a copy that shares nothing with d.
func Clone(d *libvirtxml.Domain) (*libvirtxml.Domain, error) {
	root, err := fromStruct(d)
	if err != nil {
		return nil, fmt.Errorf("clone: %w", err)
	}
	return toStruct(root)
}
