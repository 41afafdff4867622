package caps

import (
	"cmp"
	"fmt"

	"virtree/actors/internal/node"
)

// HostFacts are what the capabilities say of the host beyond what its processor and its emulators tell.
type HostFacts struct {
	UUID             string
	Node             node.Node
	PowerManagement  []string // node.Node.SuspendCapabilities
	SecurityModels   []SecurityModel
	MigrationSchemes []string // nil is what QEMU guests can use: tcp, rdma
}

// SecurityModel is one way in which guests are kept apart.
type SecurityModel struct {
	Model, DOI string
	BaseLabels []BaseLabel
}

// BaseLabel is the label that guests of a type get.
type BaseLabel struct{ Type, Label string }

// Capabilities is the document of virConnectGetCapabilities.
func Capabilities(h HostFacts, guests []Found) string {
	w := &xmlWriter{}
	w.in("capabilities", func() {
		w.blank()
		w.in("host", func() { writeHost(w, h) })
		w.blank()
		for _, g := range guests {
			writeGuest(w, g)
			w.blank()
		}
	})
	return w.b.String()
}

func writeHost(w *xmlWriter, h HostFacts) {
	w.line("<uuid>%s</uuid>", h.UUID)
	w.in("cpu", func() { writeHostCPU(w, h.Node) })
	if len(h.PowerManagement) == 0 {
		w.line("<power_management/>")
	} else {
		w.in("power_management", func() {
			for _, p := range h.PowerManagement {
				w.line("<%s/>", p)
			}
		})
	}
	w.line("<iommu support='%s'/>", yesNo(h.Node.HasIOMMU()))
	schemes := h.MigrationSchemes
	if schemes == nil {
		schemes = []string{"tcp", "rdma"}
	}
	w.in("migration_features", func() {
		w.line("<live/>")
		w.in("uri_transports", func() {
			for _, s := range schemes {
				w.line("<uri_transport>%s</uri_transport>", s)
			}
		})
	})
	w.in("topology", func() { writeTopology(w, h.Node.Topology()) })
	if caches := h.Node.Caches(); len(caches) > 0 {
		w.in("cache", func() {
			for _, c := range caches {
				size, unit := prettySize(c.SizeKiB)
				w.line("<bank id='%d' level='%d' type='%s' size='%d' unit='%s' cpus='%s'/>",
					c.ID, c.Level, c.Type, size, unit, node.FormatList(c.CPUs))
			}
		})
	}
	for _, m := range h.SecurityModels {
		w.in("secmodel", func() {
			w.line("<model>%s</model>", xmlText(m.Model))
			w.line("<doi>%s</doi>", xmlText(m.DOI))
			for _, l := range m.BaseLabels {
				w.line("<baselabel type='%s'>%s</baselabel>", l.Type, xmlText(l.Label))
			}
		})
	}
}

// prettySize takes the largest unit that divides the size.
func prettySize(kib uint64) (uint64, string) {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	i := 0
	for kib > 0 && kib%1024 == 0 && i < len(units)-1 {
		kib /= 1024
		i++
	}
	return kib, units[i]
}

func writeHostCPU(w *xmlWriter, n node.Node) {
	arch := HostArch()
	w.line("<arch>%s</arch>", arch)
	if arch == "x86_64" || arch == "i686" {
		h := thisHost()
		if h.NamedCPU != nil {
			w.line("<model>%s</model>", h.Model)
			if h.Vendor != "" {
				w.line("<vendor>%s</vendor>", h.Vendor)
			}
		}
		if v := n.MicrocodeVersion(); v != 0 {
			w.line("<microcode version='%d'/>", v)
		}
		if h.sig.family != 0 {
			w.line("<signature family='%d' model='%d' stepping='%d'/>", h.sig.family, h.sig.model, h.sig.stepping)
		}
		if h.tsc != nil {
			w.line("<counter name='tsc' frequency='%d' scaling='%s'/>", h.tsc.Frequency, yesNo(h.tsc.Scaling))
		}
	}
	info := n.Info()
	w.line("<topology sockets='%d' dies='1' cores='%d' threads='%d'/>", info.Sockets, info.Cores, info.Threads)
	if bits := n.PhysAddrBits(); bits > 0 {
		w.line("<maxphysaddr mode='emulate' bits='%d'/>", bits)
	}
	if h := thisHost(); h.NamedCPU != nil {
		for _, f := range h.Features {
			w.line("<feature name='%s'/>", f.Name)
		}
	}
	for _, size := range n.PageSizes() {
		w.line("<pages unit='KiB' size='%d'/>", size)
	}
}

func writeTopology(w *xmlWriter, cells []node.Cell) {
	w.in(fmt.Sprintf("cells num='%d'", len(cells)), func() {
		for _, c := range cells {
			w.in(fmt.Sprintf("cell id='%d'", c.ID), func() {
				w.line("<memory unit='KiB'>%d</memory>", c.MemoryKiB)
				for _, p := range c.Pages {
					w.line("<pages unit='KiB' size='%d'>%d</pages>", p.SizeKiB, p.Total)
				}
				if len(c.Distances) > 0 {
					w.in("distances", func() {
						for _, d := range c.Distances {
							w.line("<sibling id='%d' value='%d'/>", d.Cell, d.Value)
						}
					})
				}
				w.in(fmt.Sprintf("cpus num='%d'", len(c.CPUs)), func() {
					for _, cpu := range c.CPUs {
						w.line("<cpu id='%d' socket_id='%d' die_id='%d' core_id='%d' siblings='%s'/>",
							cpu.ID, cpu.Socket, cpu.Die, cpu.Core, node.FormatList(cpu.Siblings))
					}
				})
			})
		}
	})
}

func writeGuest(w *xmlWriter, g Found) {
	w.in("guest", func() {
		w.line("<os_type>hvm</os_type>")
		w.in(fmt.Sprintf("arch name='%s'", g.Arch), func() {
			w.line("<wordsize>%d</wordsize>", wordSize(g.Arch))
			w.line("<emulator>%s</emulator>", xmlText(g.Binary))
			for _, m := range g.Caps.Machines {
				deprecated := ""
				if m.Deprecated {
					deprecated = " deprecated='yes'"
				}
				w.line("<machine maxCpus='%d'%s>%s</machine>", m.MaxCPUs, deprecated, xmlText(m.Name))
				if m.Alias != "" {
					w.line("<machine canonical='%s' maxCpus='%d'%s>%s</machine>", xmlText(m.Name), m.MaxCPUs, deprecated, xmlText(m.Alias))
				}
			}
			if g.Caps.TCG {
				w.line("<domain type='qemu'/>")
			}
			if g.Caps.KVM {
				w.line("<domain type='kvm'/>")
			}
		})
		w.in("features", func() {
			if g.Arch == "i686" {
				w.line("<pae/>")
				w.line("<nonpae/>")
			}
			switch g.Arch {
			case "i686", "x86_64":
				w.line("<acpi default='on' toggle='yes'/>")
				w.line("<apic default='on' toggle='no'/>")
			case "aarch64":
				w.line("<acpi default='on' toggle='yes'/>")
			}
			if len(g.Caps.CPUs) > 0 {
				w.line("<cpuselection/>")
			}
			w.line("<deviceboot/>")
			w.line("<disksnapshot default='on' toggle='no'/>")
		})
	})
}

// MaxVCPUs is virConnectGetMaxVcpus: libvirt's two types and nothing, which means "qemu". ok is false for others.
func MaxVCPUs(domainType string) (n int, ok bool, err error) {
	switch cmp.Or(asciiLower(domainType), "qemu") {
	case "qemu":
		return 16, true, nil
	case "kvm":
		n, err = MaxKVMCPUs()
		return n, true, err
	}
	return 0, false, nil
}

func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
