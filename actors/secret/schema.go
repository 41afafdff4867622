package secret

import (
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// schemaFile is the file libvirt names in its message; the schema of a secret is small enough to be checked by hand.
const schemaFile = "/usr/share/libvirt/schemas/secret.rng"

func invalid(why string) error {
	return liberr.New(liberr.FromXML, liberr.XMLInvalidSchema, "Unable to validate doc against %s\n%s\n", schemaFile, why)
}

// checkSchema says what the schema has against the document: what it must not contain, then what does not fit.
func checkSchema(root *xmltree.Node) error {
	for _, a := range root.Attrs {
		if a.Name != "xmlns" && (a.Name != "ephemeral" && a.Name != "private" || a.Value != "yes" && a.Value != "no") {
			return invalid("Invalid attribute " + a.Name + " for element secret")
		}
	}
	if strings.TrimSpace(root.Text) != "" {
		return invalid("Element secret has extra content: text")
	}
	seen := map[string]bool{}
	for _, c := range root.Kids {
		name := c.Local()
		fits := false
		switch name {
		case "description":
			fits = len(c.Kids) == 0
		case "uuid":
			_, err := parseUUID(c.Text)
			fits = err == nil
		case "usage":
			fits = usageFits(c)
		default:
			return invalid("Element secret has extra content: " + name)
		}
		if !fits || seen[name] {
			return invalid("Extra element " + name + " in interleave\nElement secret failed to validate content")
		}
		seen[name] = true
	}
	return nil
}

// usageFits: a type that is known, and exactly the element that belongs to it. The path of a volume is absolute.
func usageFits(u *xmltree.Node) bool {
	if len(u.Kids) != 1 || len(u.Attrs) != 1 {
		return false
	}
	for _, k := range usages[1:] {
		if k.name == u.Get("type") {
			id := u.KidText(k.element)
			return id != "" && (k.element != "volume" || strings.HasPrefix(id, "/"))
		}
	}
	return false
}
