package domxml

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"virtree/wire/liberr"
)

// defaultsBasic fills in what needs nothing but the document: the emulator and the order of controllers and disks.
func (def *definition) defaultsBasic() error {
	if e := def.devices.kid("emulator"); e == nil || e.text == "" {
		def.devices.drop("emulator")
		if bin := def.env.emulator(def.arch, def.root.get("type")); bin != "" {
			def.devices.add(leaf("emulator", bin))
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
	for _, d := range def.devices.all("disk") {
		bus := d.kid("target").get("bus")
		idx, _ := diskIndex(d.kid("target").get("dev"))
		at := -1
		for i := len(sorted) - 1; i >= 0; i-- {
			if sorted[i].kid("target").get("bus") != bus {
				continue
			}
			if other, _ := diskIndex(sorted[i].kid("target").get("dev")); other > idx {
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
	def.devices.drop("disk")
	def.devices.add(sorted...)
}

// groupControllers does the same for controllers by type and index; of USB controllers with one index the master goes
// first. Controllers added later go to the end, so a document read back may change its order once more: libvirt's does.
func (def *definition) groupControllers() {
	var sorted []*node
	index := func(c *node) int {
		v, err := strconv.Atoi(c.get("index"))
		if err != nil {
			return -1 // not numbered yet: goes behind, and is never passed
		}
		return v
	}
	for _, c := range def.devices.all("controller") {
		at := -1
		for i := len(sorted) - 1; i >= 0; i-- {
			o := sorted[i]
			if o.get("type") != c.get("type") {
				continue
			}
			switch {
			case index(c) >= 0 && index(o) > index(c):
				at = i
			case index(c) >= 0 && c.get("type") == "usb" && index(o) == index(c) && o.kid("master") != nil && c.kid("master") == nil:
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
	def.devices.drop("controller")
	def.devices.add(sorted...)
}

// numberControllers gives indexes to those without. The PCI root is always 0; everything else takes the first free one.
func (def *definition) numberControllers() {
	for _, c := range def.devices.all("controller") {
		if c.has("index") {
			continue
		}
		m := c.get("model")
		if c.get("type") == "pci" && (m == "pci-root" || m == "pcie-root") {
			c.set("index", "0")
			continue
		}
		if c.get("type") == "usb" && strings.HasPrefix(m, "ich9-") {
			// The parts of an EHCI controller share an index: this one belongs to the part before it.
			if prev := before(def.devices.all("controller"), c); prev.get("type") == "usb" && strings.HasPrefix(prev.get("model"), "ich9-") && prev.get("model") != m {
				c.set("index", prev.get("index"))
				continue
			}
		}
		c.set("index", utoa(def.freeControllerIndex(c.get("type"))))
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
	for _, c := range def.devices.kids {
		if c.name == "controller" && c.get("type") == typ && c.get("index") == strconv.Itoa(index) {
			return c
		}
	}
	return nil
}

func (def *definition) addController(typ string, index int, model string) *node {
	c := elem("controller", "type", typ, "index", strconv.Itoa(index))
	if model != "" {
		c.set("model", model)
	}
	def.devices.add(c)
	return c
}

// findCaps asks what the emulator can do and whether it fits the document.
func (def *definition) findCaps() error {
	bin := def.devices.kidText("emulator")
	c, err := def.env.Caps(bin)
	if err != nil {
		return err
	}
	def.caps = c
	if c.Arch != def.arch && !(c.Arch == "x86_64" && def.arch == "i686") {
		return qemuUnsupported("Emulator '%s' does not support arch '%s'", bin, def.arch)
	}
	typ := def.root.kid("os/type")
	if typ.text != "hvm" {
		return qemuUnsupported("Emulator '%s' does not support os type '%s'", bin, typ.text)
	}
	switch virt := def.root.get("type"); {
	case virt == "qemu":
	case virt == "kvm" && c.KVM:
	default:
		return qemuUnsupported("Emulator '%s' does not support virt type '%s'", bin, virt)
	}
	name := typ.get("machine")
	if name == "" {
		name = c.DefaultMachine().Name
	}
	typ.set("machine", c.CanonicalMachine(name))
	def.machine, _ = c.Machine(name)
	return nil
}

func (def *definition) machineName() string { return def.root.kid("os/type").get("machine") }

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
	c := def.root.ensure("cpu")
	if mode := c.get("mode"); mode == "" || mode == "custom" && c.kid("model") == nil {
		c.set("mode", "custom")
		c.set("match", "exact")
		if !c.has("check") {
			c.set("check", "none")
		}
		m := leaf("model", def.defaultModel())
		m.set("fallback", "forbid")
		c.add(m)
	}
	if !c.has("check") {
		switch {
		case c.get("mode") == "host-passthrough", c.get("mode") == "maximum":
			c.set("check", "none")
		case c.get("mode") == "host-model":
			c.set("check", "partial")
		case def.root.get("type") == "qemu":
			c.set("check", "none")
		default:
			c.set("check", "partial")
		}
	}
	if c.get("mode") == "host-passthrough" {
		c.setDefault("migratable", "on")
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
	os := def.root.kid("os")
	l := os.kid("loader")
	if l == nil || os.has("firmware") || l.get("type") != "pflash" || l.get("readonly") != "yes" || l.get("stateless") == "yes" {
		return
	}
	n := os.ensure("nvram")
	if n.text == "" && n.kid("source") == nil {
		n.text = path.Join(def.env.nvramDir(), def.root.kidText("name")+"_VARS.fd")
	}
}

// settleMemory decides the sizes: with NUMA cells their sum counts, memory modules come on top.
func (def *definition) settleMemory() error {
	var modules uint64
	for _, m := range def.devices.all("memory") {
		v, _ := strconv.ParseUint(m.kidText("target/size"), 10, 64)
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
	def.root.ensure("memory").setKiB(total)
	def.root.ensure("currentMemory").setKiB(def.memory.current)
	return nil
}

func (def *definition) checkNUMACPUs() error {
	cells := def.root.kid("cpu/numa").all("cell")
	count, _ := strconv.Atoi(def.root.kidText("vcpu"))
	sum, last := 0, -1
	for _, c := range cells {
		if v, ok := c.lookup("cpus"); ok {
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
		if b, err := parseBitmap(c.get("cpus")); err == nil {
			for i, on := range b {
				claimed[i] = claimed[i] || on
			}
		}
	}
	if claimed.count() == count {
		return
	}
	mine := make(bitmap, count)
	if b, err := parseBitmap(cells[0].get("cpus")); err == nil {
		copy(mine, b)
	}
	for i, on := range claimed {
		mine[i] = mine[i] || !on
	}
	cells[0].set("cpus", mine.String())
}

// defaultBoot names the disk where nothing says what to boot from.
func (def *definition) defaultBoot() error {
	os := def.root.kid("os")
	seen := map[string]bool{}
	for _, d := range def.devices.kids {
		b := d.kid("boot")
		if b == nil {
			continue
		}
		if os.kid("boot") != nil {
			return unsupported("per-device boot elements cannot be used together with os/boot elements")
		}
		order := b.get("order")
		if seen[order] {
			return unsupported("boot order '%s' used for more than one device", order)
		}
		seen[order] = true
	}
	if len(seen) == 0 && os.kid("boot") == nil {
		os.add(elem("boot", "dev", "hd"))
	}
	return nil
}

func xmlDetail(format string, args ...any) error {
	return liberr.New(liberr.FromDomain, liberr.XMLDetail, format, args...)
}
