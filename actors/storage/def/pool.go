package def

import (
	"encoding/xml"
	"fmt"
	"path"
	"strings"

	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

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
	Source      libvirtxml.StoragePoolSource
	Path        string // of the target
	Permissions Permissions

	Capacity, Allocation, Available uint64 // found out while it is active
}

// ParsePool reads a pool's document. A missing UUID is made up.
func ParsePool(doc string) (*Pool, error) {
	root, err := read(doc, "pool", "(storage_pool_definition)")
	if err != nil {
		return nil, err
	}
	return parsePool(root, doc)
}

func parsePool(root *element, doc string) (*Pool, error) {
	t, ok := root.lookup("type")
	if !ok {
		return nil, liberr.New(liberr.FromXML, liberr.XMLError, "Missing required attribute 'type' in element 'pool'")
	}
	p := &Pool{Permissions: NoPermissions}
	if p.Kind, _ = KindNamed(t); p.Kind == nil {
		return nil, liberr.New(liberr.FromXML, liberr.XMLError, "Invalid value for attribute 'type' in element 'pool': '%s'.", t)
	}
	if err := p.parseSource(root.find("source"), doc); err != nil {
		return nil, err
	}
	if p.Name = root.text("name"); p.Name == "" && p.Kind.shows&partName != 0 {
		p.Name = p.Source.Name
	}
	switch {
	case p.Name == "":
		return nil, badXML("missing pool source name element")
	case strings.Contains(p.Name, "/"):
		return nil, badXML("name %s cannot contain '/'", p.Name)
	}
	if s := root.text("uuid"); s == "" {
		p.UUID = protocol.UUID(uuid.New())
	} else if p.UUID, ok = parseUUID(s); !ok {
		return nil, badXML("malformed uuid element")
	}
	if err := p.checkSource(); err != nil {
		return nil, err
	}
	if err := p.parseFeatures(root); err != nil {
		return nil, err
	}
	return p, p.parseTarget(root)
}

func (p *Pool) parseFeatures(root *element) error {
	if cow := root.find("features", "cow"); cow != nil {
		if p.COW = cow.attr("state"); p.COW != "yes" && p.COW != "no" {
			return liberr.New(liberr.FromXML, liberr.XMLError, "Invalid value for attribute 'state' in element 'cow': '%s'.", p.COW)
		}
	}
	if v := root.find("refresh", "volume"); v != nil {
		if p.Refresh = v.attr("allocation"); p.Refresh != "default" && p.Refresh != "capacity" && p.Refresh != "" {
			return liberr.New(from, liberr.ConfigUnsupported, "unknown storage pool volume refresh allocation type %s", p.Refresh)
		}
	}
	return nil
}

// parseSource reads the source with the types of the XML library; what follows from it is checked by checkSource.
func (p *Pool) parseSource(e *element, doc string) error {
	var whole struct {
		Source *libvirtxml.StoragePoolSource `xml:"source"`
	}
	if e != nil {
		if err := xml.Unmarshal([]byte(doc), &whole); err != nil {
			return badXML("malformed source element").(*liberr.Error).WithCause(err)
		}
		if whole.Source != nil {
			p.Source = *whole.Source
		}
	}
	s := &p.Source
	if s.Dir != nil {
		s.Dir.Path = cleanPath(s.Dir.Path)
	}
	if p.Kind.DefaultSource == "" {
		s.Format = nil
		return nil
	}
	if s.Format == nil || s.Format.Type == "" {
		s.Format = &libvirtxml.StoragePoolSourceFormat{Type: p.Kind.DefaultSource}
	} else if !has(p.Kind.Source, s.Format.Type) {
		return liberr.New(from, liberr.ConfigUnsupported, "unknown pool format type %s", s.Format.Type)
	}
	return nil
}

func (p *Pool) checkSource() error {
	needs := func(part parts, there bool, what string) error {
		if p.Kind.needs&part != 0 && !there {
			return badXML("missing storage pool source %s", what)
		}
		return nil
	}
	s := &p.Source
	for _, err := range []error{
		needs(partHost, len(s.Host) > 0 && s.Host[0].Name != "", "host name"),
		needs(partDir, s.Dir != nil && s.Dir.Path != "", "path"),
		needs(partAdapter, s.Adapter != nil, "adapter"),
		needs(partDevice, len(s.Device) > 0 && s.Device[0].Path != "", "device name"),
	} {
		if err != nil {
			return err
		}
	}
	if p.Kind.shows&partName != 0 && s.Name == "" {
		s.Name = p.Name
	}
	return nil
}

func (p *Pool) parseTarget(root *element) (err error) {
	if p.Kind.shows&partNetwork != 0 {
		return nil
	}
	switch p.Kind.Name {
	case "logical":
		p.Path = "/dev/" + p.Source.Name
	case "zfs":
		p.Path = "/dev/zvol/" + p.Source.Name
	default:
		if p.Path = cleanPath(root.text("target", "path")); p.Path == "" {
			return badXML("missing storage pool target path")
		}
	}
	p.Permissions, err = parsePermissions(root.find("target", "permissions"))
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
		return a.Host[0] == b.Host[0] && a.Dir.Path == b.Dir.Path
	case "fs", "disk":
		return a.Device[0].Path == b.Device[0].Path
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
	pool := root.find("pool")
	if pool == nil {
		return nil, badXML("unexpected root element <poolstate> without <pool>")
	}
	i, j := strings.Index(doc, "<pool "), strings.LastIndex(doc, "</poolstate>")
	if i < 0 || j < i {
		return nil, badXML("malformed pool state")
	}
	return parsePool(pool, doc[i:j])
}

func (p *Pool) format(b *strings.Builder, in string) {
	fmt.Fprintf(b, "%s<pool type='%s'>\n%s  <name>%s</name>\n%s  <uuid>%s</uuid>\n", in, p.Kind.Name, in, esc(p.Name), in, p.UUID)
	fmt.Fprintf(b, "%s  <capacity unit='bytes'>%d</capacity>\n%s  <allocation unit='bytes'>%d</allocation>\n%s  <available unit='bytes'>%d</available>\n",
		in, p.Capacity, in, p.Allocation, in, p.Available)
	if p.COW != "" {
		fmt.Fprintf(b, "%s  <features>\n%s    <cow state='%s'/>\n%s  </features>\n", in, in, p.COW, in)
	}
	p.formatSource(b, in+"  ")
	if p.Kind.shows&partNetwork == 0 {
		fmt.Fprintf(b, "%s  <target>\n%s    <path>%s</path>\n", in, in, esc(p.Path))
		p.Permissions.format(b, in+"    ")
		fmt.Fprintf(b, "%s  </target>\n", in)
	}
	if p.Refresh != "" {
		fmt.Fprintf(b, "%s  <refresh>\n%s    <volume allocation='%s'/>\n%s  </refresh>\n", in, in, p.Refresh, in)
	}
	b.WriteString(in + "</pool>\n")
}

func (p *Pool) formatSource(b *strings.Builder, in string) {
	s, shows := &p.Source, p.Kind.shows
	line := func(format string, args ...any) { fmt.Fprintf(b, in+"  "+format+"\n", args...) }
	b.WriteString(in + "<source>\n")
	if shows&partHost != 0 {
		for _, h := range s.Host {
			port := ""
			if h.Port != "" && h.Port != "0" {
				port = " port='" + esc(h.Port) + "'"
			}
			line("<host name='%s'%s/>", esc(h.Name), port)
		}
	}
	if shows&partDevice != 0 {
		for _, d := range s.Device {
			sep := ""
			if d.PartSeparator != "" {
				sep = " part_separator='" + esc(d.PartSeparator) + "'"
			}
			if len(d.FreeExtents) == 0 {
				line("<device path='%s'%s/>", esc(d.Path), sep)
				continue
			}
			line("<device path='%s'%s>", esc(d.Path), sep)
			for _, f := range d.FreeExtents {
				line("  <freeExtent start='%d' end='%d'/>", f.Start, f.End)
			}
			line("</device>")
		}
	}
	if shows&partDir != 0 && s.Dir != nil {
		line("<dir path='%s'/>", esc(s.Dir.Path))
	}
	if shows&partName != 0 && s.Name != "" {
		line("<name>%s</name>", esc(s.Name))
	}
	if shows&partInitiator != 0 && s.Initiator != nil && s.Initiator.IQN.Name != "" {
		line("<initiator>\n%s    <iqn name='%s'/>\n%s  </initiator>", in, esc(s.Initiator.IQN.Name), in)
	}
	if s.Format != nil {
		line("<format type='%s'/>", esc(s.Format.Type))
	}
	if s.Protocol != nil && s.Protocol.Version != "" {
		line("<protocol ver='%s'/>", esc(s.Protocol.Version))
	}
	if s.Vendor != nil && s.Vendor.Name != "" {
		line("<vendor name='%s'/>", esc(s.Vendor.Name))
	}
	if s.Product != nil && s.Product.Name != "" {
		line("<product name='%s'/>", esc(s.Product.Name))
	}
	b.WriteString(in + "</source>\n")
}
