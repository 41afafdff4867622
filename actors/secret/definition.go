package secret

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// definition is what a secret's XML says.
type definition struct {
	uuid        protocol.UUID
	ephemeral   bool // never on disk
	private     bool // its value is not given to clients
	description string
	usageType   int32
	usageID     string // empty exactly when the type is none
}

// usage is one way a secret can be used: its name, the element that holds its id, and libvirt's complaint without one.
type usage struct{ name, element, missing string }

var usages = []usage{
	virt.SecretUsageTypeNone:   {name: "none"},
	virt.SecretUsageTypeVolume: {"volume", "volume", "volume usage specified, but volume path is missing"},
	virt.SecretUsageTypeCeph:   {"ceph", "name", "Ceph usage specified, but name is missing"},
	virt.SecretUsageTypeIscsi:  {"iscsi", "target", "iSCSI usage specified, but target is missing"},
	virt.SecretUsageTypeTLS:    {"tls", "name", "TLS usage specified, but name is missing"},
	virt.SecretUsageTypeVtpm:   {"vtpm", "name", "vTPM usage specified, but name is missing"},
}

var document = xmltree.Reader{Origin: "(definition_of_secret)", From: from, Root: "secret"}

// parse reads a definition. validate also holds it against the schema. A missing UUID is made up.
func parse(doc []byte, validate bool) (*definition, error) {
	root, err := document.Read(string(doc))
	if err != nil {
		return nil, err
	}
	if validate {
		if err := checkSchema(root); err != nil {
			return nil, err
		}
	}
	d := &definition{description: root.KidText("description")}
	if d.ephemeral, err = yesNo(root, "ephemeral"); err != nil {
		return nil, err
	}
	if d.private, err = yesNo(root, "private"); err != nil {
		return nil, err
	}
	if s := root.KidText("uuid"); s == "" {
		d.uuid = protocol.UUID(uuid.New())
	} else if d.uuid, err = parseUUID(s); err != nil {
		return nil, err
	}
	if u := root.Kid("usage"); u != nil {
		if err := d.parseUsage(u); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func yesNo(e *xmltree.Node, name string) (bool, error) {
	switch e.Get(name) {
	case "yes":
		return true, nil
	case "no", "":
		return false, nil
	}
	return false, liberr.New(from, liberr.XMLError, "invalid value of '%s'", name)
}

func (d *definition) parseUsage(u *xmltree.Node) error {
	name := u.Get("type")
	if name == "" {
		return liberr.New(from, liberr.XMLError, "unknown secret usage type")
	}
	for t := range usages {
		if usages[t].name != name {
			continue
		}
		d.usageType = int32(t)
		if t == virt.SecretUsageTypeNone {
			return nil
		}
		if d.usageID = u.KidText(usages[t].element); d.usageID == "" {
			return liberr.New(from, liberr.InternalError, "%s", usages[t].missing)
		}
		return nil
	}
	return liberr.New(from, liberr.ConfigUnsupported, "unknown secret usage type %s", name)
}

func parseUUID(s string) (protocol.UUID, error) {
	u, ok := xmltree.UUID(s)
	if !ok {
		return u, liberr.New(from, liberr.InternalError, "malformed uuid element")
	}
	return u, nil
}

// format prints the definition as libvirt does.
func (d *definition) format() string {
	yn := map[bool]string{false: "no", true: "yes"}
	var b strings.Builder
	fmt.Fprintf(&b, "<secret ephemeral='%s' private='%s'>\n  <uuid>%s</uuid>\n", yn[d.ephemeral], yn[d.private], d.uuid)
	if d.description != "" {
		fmt.Fprintf(&b, "  <description>%s</description>\n", xmltree.Escape(d.description))
	}
	if d.usageType != virt.SecretUsageTypeNone {
		u := usages[d.usageType]
		fmt.Fprintf(&b, "  <usage type='%s'>\n    <%s>%s</%s>\n  </usage>\n", u.name, u.element, xmltree.Escape(d.usageID), u.element)
	}
	b.WriteString("</secret>\n")
	return b.String()
}

// wire is how the protocol names the secret.
func (d *definition) wire() protocol.Secret {
	return protocol.Secret{UUID: d.uuid, UsageType: d.usageType, UsageID: d.usageID}
}
