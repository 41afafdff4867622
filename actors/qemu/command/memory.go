package command

import (
	"path"
	"strconv"

	"libvirt.org/go/libvirtxml"
)

func (b *builder) backing() *libvirtxml.DomainMemoryBacking {
	if b.def.MemoryBacking == nil {
		return &libvirtxml.DomainMemoryBacking{}
	}
	return b.def.MemoryBacking
}

func (b *builder) cells() []libvirtxml.DomainCell {
	if b.def.CPU == nil || b.def.CPU.Numa == nil {
		return nil
	}
	return b.def.CPU.Numa.Cell
}

// initialKiB is the memory the guest starts with apart from memory devices.
func (b *builder) initialKiB() uint64 {
	var sum uint64
	if cells := b.cells(); len(cells) > 0 {
		for _, c := range cells {
			sum += aligned(kib(uint64(c.Memory), c.Unit))
		}
		return sum
	}
	if b.def.Memory == nil {
		return 0
	}
	sum = kib(uint64(b.def.Memory.Value), b.def.Memory.Unit)
	for _, m := range b.dev.Memorydevs {
		if m.Target != nil && m.Target.Size != nil {
			sum -= kib(uint64(m.Target.Size.Value), m.Target.Size.Unit)
		}
	}
	return aligned(sum)
}

// aligned rounds a size in KiB up to a MiB: machines have no smaller pieces of memory.
func aligned(n uint64) uint64 { return (n + 1023) &^ 1023 }

// defaultRAM is the id of the object that is the machine's memory; "" where NUMA nodes bring their own, or the machine
// allocates it itself.
func (b *builder) defaultRAM() string {
	if len(b.cells()) > 0 {
		return ""
	}
	m, _ := b.caps.Machine(b.machineName())
	return m.DefaultRAMID
}

func (b *builder) memory() error {
	size := b.initialKiB()
	if max := b.def.MaximumMemory; max != nil && max.Value != 0 {
		k := keyval{}
		k.setf("size", "%dk", size)
		if max.Slots > 0 {
			k.setf("slots", "%d", max.Slots)
		}
		k.setf("maxmem", "%dk", aligned(kib(uint64(max.Value), max.Unit)))
		b.arg("-m", k.String())
	} else {
		b.arg("-m", strconv.FormatUint(size/1024, 10))
	}
	if id := b.defaultRAM(); id != "" {
		if err := b.backMemory(memoryRequest{id: id, file: id, kib: size, cell: -1, system: true}); err != nil {
			return err
		}
	}
	b.arg("-overcommit", "mem-lock="+onOff(b.backing().MemoryLocked != nil))
	return nil
}

// memoryRequest is one piece of guest memory to be backed by host memory.
type memoryRequest struct {
	id     string
	file   string // its name among the files of file backed memory
	kib    uint64
	cell   int  // guest NUMA node; -1 for none
	system bool // the machine's whole memory

	access   string // shared, private; "" as the domain says
	discard  string
	nodemask string // host nodes
	pageKiB  uint64 // huge page size; 0 as the domain says
	path     string // file that persists
	align    uint64 // KiB
	pmem     bool
	prealloc bool // whatever the domain says
	lazy     bool // no swap reserved: the device will use a part of it
}

// backMemory adds the object that a piece of guest memory comes from. Memory that is touched at once and bound to nodes
// of the host is touched by threads on these nodes; their context is gone again after the start.
func (b *builder) backMemory(r memoryRequest) error {
	p, err := b.memoryBackend(r)
	if err != nil {
		return err
	}
	nodes, bound := p.Get("host-nodes")
	if touched, _ := p.Get("prealloc"); bound && touched == true && b.caps.HasObject("thread-context") {
		id := "tc-" + r.id
		b.addObject(Props{{"qom-type", "thread-context"}, {"id", id}, {"node-affinity", nodes}})
		b.after = append(b.after, QMP{"object-del", Props{{"id", id}}})
		p.Set("prealloc-context", id)
	}
	return b.object(p)
}

// memoryBackend decides where guest memory comes from: huge pages and files where asked for, sealed anonymous files,
// else anonymous memory.
func (b *builder) memoryBackend(r memoryRequest) (Props, error) {
	backing := b.backing()
	access, discard := r.access, r.discard
	if access == "" && backing.MemoryAccess != nil {
		access = backing.MemoryAccess.Mode
	}
	if discard == "" && backing.MemoryDiscard != nil {
		discard = "yes"
	}
	page, huge := r.pageKiB, r.pageKiB > 4
	if r.path == "" && page == 0 {
		page, huge = b.hugepageFor(r.cell)
	}
	source := ""
	if backing.MemorySource != nil {
		source = backing.MemorySource.Type
	}

	p := Props{{"qom-type", "memory-backend-ram"}, {"id", r.id}}
	prealloc := r.prealloc || (backing.MemoryAllocation != nil && backing.MemoryAllocation.Mode == "immediate")
	file := false
	switch {
	case r.path == "" && source == "memfd":
		p.Set("qom-type", "memory-backend-memfd")
		if huge {
			p.Set("hugetlb", true)
			p.Set("hugetlbsize", page*1024)
			prealloc = true
		}
		file = true
	case r.path != "":
		p.Set("qom-type", "memory-backend-file")
		p.Set("mem-path", r.path)
		file = true
	case huge:
		mount, err := b.hugepageMount(page)
		if err != nil {
			return nil, err
		}
		p.Set("qom-type", "memory-backend-file")
		p.Set("mem-path", mount.Path)
		prealloc, file = true, true
	case source == "file" || access != "":
		p.Set("qom-type", "memory-backend-file")
		p.Set("mem-path", path.Join(b.rt.RAMDir, r.file))
		file = true
	}
	if kind, _ := p.Get("qom-type"); kind == "memory-backend-file" && discard == "yes" {
		p.Set("discard-data", true)
	}
	switch access {
	case "shared":
		p.Set("share", true)
	case "private":
		p.Set("share", false)
	}
	if r.system && file {
		// Migration streams name RAM blocks by their short id.
		p.Set("x-use-canonical-path-for-ramblock-id", false)
	}
	if prealloc {
		p.Set("prealloc", true)
		if a := backing.MemoryAllocation; a != nil {
			p.count("prealloc-threads", a.Threads)
		}
	}
	if r.lazy && !prealloc {
		p.Set("reserve", false)
	}
	p.Set("size", r.kib*1024)
	if r.align != 0 {
		p.Set("align", r.align*1024)
	}
	if r.pmem {
		p.Set("pmem", true)
	}
	return p, b.hostNodes(&p, r)
}

// hostNodes binds a piece of memory to nodes of the host.
func (b *builder) hostNodes(p *Props, r memoryRequest) error {
	mode, nodes := "", r.nodemask
	if t := b.def.NUMATune; t != nil {
		if t.Memory != nil {
			mode = t.Memory.Mode
			if mode == "" {
				mode = "strict"
			}
			if nodes == "" {
				nodes = t.Memory.Nodeset
			}
		}
		for _, m := range t.MemNodes {
			if int(m.CellID) == r.cell {
				mode, nodes = m.Mode, m.Nodeset
			}
		}
	} else if nodes != "" {
		mode = "strict"
	}
	if nodes == "" || mode == "restrictive" {
		return nil
	}
	list, err := parseSet(nodes)
	if err != nil {
		return err
	}
	p.Set("host-nodes", list)
	policy := map[string]string{"strict": "bind", "preferred": "preferred", "interleave": "interleave"}[mode]
	if policy == "" {
		policy = "bind"
	}
	p.Set("policy", policy)
	return nil
}
