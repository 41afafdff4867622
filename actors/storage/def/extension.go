package def

import (
	"fmt"
	"strings"

	"virtree/actors/internal/xmltree"
)

// Option is one that is handed to what mounts a file system or speaks to a cluster.
type Option struct{ Name, Value string }

// extension is what documents of some kinds have in a name space of their own.
type extension struct {
	prefix, space string
	element       string
	what          string // libvirt's word in its errors
	values        bool   // options have values
}

var extensions = map[string]*extension{
	"fs":    {prefix: "fs", space: "http://libvirt.org/schemas/storagepool/fs/1.0", element: "mount_opts", what: "fs mount option"},
	"netfs": {prefix: "fs", space: "http://libvirt.org/schemas/storagepool/fs/1.0", element: "mount_opts", what: "fs mount option"},
	"rbd":   {prefix: "rbd", space: "http://libvirt.org/schemas/storagepool/rbd/1.0", element: "config_opts", what: "rbd option", values: true},
}

func (x *extension) parse(root *node) (options []Option, err error) {
	if x == nil {
		return nil, nil
	}
	for _, group := range root.Kids {
		if !group.Is(x.space, x.element) {
			continue
		}
		for _, o := range group.Kids {
			if !o.Is(x.space, "option") {
				continue
			}
			name, named := o.Lookup("name")
			value, valued := o.Lookup("value")
			switch {
			case !named:
				return nil, badXML("no %s name specified", x.what)
			case name == "" && x.values:
				return nil, badXML("empty %s name specified", x.what)
			case x.values && !valued:
				return nil, badXML("no %s value specified for name '%s'", x.what, name)
			case x.values && value == "":
				return nil, badXML("empty %s value specified for name '%s'", x.what, name)
			}
			options = append(options, Option{Name: name, Value: value})
		}
	}
	return options, nil
}

// declaration is the attribute of the root that a document with options has.
func (x *extension) declaration(options []Option) string {
	if x == nil || len(options) == 0 {
		return ""
	}
	return " xmlns:" + x.prefix + "='" + x.space + "'"
}

func (x *extension) format(b *strings.Builder, options []Option, in string) {
	if x == nil || len(options) == 0 {
		return
	}
	fmt.Fprintf(b, "%s<%s:%s>\n", in, x.prefix, x.element)
	for _, o := range options {
		value := ""
		if x.values {
			value = " value='" + xmltree.Escape(o.Value) + "'"
		}
		fmt.Fprintf(b, "%s  <%s:option name='%s'%s/>\n", in, x.prefix, xmltree.Escape(o.Name), value)
	}
	fmt.Fprintf(b, "%s</%s:%s>\n", in, x.prefix, x.element)
}
