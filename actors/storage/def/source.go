package def

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// Source says where the storage of a pool is. Which parts a kind has is in Kinds.
type Source struct {
	Hosts     []Host
	Devices   []Device
	Dir       string
	Adapter   *Adapter
	Name      string
	Initiator string // IQN
	Auth      *Auth
	Format    string
	Protocol  string // version of the protocol of a server
	Vendor    string
	Product   string
}

// Host is a server; port 0 is the protocol's own.
type Host struct {
	Name string
	Port int
}

// Device is a block device, or the target of an iSCSI server.
type Device struct {
	Path          string
	PartSeparator string   // "", "yes" or "no": a p between the device's name and a partition's number
	FreeExtents   []Extent // of a disk, found out while the pool is active
}

// Extent is a range of bytes on a device; End is the first byte behind it.
type Extent struct{ Start, End uint64 }

// Device returns the first device, "" where there is none.
func (s *Source) Device() string {
	if len(s.Devices) == 0 {
		return ""
	}
	return s.Devices[0].Path
}

// yesNo reads an attribute that is yes, no or not there.
func yesNo(e *node, attr string) (string, error) {
	v, there := e.Lookup(attr)
	if there && v != "yes" && v != "no" {
		return "", e.BadValue(attr, v, "")
	}
	return v, nil
}

func parseSource(e *node, kind *Kind) (s Source, err error) {
	s.Format = kind.DefaultSource
	if e == nil {
		return s, nil
	}
	if s.Name = e.KidText("name"); s.Name == "" && kind.Name == "rbd" {
		return s, badXML("element 'name' is mandatory for RBD pool")
	}
	if f := e.Kid("format").Get("type"); f != "" && kind.DefaultSource != "" {
		if !has(kind.Source, f) {
			return s, liberr.New(from, liberr.ConfigUnsupported, "unknown pool format type %s", f)
		}
		s.Format = f
	}
	if err = s.parseHosts(e); err != nil {
		return s, err
	}
	s.Initiator = e.Kid("initiator/iqn").Get("name")
	if err = s.parseDevices(e); err != nil {
		return s, err
	}
	if s.Dir = cleanPath(e.Kid("dir").Get("path")); s.Dir == "" && kind.Name == "gluster" {
		s.Dir = "/"
	}
	if a := e.Kid("adapter"); a != nil {
		if s.Adapter, err = parseAdapter(a); err != nil {
			return s, err
		}
	}
	if a := e.Kid("auth"); a != nil {
		if s.Auth, err = parseAuth(a); err != nil {
			return s, err
		}
	}
	if s.Protocol = e.Kid("protocol").Get("ver"); s.Protocol != "" {
		if err = checkProtocol(kind, s.Format); err != nil {
			return s, err
		}
	}
	s.Vendor, s.Product = e.Kid("vendor").Get("name"), e.Kid("product").Get("name")
	return s, nil
}

// checkProtocol refuses a version of the protocol where there is none.
//
// Compat: libvirt compares the format's number with those of netfs, whatever the kind.
func checkProtocol(kind *Kind, format string) error {
	n := slices.Index(kind.Source, format)
	if n <= 1 {
		return nil
	}
	netfs, _ := KindNamed("netfs")
	name := "(null)"
	if n < len(netfs.Source) {
		name = netfs.Source[n]
	}
	return liberr.New(from, liberr.ConfigUnsupported, "storage pool protocol ver unsupported for pool type '%s'", name)
}

func (s *Source) parseHosts(e *node) error {
	for _, h := range e.All("host") {
		name, named := h.Lookup("name")
		if !named {
			return badXML("missing storage pool host name")
		}
		host := Host{Name: name}
		if p, there := h.Lookup("port"); there {
			n, err := strconv.ParseInt(strings.TrimSpace(p), 10, 32)
			if err != nil {
				return h.BadValue("port", p, " Expected integer value")
			}
			host.Port = int(n)
		}
		s.Hosts = append(s.Hosts, host)
	}
	return nil
}

func (s *Source) parseDevices(e *node) (err error) {
	for _, d := range e.All("device") {
		path, there := d.Lookup("path")
		if !there {
			return badXML("missing storage pool source device path")
		}
		dev := Device{Path: path}
		if dev.PartSeparator, err = yesNo(d, "part_separator"); err != nil {
			return err
		}
		s.Devices = append(s.Devices, dev)
	}
	return nil
}

// check refuses a source that lacks what its kind needs.
func (s *Source) check(kind *Kind) error {
	needs := func(part parts, there bool, what string) error {
		if kind.needs&part != 0 && !there {
			return badXML("missing storage pool source %s", what)
		}
		return nil
	}
	for _, err := range []error{
		needs(partHost, len(s.Hosts) > 0 && s.Hosts[0].Name != "", "host name"),
		needs(partDir, s.Dir != "", "path"),
		needs(partAdapter, s.Adapter != nil, "adapter"),
		s.Adapter.check(kind),
		kind.checkInitiator(s),
		needs(partDevice, s.Device() != "", "device name"),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func (k *Kind) checkInitiator(s *Source) error {
	if k.Name == "iscsi-direct" && s.Initiator == "" {
		return liberr.New(from, liberr.ConfigUnsupported, "missing initiator IQN")
	}
	return nil
}

func (s *Source) format(b *strings.Builder, kind *Kind, in string) {
	line := func(format string, args ...any) { fmt.Fprintf(b, in+"  "+format+"\n", args...) }
	b.WriteString(in + "<source>\n")
	if kind.shows&partHost != 0 {
		for _, h := range s.Hosts {
			port := ""
			if h.Port != 0 {
				port = fmt.Sprintf(" port='%d'", h.Port)
			}
			line("<host name='%s'%s/>", xmltree.Escape(h.Name), port)
		}
	}
	if kind.shows&partDevice != 0 {
		for _, d := range s.Devices {
			d.format(line)
		}
	}
	if kind.shows&partDir != 0 && s.Dir != "" {
		line("<dir path='%s'/>", xmltree.Escape(s.Dir))
	}
	if kind.shows&partAdapter != 0 && s.Adapter != nil {
		s.Adapter.format(line)
	}
	if kind.shows&partName != 0 && s.Name != "" {
		line("<name>%s</name>", xmltree.Escape(s.Name))
	}
	if kind.shows&partInitiator != 0 && s.Initiator != "" {
		line("<initiator>")
		line("  <iqn name='%s'/>", xmltree.Escape(s.Initiator))
		line("</initiator>")
	}
	if s.Format != "" {
		line("<format type='%s'/>", xmltree.Escape(s.Format))
	}
	if s.Auth != nil {
		s.Auth.format(line)
	}
	if s.Protocol != "" {
		line("<protocol ver='%s'/>", xmltree.Escape(s.Protocol))
	}
	if s.Vendor != "" {
		line("<vendor name='%s'/>", xmltree.Escape(s.Vendor))
	}
	if s.Product != "" {
		line("<product name='%s'/>", xmltree.Escape(s.Product))
	}
	b.WriteString(in + "</source>\n")
}

func (d *Device) format(line func(string, ...any)) {
	sep := ""
	if d.PartSeparator != "" {
		sep = " part_separator='" + d.PartSeparator + "'"
	}
	if len(d.FreeExtents) == 0 {
		line("<device path='%s'%s/>", xmltree.Escape(d.Path), sep)
		return
	}
	line("<device path='%s'%s>", xmltree.Escape(d.Path), sep)
	for _, f := range d.FreeExtents {
		line("  <freeExtent start='%d' end='%d'/>", f.Start, f.End)
	}
	line("</device>")
}

// Sources prints what was found on a host or a server.
func Sources(kind *Kind, found []Source) string {
	var b strings.Builder
	b.WriteString("<sources>\n")
	for i := range found {
		found[i].format(&b, kind, "  ")
	}
	b.WriteString("</sources>\n")
	return b.String()
}

// ParseSourceSpec reads where sources are to be looked for; nil for no document.
func ParseSourceSpec(doc *string, kind *Kind) (*Source, error) {
	if doc == nil {
		return nil, nil
	}
	root, err := read(*doc, "source", "(storage_source_specification)")
	if err != nil {
		return nil, err
	}
	s, err := parseSource(root, kind)
	return &s, err
}
