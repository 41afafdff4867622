package def

import (
	"fmt"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
)

// Permissions of a folder or file; -1 is what is not said.
type Permissions struct {
	Mode, Owner, Group int64
	Label              string
}

// NoPermissions says nothing.
var NoPermissions = Permissions{Mode: -1, Owner: -1, Group: -1}

func (p Permissions) empty() bool { return p == NoPermissions }

func parsePermissions(e *node) (Permissions, error) {
	p := NoPermissions
	if e == nil {
		return p, nil
	}
	if m := e.Kid("mode"); m != nil && m.Text != "" {
		n, err := strconv.ParseUint(m.Text, 8, 32)
		if err != nil || n > 0o777 {
			return p, badXML("malformed octal mode")
		}
		p.Mode = int64(n)
	}
	for _, f := range []struct {
		name string
		to   *int64
	}{{"owner", &p.Owner}, {"group", &p.Group}} {
		if c := e.Kid(f.name); c != nil {
			n, err := strconv.ParseInt(strings.TrimSpace(c.Text), 10, 64)
			if err != nil || n < -1 || n >= 1<<32 {
				return p, badXML("malformed %s element", f.name)
			}
			if n < 1<<32-1 { // which is -1 too
				*f.to = n
			}
		}
	}
	p.Label = e.KidText("label")
	return p, nil
}

func (p Permissions) format(b *strings.Builder, indent string) {
	if p.empty() {
		return
	}
	b.WriteString(indent + "<permissions>\n")
	if p.Mode != -1 {
		fmt.Fprintf(b, "%s  <mode>0%o</mode>\n", indent, p.Mode)
	}
	if p.Owner != -1 {
		fmt.Fprintf(b, "%s  <owner>%d</owner>\n", indent, p.Owner)
	}
	if p.Group != -1 {
		fmt.Fprintf(b, "%s  <group>%d</group>\n", indent, p.Group)
	}
	if p.Label != "" {
		fmt.Fprintf(b, "%s  <label>%s</label>\n", indent, xmltree.Escape(p.Label))
	}
	b.WriteString(indent + "</permissions>\n")
}
