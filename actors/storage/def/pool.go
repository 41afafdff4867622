package def

import (
	"fmt"
	"path"
	"strings"

	"github.com/google/uuid"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Pool is what a pool's document says, and what is known of the pool. It is a value: changed by replacing it.
type Pool struct {
	Kind        *Kind
	Name        string
	UUID        protocol.UUID
	COW         string // "", "yes" or "no"
	Refresh     string // allocation of volumes at a refresh: "", "default" or "capacity"
	Source      Source
	Path        string // of the target
	Permissions Permissions
	Options     []Option // of the mount, or of the cluster's client

	Capacity, Allocation, Available uint64 // found out while it is active
}

// ParsePool reads a pool's document. A missing UUID is made up.
func ParsePool(doc string) (*Pool, error) { return parsePoolDoc(doc, false) }

// ParseValidPool is ParsePool for a document that must have nothing but what the schema knows.
func ParseValidPool(doc string) (*Pool, error) { return parsePoolDoc(doc, true) }

func parsePoolDoc(doc string, validate bool) (*Pool, error) {
	root, err := read(doc, "pool", "(storage_pool_definition)")
	if err == nil && validate {
		err = poolRule.checkSchema(root, "storagepool.rng")
	}
	if err != nil {
		return nil, err
	}
	return parsePool(root)
}

func parsePool(root *node) (_ *Pool, err error) {
	t, ok := root.Lookup("type")
	if !ok {
		return nil, liberr.New(liberr.FromXML, liberr.XMLError, "Missing required attribute 'type' in element 'pool'")
	}
	p := &Pool{Permissions: NoPermissions}
	if p.Kind, _ = KindNamed(t); p.Kind == nil {
		return nil, liberr.New(liberr.FromXML, liberr.XMLError, "Invalid value for attribute 'type' in element 'pool': '%s'.", t)
	}
	if p.Source, err = parseSource(root.Kid("source"), p.Kind); err != nil {
		return nil, err
	}
	if p.Name = root.KidText("name"); p.Name == "" && p.Kind.shows&partName != 0 {
		p.Name = p.Source.Name
	}
	switch {
	case p.Name == "":
		return nil, badXML("missing pool source name element")
	case strings.Contains(p.Name, "/"):
		return nil, badXML("name %s cannot contain '/'", p.Name)
	case strings.Contains(p.Name, "\n"):
		return nil, liberr.Raw(liberr.FromXML, liberr.XMLDetail, "invalid char in name: \n")
	}
	if s := root.KidText("uuid"); s == "" {
		p.UUID = protocol.UUID(uuid.New())
	} else if p.UUID, ok = xmltree.UUID(s); !ok {
		return nil, badXML("malformed uuid element")
	}
	if err = p.parseFeatures(root); err != nil {
		return nil, err
	}
	if err = p.Source.check(p.Kind); err != nil {
		return nil, err
	}
	if p.Kind.shows&partName != 0 && p.Source.Name == "" {
		p.Source.Name = p.Name
	}
	if err = p.parseTarget(root); err != nil {
		return nil, err
	}
	if err = p.parseRefresh(root); err != nil {
		return nil, err
	}
	p.Options, err = extensions[p.Kind.Name].parse(root)
	return p, err
}

func (p *Pool) parseFeatures(root *node) (err error) {
	if cow := root.Kid("features/cow"); cow != nil {
		p.COW, err = yesNo(cow, "state")
	}
	return err
}

func (p *Pool) parseRefresh(root *node) error {
	v := root.Kid("refresh/volume")
	if v == nil {
		return nil
	}
	if p.Refresh = v.Get("allocation"); p.Refresh != "default" && p.Refresh != "capacity" && p.Refresh != "" {
		return liberr.New(from, liberr.ConfigUnsupported, "unknown storage pool volume refresh allocation type %s", p.Refresh)
	}
	return nil
}

func (p *Pool) parseTarget(root *node) (err error) {
	if p.Kind.shows&partNetwork != 0 {
		return nil
	}
	switch p.Kind.Name {
	case "logical":
		p.Path = "/dev/" + p.Source.Name
	case "zfs":
		p.Path = "/dev/zvol/" + p.Source.Name
	default:
		if p.Path = cleanPath(root.KidText("target/path")); p.Path == "" {
			return badXML("missing storage pool target path")
		}
	}
	p.Permissions, err = parsePermissions(root.Kid("target/permissions"))
	return err
}

// Conflicts tells whether two pools would manage the same storage.
func (p *Pool) Conflicts(o *Pool) bool {
	if p.Kind != o.Kind {
		return false
	}
	a, b := &p.Source, &o.Source
	switch p.Kind.Name {
	case "dir", "mpath":
		return p.Path == o.Path
	case "netfs":
		return a.Hosts[0] == b.Hosts[0] && a.Dir == b.Dir
	case "fs", "disk":
		return a.Device() == b.Device()
	case "logical", "zfs", "vstorage":
		return a.Name == b.Name
	}
	return false
}

// VolumePath is where a volume of that name is, in pools whose volumes are files in the target's folder.
func (p *Pool) VolumePath(name string) string { return path.Join(p.Path, name) }

// Format prints the pool as libvirt does.
func (p *Pool) Format() string {
	var b strings.Builder
	p.format(&b, "")
	return b.String()
}

// FormatState prints the file that says that a pool is active.
func (p *Pool) FormatState() string {
	var b strings.Builder
	b.WriteString("<poolstate>\n")
	p.format(&b, "  ")
	b.WriteString("</poolstate>\n")
	return b.String()
}

// ParseState reads what FormatState prints.
func ParseState(doc string) (*Pool, error) {
	root, err := read(doc, "poolstate", "(storage_pool_definition)")
	if err != nil {
		return nil, err
	}
	pool := root.Kid("pool")
	if pool == nil {
		return nil, badXML("unexpected root element <poolstate> without <pool>")
	}
	return parsePool(pool)
}

func (p *Pool) format(b *strings.Builder, in string) {
	x := extensions[p.Kind.Name]
	fmt.Fprintf(b, "%s<pool type='%s'%s>\n%s  <name>%s</name>\n%s  <uuid>%s</uuid>\n", in, p.Kind.Name, x.declaration(p.Options), in, xmltree.Escape(p.Name), in, p.UUID)
	fmt.Fprintf(b, "%s  <capacity unit='bytes'>%d</capacity>\n%s  <allocation unit='bytes'>%d</allocation>\n%s  <available unit='bytes'>%d</available>\n",
		in, p.Capacity, in, p.Allocation, in, p.Available)
	if p.COW != "" {
		fmt.Fprintf(b, "%s  <features>\n%s    <cow state='%s'/>\n%s  </features>\n", in, in, p.COW, in)
	}
	p.Source.format(b, p.Kind, in+"  ")
	if p.Kind.shows&partNetwork == 0 {
		fmt.Fprintf(b, "%s  <target>\n%s    <path>%s</path>\n", in, in, xmltree.Escape(p.Path))
		p.Permissions.format(b, in+"    ")
		fmt.Fprintf(b, "%s  </target>\n", in)
	}
	if p.Refresh != "" {
		fmt.Fprintf(b, "%s  <refresh>\n%s    <volume allocation='%s'/>\n%s  </refresh>\n", in, in, p.Refresh, in)
	}
	x.format(b, p.Options, in+"  ")
	b.WriteString(in + "</pool>\n")
}
