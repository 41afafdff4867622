package def

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

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

func xmlError(format string, args ...any) error {
	return liberr.New(liberr.FromXML, liberr.XMLError, format, args...)
}

func badAttribute(attr, element, value string) error {
	return xmlError("Invalid value for attribute '%s' in element '%s': '%s'.", attr, element, value)
}

// yesNo reads an attribute that is yes, no or not there.
func (e *element) yesNo(attr string) (string, error) {
	v, there := e.lookup(attr)
	if there && v != "yes" && v != "no" {
		return "", badAttribute(attr, e.XMLName.Local, v)
	}
	return v, nil
}

func parseSource(e *element, kind *Kind) (s Source, err error) {
	s.Format = kind.DefaultSource
	if e == nil {
		return s, nil
	}
	if s.Name = e.text("name"); s.Name == "" && kind.Name == "rbd" {
		return s, badXML("element 'name' is mandatory for RBD pool")
	}
	if f := e.find("format").attr("type"); f != "" && kind.DefaultSource != "" {
		if !has(kind.Source, f) {
			return s, liberr.New(from, liberr.ConfigUnsupported, "unknown pool format type %s", f)
		}
		s.Format = f
	}
	if err = s.parseHosts(e); err != nil {
		return s, err
	}
	s.Initiator = e.find("initiator", "iqn").attr("name")
	if err = s.parseDevices(e); err != nil {
		return s, err
	}
	if s.Dir = cleanPath(e.find("dir").attr("path")); s.Dir == "" && kind.Name == "gluster" {
		s.Dir = "/"
	}
	if a := e.find("adapter"); a != nil {
		if s.Adapter, err = parseAdapter(a); err != nil {
			return s, err
		}
	}
	if a := e.find("auth"); a != nil {
		if s.Auth, err = parseAuth(a); err != nil {
			return s, err
		}
	}
	if s.Protocol = e.find("protocol").attr("ver"); s.Protocol != "" {
		if err = checkProtocol(kind, s.Format); err != nil {
			return s, err
		}
	}
	s.Vendor, s.Product = e.find("vendor").attr("name"), e.find("product").attr("name")
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

func (s *Source) parseHosts(e *element) error {
	for _, h := range e.all("host") {
		name, named := h.lookup("name")
		if !named {
			return badXML("missing storage pool host name")
		}
		host := Host{Name: name}
		if p, there := h.lookup("port"); there {
			n, err := strconv.ParseInt(strings.TrimSpace(p), 10, 32)
			if err != nil {
				return xmlError("Invalid value for attribute 'port' in element 'host': '%s'. Expected integer value", p)
			}
			host.Port = int(n)
		}
		s.Hosts = append(s.Hosts, host)
	}
	return nil
}

func (s *Source) parseDevices(e *element) (err error) {
	for _, d := range e.all("device") {
		path, there := d.lookup("path")
		if !there {
			return badXML("missing storage pool source device path")
		}
		dev := Device{Path: path}
		if dev.PartSeparator, err = d.yesNo("part_separator"); err != nil {
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
			line("<host name='%s'%s/>", esc(h.Name), port)
		}
	}
	if kind.shows&partDevice != 0 {
		for _, d := range s.Devices {
			d.format(line)
		}
	}
	if kind.shows&partDir != 0 && s.Dir != "" {
		line("<dir path='%s'/>", esc(s.Dir))
	}
	if kind.shows&partAdapter != 0 && s.Adapter != nil {
		s.Adapter.format(line)
	}
	if kind.shows&partName != 0 && s.Name != "" {
		line("<name>%s</name>", esc(s.Name))
	}
	if kind.shows&partInitiator != 0 && s.Initiator != "" {
		line("<initiator>")
		line("  <iqn name='%s'/>", esc(s.Initiator))
		line("</initiator>")
	}
	if s.Format != "" {
		line("<format type='%s'/>", esc(s.Format))
	}
	if s.Auth != nil {
		s.Auth.format(line)
	}
	if s.Protocol != "" {
		line("<protocol ver='%s'/>", esc(s.Protocol))
	}
	if s.Vendor != "" {
		line("<vendor name='%s'/>", esc(s.Vendor))
	}
	if s.Product != "" {
		line("<product name='%s'/>", esc(s.Product))
	}
	b.WriteString(in + "</source>\n")
}

func (d *Device) format(line func(string, ...any)) {
	sep := ""
	if d.PartSeparator != "" {
		sep = " part_separator='" + d.PartSeparator + "'"
	}
	if len(d.FreeExtents) == 0 {
		line("<device path='%s'%s/>", esc(d.Path), sep)
		return
	}
	line("<device path='%s'%s>", esc(d.Path), sep)
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
