package nodedev

import (
	"path/filepath"
	"slices"
)

// mdevDef is how a mediated device is defined. It is constant after it was made.
type mdevDef struct {
	uuid   string
	typ    string // the kind that its parent is to make: "i915-GVTg_V5_4"
	parent string // its parent's address: "0000:00:02.0"
	auto   bool   // started when its parent appears
	attrs  []mdevAttr
}

// mdevAttr is written to the device when it is made.
type mdevAttr struct{ name, value string }

func (m *mdevDef) name() string { return name("mdev", m.uuid, m.parent) }

func (m *mdevDef) equal(o *mdevDef) bool {
	return m.uuid == o.uuid && m.typ == o.typ && m.parent == o.parent && m.auto == o.auto && slices.Equal(m.attrs, o.attrs)
}

// merge adds what is defined to what a scan found: the definition of a device that is there, and devices that are not.
func merge(scanned []*device, defs map[string]*mdevDef) []*device {
	if len(defs) == 0 {
		return scanned
	}
	all := make([]*device, 0, len(scanned)+len(defs))
	there := map[string]bool{}
	addresses := map[string]string{} // of those that mediated devices can be made of
	for _, d := range scanned {
		if d.kind == kindMdev {
			if def := defs[d.name]; def != nil {
				with := *d
				with.def = def
				d = &with
				there[d.name] = true
			}
		}
		if d.has(capMdevTypes) {
			addresses[filepath.Base(d.dir)] = d.name
		}
		all = append(all, d)
	}
	names := make([]string, 0, len(defs))
	for n := range defs {
		if !there[n] {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		d := of(kindMdev, n)
		d.def, d.parent = defs[n], first(addresses[defs[n].parent], rootName)
		all = append(all, d)
	}
	return all
}

// mdev prints a mediated device. What is only defined is in no group yet: libvirt prints 0.
func (h host) mdev(p *printer, d *device) {
	typ, id, parent, group := "", filepath.Base(d.dir), filepath.Base(filepath.Dir(d.dir)), "0"
	if d.dir != "" {
		typ, group = linkName(d.dir, "mdev_type"), first(linkName(d.dir, "iommu_group"), "0")
	} else {
		typ, id, parent = d.def.typ, d.def.uuid, d.def.parent
	}
	p.line("<type id='%s'/>", escape(typ))
	p.text("uuid", id)
	p.text("parent_addr", parent)
	p.line("<iommuGroup number='%s'/>", group)
	if d.def != nil {
		for _, a := range d.def.attrs {
			p.line("<attr name='%s' value='%s'/>", escape(a.name), escape(a.value))
		}
	}
}
