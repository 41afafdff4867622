package def

import (
	"fmt"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// Volume is what a volume's document says, and what is known of the volume. One that an actor has published is never
// changed, only replaced.
type Volume struct {
	Name, Key, Path string
	Type            byte // virt.StorageVolFile ...
	Format          string
	Capacity        uint64
	Allocation      uint64
	Physical        uint64
	Permissions     Permissions
	Times           Times
	Encryption      *Encryption
	Compat          string // version of the image format
	ClusterSize     uint64
	NoCOW           bool
	Features        *Features
	Backing         *Backing
	Extents         []VolumeExtent // where it is, if it is a piece of a device

	CapacityGiven, AllocationGiven bool // by the document
	Identity                       any  // the backend's: tells whether the volume changed since it was looked at
}

// VolumeExtent is a range of bytes on a device.
type VolumeExtent struct {
	Device string
	Extent
}

// Times of a file. There is no time of birth: libvirt prints 0.
type Times struct{ Access, Modify, Change Time }

// Time is a point in time as the kernel counts.
type Time struct{ Sec, Nsec int64 }

// Features of an image of a format that has some.
type Features struct{ LazyRefcounts, ExtendedL2 bool }

// Backing is the image that a volume builds upon.
type Backing struct {
	Path, Format string
	Permissions  Permissions
	Times        *Times // nil while nobody has looked
	Identity     any    // like a volume's
}

var volumeTypes = []string{virt.StorageVolFile: "file", virt.StorageVolBlock: "block", virt.StorageVolDir: "dir",
	virt.StorageVolNetwork: "network", virt.StorageVolNetdir: "netdir", virt.StorageVolPloop: "ploop"}

// ParseVolume reads the document of a volume for a pool of that kind. Where sizeOptional, it need not say how large the
// volume is.
func ParseVolume(doc string, kind *Kind, sizeOptional bool) (*Volume, error) {
	return parseVolume(doc, kind, sizeOptional, false)
}

// ParseValidVolume is ParseVolume for a document that must have nothing but what the schema knows.
func ParseValidVolume(doc string, kind *Kind, sizeOptional bool) (*Volume, error) {
	return parseVolume(doc, kind, sizeOptional, true)
}

func parseVolume(doc string, kind *Kind, sizeOptional, validate bool) (*Volume, error) {
	root, err := read(doc, "volume", "(storage_volume_definition)")
	if err == nil && validate {
		err = volumeRule.checkSchema(root, "storagevol.rng")
	}
	if err != nil {
		return nil, err
	}
	v := &Volume{Permissions: NoPermissions, Name: root.KidText("name")}
	if v.Name == "" {
		return nil, badXML("missing volume name element")
	}
	if path := root.KidText("backingStore/path"); path != "" {
		v.Backing = &Backing{Path: path, Permissions: NoPermissions}
		if v.Backing.Format, err = volumeFormat(root.Kid("backingStore/format"), kind); err != nil {
			return nil, err
		}
		if v.Backing.Permissions, err = parsePermissions(root.Kid("backingStore/permissions")); err != nil {
			return nil, err
		}
	}
	if err := v.parseType(root); err != nil {
		return nil, err
	}
	if err := v.parseSizes(root, sizeOptional || v.Backing != nil); err != nil {
		return nil, err
	}
	return v, v.parseTarget(root.Kid("target"), kind)
}

func (v *Volume) parseType(root *node) error {
	t, ok := root.Lookup("type")
	if !ok {
		return nil
	}
	for i, name := range volumeTypes {
		if name == t {
			v.Type = byte(i)
			return nil
		}
	}
	return liberr.New(from, liberr.ConfigUnsupported, "unknown volume type '%s'", t)
}

func (v *Volume) parseSizes(root *node, optional bool) (err error) {
	c, a := root.Kid("capacity"), root.Kid("allocation")
	switch {
	case c != nil && c.Text != "":
		v.CapacityGiven = true
		if v.Capacity, err = size(c, "capacity"); err != nil {
			return err
		}
	case !optional:
		return badXML("missing capacity element")
	}
	v.Allocation = v.Capacity
	if a != nil && a.Text != "" {
		v.AllocationGiven = true
		v.Allocation, err = size(a, "capacity") // Compat: libvirt's words for both
	}
	return err
}

func (v *Volume) parseTarget(e *node, kind *Kind) (err error) {
	v.Path = e.KidText("path")
	if v.Format, err = volumeFormat(e.Kid("format"), kind); err != nil {
		return err
	}
	if v.Permissions, err = parsePermissions(e.Kid("permissions")); err != nil {
		return err
	}
	if v.Encryption, err = parseEncryption(e.Kid("encryption")); err != nil {
		return err
	}
	if v.Compat = e.KidText("compat"); v.Compat != "" && !validCompat(v.Compat) {
		return badXML("forbidden characters in 'compat' attribute")
	}
	if c := e.Kid("clusterSize"); c != nil {
		if v.ClusterSize, err = size(c, "clusterSize"); err != nil {
			return err
		}
	}
	v.NoCOW = e.Kid("nocow") != nil
	if f := e.Kid("features"); f != nil {
		if v.Compat == "" {
			v.Compat = "1.1"
		}
		v.Features = &Features{}
		for _, c := range f.Kids {
			switch c.Local() {
			case "lazy_refcounts":
				v.Features.LazyRefcounts = true
			case "extended_l2":
				v.Features.ExtendedL2 = true
			default:
				return liberr.New(from, liberr.ConfigUnsupported, "unsupported feature %s", c.Local())
			}
		}
	}
	return nil
}

func validCompat(s string) bool {
	major, minor, ok := strings.Cut(s, ".")
	if !ok {
		return false
	}
	_, err1 := strconv.ParseUint(major, 10, 32)
	_, err2 := strconv.ParseUint(minor, 10, 32)
	return err1 == nil && err2 == nil
}

// volumeFormat reads a format; kinds without formats have none, whatever the document says.
func volumeFormat(e *node, kind *Kind) (string, error) {
	if kind.DefaultVolume == "" {
		return "", nil
	}
	f := e.Get("type")
	if f == "" {
		return kind.DefaultVolume, nil
	}
	if !has(kind.Volume, f) || f == "none" && kind.Name != "disk" {
		return "", liberr.New(from, liberr.ConfigUnsupported, "unknown volume format type %s", f)
	}
	return f, nil
}

// XML prints the volume as libvirt does.
func (v *Volume) XML() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<volume type='%s'>\n  <name>%s</name>\n  <key>%s</key>\n", volumeTypes[v.Type], xmltree.Escape(v.Name), xmltree.Escape(v.Key))
	v.formatExtents(&b)
	fmt.Fprintf(&b, "  <capacity unit='bytes'>%d</capacity>\n  <allocation unit='bytes'>%d</allocation>\n", v.Capacity, v.Allocation)
	if v.Physical != 0 {
		fmt.Fprintf(&b, "  <physical unit='bytes'>%d</physical>\n", v.Physical)
	}
	formatTarget(&b, "target", v.Path, v.Format, v.Permissions, &v.Times)
	v.Encryption.format(&b)
	if v.Compat != "" {
		fmt.Fprintf(&b, "    <compat>%s</compat>\n", xmltree.Escape(v.Compat))
	}
	if v.ClusterSize != 0 {
		fmt.Fprintf(&b, "    <clusterSize unit='B'>%d</clusterSize>\n", v.ClusterSize)
	}
	if v.NoCOW {
		b.WriteString("    <nocow/>\n")
	}
	v.Features.format(&b)
	b.WriteString("  </target>\n")
	if s := v.Backing; s != nil {
		formatTarget(&b, "backingStore", s.Path, s.Format, s.Permissions, s.Times)
		b.WriteString("  </backingStore>\n")
	}
	b.WriteString("</volume>\n")
	return b.String()
}

func (v *Volume) formatExtents(b *strings.Builder) {
	if len(v.Extents) == 0 {
		return
	}
	b.WriteString("  <source>\n")
	for i, e := range v.Extents {
		if i == 0 || e.Device != v.Extents[i-1].Device {
			if i > 0 {
				b.WriteString("    </device>\n")
			}
			fmt.Fprintf(b, "    <device path='%s'>\n", xmltree.Escape(e.Device))
		}
		fmt.Fprintf(b, "      <extent start='%d' end='%d'/>\n", e.Start, e.End)
	}
	b.WriteString("    </device>\n  </source>\n")
}

func (f *Features) format(b *strings.Builder) {
	switch {
	case f == nil:
		return
	case *f == Features{}:
		b.WriteString("    <features/>\n")
		return
	}
	b.WriteString("    <features>\n")
	if f.LazyRefcounts {
		b.WriteString("      <lazy_refcounts/>\n")
	}
	if f.ExtendedL2 {
		b.WriteString("      <extended_l2/>\n")
	}
	b.WriteString("    </features>\n")
}

// formatTarget prints what target and backing store have in common, and leaves the element open.
func formatTarget(b *strings.Builder, element, path, format string, p Permissions, t *Times) {
	fmt.Fprintf(b, "  <%s>\n    <path>%s</path>\n", element, xmltree.Escape(path))
	if format != "" {
		fmt.Fprintf(b, "    <format type='%s'/>\n", xmltree.Escape(format))
	}
	p.format(b, "    ")
	if t != nil && *t != (Times{}) {
		fmt.Fprintf(b, "    <timestamps>\n      <atime>%s</atime>\n      <mtime>%s</mtime>\n      <ctime>%s</ctime>\n      <btime>0</btime>\n    </timestamps>\n", t.Access, t.Modify, t.Change)
	}
}

// String is how libvirt prints a time.
func (t Time) String() string {
	if t.Nsec == 0 {
		return strconv.FormatInt(t.Sec, 10)
	}
	return fmt.Sprintf("%d.%09d", t.Sec, t.Nsec)
}
