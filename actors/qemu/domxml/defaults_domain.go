package domxml

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// defaultsBasic fills in what needs nothing but the document: the emulator and the order of controllers and disks.
func (def *definition) defaultsBasic() error {
	if e := def.devices.Kid("emulator"); e == nil || e.Text == "" {
		def.devices.Drop("emulator")
		if bin := def.env.emulator(def.arch, def.root.Get("type")); bin != "" {
			def.devices.Add(xmltree.Leaf("emulator", bin))
		}
	}
	if def.flags&ParseTrusted == 0 {
		// Compat: libvirtd also regroups what it reads back from its own files, so that a restart of the daemon can
		// change the order clients see. Here it does not.
		def.groupControllers()
	}
	def.hostdevControllers()
	def.numberControllers()
	return nil
}

// sortDisks groups the disks by bus and puts those of one bus in the order of their names, as virDomainDiskInsert does
// one by one.
func (def *definition) sortDisks() {
	var sorted []*node
	for _, d := range def.devices.All("disk") {
		bus := d.Kid("target").Get("bus")
		idx, _ := diskIndex(d.Kid("target").Get("dev"))
		at := -1
		for i := len(sorted) - 1; i >= 0; i-- {
			if sorted[i].Kid("target").Get("bus") != bus {
				continue
			}
			if other, _ := diskIndex(sorted[i].Kid("target").Get("dev")); other > idx {
				at = i
			} else if at < 0 {
				at = i + 1
			}
		}
		if at < 0 {
			at = len(sorted)
		}
		sorted = slices.Insert(sorted, at, d)
	}
	def.devices.Drop("disk")
	def.devices.Add(sorted...)
}

// groupControllers does the same for controllers by type and index; of USB controllers with one index the master goes
// first. Controllers added later go to the end, so a document read back may change its order once more: libvirt's does.
func (def *definition) groupControllers() {
	var sorted []*node
	index := func(c *node) int {
		v, err := strconv.Atoi(c.Get("index"))
		if err != nil {
			return -1 // not numbered yet: goes behind, and is never passed
		}
		return v
	}
	for _, c := range def.devices.All("controller") {
		at := -1
		for i := len(sorted) - 1; i >= 0; i-- {
			o := sorted[i]
			if o.Get("type") != c.Get("type") {
				continue
			}
			switch {
			case index(c) >= 0 && index(o) > index(c):
				at = i
			case index(c) >= 0 && c.Get("type") == "usb" && index(o) == index(c) && o.Kid("master") != nil && c.Kid("master") == nil:
				at = i
			case at < 0:
				at = i + 1
			}
		}
		if at < 0 {
			at = len(sorted)
		}
		sorted = slices.Insert(sorted, at, c)
	}
	def.devices.Drop("controller")
	def.devices.Add(sorted...)
}

// numberControllers gives indexes to those without. The PCI root is always 0; everything else takes the first free one.
func (def *definition) numberControllers() {
	for _, c := range def.devices.All("controller") {
		if c.Has("index") {
			continue
		}
		m := c.Get("model")
		if c.Get("type") == "pci" && (m == "pci-root" || m == "pcie-root") {
			c.Set("index", "0")
			continue
		}
		if c.Get("type") == "usb" && strings.HasPrefix(m, "ich9-") {
			// The parts of an EHCI controller share an index: this one belongs to the part before it.
			if prev := before(def.devices.All("controller"), c); prev.Get("type") == "usb" && strings.HasPrefix(prev.Get("model"), "ich9-") && prev.Get("model") != m {
				c.Set("index", prev.Get("index"))
				continue
			}
		}
		c.Set("index", utoa(def.freeControllerIndex(c.Get("type"))))
	}
}

func before(list []*node, n *node) *node {
	if i := slices.Index(list, n); i > 0 {
		return list[i-1]
	}
	return nil
}

func (def *definition) freeControllerIndex(typ string) int {
	for i := 0; ; i++ {
		if def.controller(typ, i) == nil {
			return i
		}
	}
}

// controller finds a controller by type and index.
func (def *definition) controller(typ string, index int) *node {
	for _, c := range def.devices.Kids {
		if c.Name == "controller" && c.Get("type") == typ && c.Get("index") == strconv.Itoa(index) {
			return c
		}
	}
	return nil
}

func (def *definition) addController(typ string, index int, model string) *node {
	c := xmltree.Elem("controller", "type", typ, "index", strconv.Itoa(index))
	if model != "" {
		c.Set("model", model)
	}
	def.devices.Add(c)
	return c
}

// findCaps asks what the emulator can do and whether it fits the document.
func (def *definition) findCaps() error {
	bin := def.devices.KidText("emulator")
	c, err := def.env.Caps(bin)
	if err != nil {
		return err
	}
	def.caps = c
	if c.Arch != def.arch && !(c.Arch == "x86_64" && def.arch == "i686") {
		return qemuUnsupported("Emulator '%s' does not support arch '%s'", bin, def.arch)
	}
	typ := def.root.Kid("os/type")
	if typ.Text != "hvm" {
		return qemuUnsupported("Emulator '%s' does not support os type '%s'", bin, typ.Text)
	}
	switch virt := def.root.Get("type"); {
	case virt == "qemu":
	case virt == "kvm" && c.KVM:
	default:
		return qemuUnsupported("Emulator '%s' does not support virt type '%s'", bin, virt)
	}
	name := typ.Get("machine")
	if name == "" {
		name = c.DefaultMachine().Name
	}
	typ.Set("machine", c.CanonicalMachine(name))
	def.machine, _ = c.Machine(name)
	return nil
}

func (def *definition) machineName() string { return def.root.Kid("os/type").Get("machine") }

func (def *definition) isQ35() bool {
	m := def.machineName()
	return m == "q35" || strings.HasPrefix(m, "pc-q35")
}

func (def *definition) isI440FX() bool {
	m := def.machineName()
	if m == "pc" || strings.HasPrefix(m, "pc-0.") || strings.HasPrefix(m, "pc-1.") {
		return true
	}
	return strings.HasPrefix(m, "pc-i440") || strings.HasPrefix(m, "rhel")
}

func (def *definition) isX86() bool { return def.arch == "x86_64" || def.arch == "i686" }

// defaultsDomain fills in everything above <devices>.
func (def *definition) defaultsDomain() error {
	def.defaultCPU()
	def.defaultNVRAM()
	if err := def.settleMemory(); err != nil {
		return err
	}
	return def.checkNUMACPUs()
}

// defaultCPU gives the guest the machine's own CPU model where the document names none.
func (def *definition) defaultCPU() {
	if !def.isX86() {
		return
	}
	c := def.root.Ensure("cpu")
	if mode := c.Get("mode"); mode == "" || mode == "custom" && c.Kid("model") == nil {
		c.Set("mode", "custom")
		c.Set("match", "exact")
		if !c.Has("check") {
			c.Set("check", "none")
		}
		m := xmltree.Leaf("model", def.defaultModel())
		m.Set("fallback", "forbid")
		c.Add(m)
	}
	if !c.Has("check") {
		switch {
		case c.Get("mode") == "host-passthrough", c.Get("mode") == "maximum":
			c.Set("check", "none")
		case c.Get("mode") == "host-model":
			c.Set("check", "partial")
		case def.root.Get("type") == "qemu":
			c.Set("check", "none")
		default:
			c.Set("check", "partial")
		}
	}
	if c.Get("mode") == "host-passthrough" {
		c.SetDefault("migratable", "on")
	}
}

// defaultModel translates the machine's default CPU type ("qemu64-x86_64-cpu") into a model name.
func (def *definition) defaultModel() string {
	name, _, ok := strings.Cut(def.machine.DefaultCPU, "-"+def.arch+"-cpu")
	if ok && name != "" && name != "max" {
		return name
	}
	if def.arch == "i686" {
		return "qemu32"
	}
	return "qemu64"
}

// defaultNVRAM places the variables of a firmware in pflash.
func (def *definition) defaultNVRAM() {
	os := def.root.Kid("os")
	l := os.Kid("loader")
	if l == nil || os.Has("firmware") || l.Get("type") != "pflash" || l.Get("readonly") != "yes" || l.Get("stateless") == "yes" {
		return
	}
	n := os.Ensure("nvram")
	if n.Text == "" && n.Kid("source") == nil {
		n.Text = path.Join(def.env.nvramDir(), def.root.KidText("name")+"_VARS.fd")
	}
}

// settleMemory decides the sizes: with NUMA cells their sum counts, memory modules come on top.
func (def *definition) settleMemory() error {
	var modules uint64
	for _, m := range def.devices.All("memory") {
		v, _ := strconv.ParseUint(m.KidText("target/size"), 10, 64)
		modules += v
	}
	initial := def.cellMemory()
	if initial == 0 {
		if def.memory.total > modules {
			initial = def.memory.total - modules
		}
	}
	if initial == 0 {
		return xmlError("Memory size must be specified via <memory> or in the <numa> configuration")
	}
	total := initial + modules
	if def.memory.current == 0 || def.memory.current > total {
		def.memory.current = total
	}
	if def.memory.maximum != 0 && def.memory.maximum < total {
		return xmlError("maximum memory size must be equal or greater than the actual memory size")
	}
	def.memory.total = total
	setKiB(def.root.Ensure("memory"), total)
	setKiB(def.root.Ensure("currentMemory"), def.memory.current)
	return nil
}

func (def *definition) checkNUMACPUs() error {
	cells := def.root.Kid("cpu/numa").All("cell")
	count, _ := strconv.Atoi(def.root.KidText("vcpu"))
	sum, last := 0, -1
	for _, c := range cells {
		if v, ok := c.Lookup("cpus"); ok {
			b, _ := parseBitmap(v)
			sum += b.count()
			last = max(last, b.last())
		}
	}
	if len(cells) > 0 && sum > count {
		return internalError("Number of CPUs in <numa> exceeds the <vcpu> count")
	}
	if last >= count || count == 0 {
		return internalError("CPU IDs in <numa> exceed the <vcpu> count")
	}
	def.fillFirstCell(cells, count)
	return nil
}

// fillFirstCell puts the CPUs no cell claims into the first.
func (def *definition) fillFirstCell(cells []*node, count int) {
	if len(cells) == 0 {
		return
	}
	claimed := make(bitmap, count)
	for _, c := range cells {
		if b, err := parseBitmap(c.Get("cpus")); err == nil {
			for i, on := range b {
				claimed[i] = claimed[i] || on
			}
		}
	}
	if claimed.count() == count {
		return
	}
	mine := make(bitmap, count)
	if b, err := parseBitmap(cells[0].Get("cpus")); err == nil {
		copy(mine, b)
	}
	for i, on := range claimed {
		mine[i] = mine[i] || !on
	}
	cells[0].Set("cpus", mine.String())
}

// defaultBoot names the disk where nothing says what to boot from.
func (def *definition) defaultBoot() error {
	os := def.root.Kid("os")
	seen := map[string]bool{}
	for _, d := range def.devices.Kids {
		b := d.Kid("boot")
		if b == nil {
			continue
		}
		if os.Kid("boot") != nil {
			return unsupported("per-device boot elements cannot be used together with os/boot elements")
		}
		order := b.Get("order")
		if seen[order] {
			return unsupported("boot order '%s' used for more than one device", order)
		}
		seen[order] = true
	}
	if len(seen) == 0 && os.Kid("boot") == nil {
		os.Add(xmltree.Elem("boot", "dev", "hd"))
	}
	return nil
}

func xmlDetail(format string, args ...any) error {
	return liberr.New(liberr.FromDomain, liberr.XMLDetail, format, args...)
}
