package qemu

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/disk"
	"virtree/actors/internal/xmltree"
	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
)

// snapshot is what is known of one snapshot: the point in a tree of points to which the domain can go back. The data
// are in the images; this is what libvirt calls metadata. It is a value once it is in the domain's list.
type snapshot struct {
	name, description string
	state             string // of the domain: "running", "paused", "shutoff", "disk-snapshot"
	created           int64
	parent            string // "" for a root
	memory            string // "no", "internal", "external"
	memoryFile        string
	disks             []snapshotDisk
	domain            string // the definition then, as text
	inactive          string // the persistent one beside it, of a running domain
	cookie            string // libvirt's own, kept as it is
}

// snapshotDisk is what a snapshot has of one disk.
type snapshotDisk struct {
	name   string // target
	mode   string // "no", "internal", "external"
	format string // of the new image of an external one
	source *libvirtxml.DomainDiskSource
}

func (s *snapshot) external() bool {
	if s.memory == "external" {
		return true
	}
	for _, d := range s.disks {
		if d.mode == "external" {
			return true
		}
	}
	return false
}

// path is the new image of an external disk.
func (d snapshotDisk) path() string {
	if d.source == nil {
		return ""
	}
	return sourcePath(d.source)
}

// stateWord is the domain's state in a snapshot's own words.
func (l life) stateWord() string {
	word, _ := l.words()
	return word
}

// indent moves a document in by two columns.
func indent(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return "  " + strings.Join(lines, "\n  ") + "\n"
}

// xml prints the snapshot. private adds what only the file on disk has.
func (s *snapshot) xml(private, current bool) string {
	var b strings.Builder
	b.WriteString("<domainsnapshot>\n")
	fmt.Fprintf(&b, "  <name>%s</name>\n", xmlText(s.name))
	if s.description != "" {
		fmt.Fprintf(&b, "  <description>%s</description>\n", xmlText(s.description))
	}
	fmt.Fprintf(&b, "  <state>%s</state>\n", s.state)
	if s.parent != "" {
		fmt.Fprintf(&b, "  <parent>\n    <name>%s</name>\n  </parent>\n", xmlText(s.parent))
	}
	fmt.Fprintf(&b, "  <creationTime>%d</creationTime>\n", s.created)
	if s.memory != "" {
		fmt.Fprintf(&b, "  <memory snapshot='%s'", s.memory)
		if s.memoryFile != "" {
			fmt.Fprintf(&b, " file='%s'", escape(s.memoryFile))
		}
		b.WriteString("/>\n")
	}
	if len(s.disks) > 0 {
		b.WriteString("  <disks>\n")
		for _, d := range s.disks {
			d.print(&b)
		}
		b.WriteString("  </disks>\n")
	}
	b.WriteString(indent(s.domain))
	if private {
		if s.inactive != "" {
			body := strings.Replace(strings.TrimRight(s.inactive, "\n"), "<domain", "<inactiveDomain", 1)
			body = strings.TrimSuffix(body, "</domain>") + "</inactiveDomain>"
			b.WriteString(indent(body))
		}
		if s.cookie != "" {
			fmt.Fprintf(&b, "  <cookie>%s</cookie>\n", s.cookie)
		}
		active := 0
		if current {
			active = 1
		}
		fmt.Fprintf(&b, "  <active>%d</active>\n", active)
	}
	b.WriteString("</domainsnapshot>\n")
	return b.String()
}

func (d snapshotDisk) print(b *strings.Builder) {
	fmt.Fprintf(b, "    <disk name='%s' snapshot='%s'", escape(d.name), d.mode)
	if d.mode != "external" || d.source == nil {
		b.WriteString("/>\n")
		return
	}
	kind, attr := "file", "file"
	if d.source.Block != nil {
		kind, attr = "block", "dev"
	}
	fmt.Fprintf(b, " type='%s'>\n", kind)
	if d.format != "" {
		fmt.Fprintf(b, "      <driver type='%s'/>\n", d.format)
	}
	fmt.Fprintf(b, "      <source %s='%s'/>\n    </disk>\n", attr, escape(d.path()))
}

// xmlText escapes what stands between tags; quotes may stay there.
func xmlText(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

var snapshotDocument = xmltree.Reader{Origin: "(domain_snapshot)", From: liberr.FromDomainSnapshot, Root: "domainsnapshot"}

// parseSnapshot reads a snapshot's document, a client's or a stored one.
func parseSnapshot(doc string) (s *snapshot, current bool, err error) {
	if _, err := snapshotDocument.Read(doc); err != nil {
		return nil, false, err
	}
	var x libvirtxml.DomainSnapshot
	if err := xml.Unmarshal([]byte(stripHeader(doc)), &x); err != nil {
		return nil, false, liberr.New(liberr.FromXML, liberr.XMLError, "%v", err)
	}
	s = &snapshot{name: x.Name, description: x.Description, state: x.State}
	if x.CreationTime != "" {
		if s.created, err = strconv.ParseInt(strings.TrimSpace(x.CreationTime), 10, 64); err != nil {
			return nil, false, liberr.New(liberr.FromDomainSnapshot, liberr.XMLError, "invalid creationTime value: %s", x.CreationTime)
		}
	}
	if x.Parent != nil {
		s.parent = x.Parent.Name
	}
	if x.Memory != nil {
		s.memory, s.memoryFile = x.Memory.Snapshot, x.Memory.File
	}
	if x.Disks != nil {
		for _, d := range x.Disks.Disks {
			one := snapshotDisk{name: d.Name, mode: d.Snapshot, source: d.Source}
			if d.Driver != nil {
				one.format = d.Driver.Type
			}
			if d.Source != nil && sourcePath(d.Source) == "" {
				one.source = nil
			}
			s.disks = append(s.disks, one)
		}
	}
	if x.Cookie != nil {
		s.cookie = x.Cookie.XML
	}
	s.domain = unindent(element(doc, "<domain ", "</domain>"))
	if in := unindent(element(doc, "<inactiveDomain", "</inactiveDomain>")); in != "" {
		s.inactive = strings.Replace(strings.TrimSuffix(strings.TrimRight(in, "\n"), "</inactiveDomain>"), "<inactiveDomain", "<domain", 1) + "</domain>\n"
	}
	return s, x.Active != nil && *x.Active != 0, nil
}

// element cuts an element out of a document, as it stands.
func element(doc, open, end string) string {
	i := strings.Index(doc, open)
	if i < 0 {
		return ""
	}
	j := strings.Index(doc[i:], end)
	if j < 0 {
		return ""
	}
	return doc[i : i+j+len(end)]
}

// unindent takes back what indent did: the first line has lost its columns already.
func unindent(s string) string {
	if s == "" {
		return ""
	}
	lines := strings.Split(s, "\n")
	for i, l := range lines[1:] {
		lines[i+1] = strings.TrimPrefix(l, "  ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// snapshotDir holds the metadata of a domain's snapshots, one file each.
func (s *shared) snapshotDir(name string) string {
	return filepath.Join(s.env.Paths.DriverLib("qemu"), "snapshot", name)
}

func (s *shared) snapshotPath(domain, name string) string {
	return filepath.Join(s.snapshotDir(domain), name+".xml")
}

// snapshotList is a domain's snapshots, oldest first, and the current one's name.
type snapshotList struct {
	all     []*snapshot
	current string
}

// readSnapshots loads what is on disk. A file that cannot be read is passed over.
func (s *shared) readSnapshots(domain string) snapshotList {
	var out snapshotList
	files, err := os.ReadDir(s.snapshotDir(domain))
	if err != nil {
		return out
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".xml") || strings.HasPrefix(f.Name(), ".") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(s.snapshotDir(domain), f.Name()))
		if err != nil {
			continue
		}
		snap, current, err := parseSnapshot(string(b))
		if err != nil || snap.name+".xml" != f.Name() {
			s.env.Log.Error().Err(err).Str("file", f.Name()).Str("domain", domain).Msg("not a snapshot's file")
			continue
		}
		out.all = append(out.all, snap)
		if current {
			out.current = snap.name
		}
	}
	sort.SliceStable(out.all, func(i, j int) bool { return out.all[i].created < out.all[j].created })
	return out
}

// storeSnapshot writes a snapshot's file.
func (s *shared) storeSnapshot(domain string, snap *snapshot, current bool) error {
	head := strings.Replace(header(domain), "virsh edit "+domain, "virsh snapshot-edit "+domain, 1)
	if err := disk.Write(s.snapshotPath(domain, snap.name), []byte(head+snap.xml(true, current)), 0o600); err != nil {
		return liberr.System(liberr.FromQemu, err, "failed to write snapshot '%s'", snap.name)
	}
	return nil
}

// definitionOf is the domain in a snapshot; the persistent one if inactive is asked for and there.
func (s *snapshot) definitionOf(env domxml.Env, inactive bool) (*libvirtxml.Domain, error) {
	doc := s.domain
	if inactive && s.inactive != "" {
		doc = s.inactive
	}
	return domxml.Parse([]byte(doc), env, domxml.ParseTrusted)
}
