package domxml

import (
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"

	"virtree/wire/liberr"
)

var domainTypes = []string{"none", "qemu", "kqemu", "kvm", "xen", "lxc", "uml", "openvz", "test", "vmware", "hyperv", "vbox", "phyp", "parallels", "bhyve", "vz", "hvf"}

// checkGeneral reads everything above <devices>, in the order libvirt does, so that a document with two faults is
// refused for the same one.
func (def *definition) checkGeneral() error {
	root := def.root
	for _, step := range []func() error{
		def.checkIdentity, def.checkMemory, def.checkVCPU, def.checkIOThreads, def.checkCPUTune, def.checkCPU,
		def.checkNUMA, def.checkFeatures, def.checkActions, def.checkClock, def.checkOS, def.checkTuning, def.checkSecLabels,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if p := root.kid("pm"); p != nil && len(p.kids) == 0 {
		root.remove(p)
	}
	for _, name := range []string{"pm", "perf", "keywrap", "launchSecurity", "sysinfo", "vcpu", "vcpus", "iothreadids", "os", "cputune", "features", "cpu", "clock"} {
		for _, n := range root.all(name) {
			if err := grammar["domain"].kids[name].kind.check(n); err != nil {
				return err
			}
		}
	}
	return def.checkSysinfo()
}

func (def *definition) checkIdentity() error {
	root := def.root
	name := root.kid("name")
	switch {
	case name == nil || name.text == "":
		return liberr.Plain(liberr.FromDomain, liberr.NoName)
	case strings.Contains(name.text, "/"):
		return xmlError("name %s cannot contain '/'", name.text)
	}
	if u := root.kid("uuid"); u == nil {
		root.add(leaf("uuid", def.env.uuid()))
	} else if text, ok := parseUUID(u.text); ok {
		u.text = text
	} else {
		return internalError("malformed uuid element")
	}
	typ, ok := root.lookup("type")
	if !ok {
		return internalError("missing domain type attribute")
	}
	if !slices.Contains(domainTypes, typ) {
		return unsupported("invalid domain type %s", typ)
	}
	if def.flags&ParseLive == 0 {
		root.unset("id")
	}
	if strings.Contains(root.kidText("title"), "\n") {
		return xmlError("Domain title can't contain newlines")
	}
	for _, empty := range []string{"title", "description"} {
		if root.kidText(empty) == "" {
			root.drop(empty)
		}
	}
	if g := root.kid("genid"); g != nil {
		if g.text == "" {
			g.text = def.env.uuid()
		} else if text, ok := parseUUID(g.text); ok {
			g.text = text
		} else {
			return internalError("malformed genid element")
		}
	}
	if meta := root.kid(metadataName); meta != nil {
		sanitizeMetadata(meta)
	}
	if root.kid("bootloader") != nil && root.kidText("bootloader") == "" {
		root.drop("bootloader")
	}
	return nil
}

// parseUUID takes 32 hexadecimal digits with dashes and blanks wherever libvirt allows them.
func parseUUID(s string) (string, bool) {
	digits := strings.ReplaceAll(strings.TrimSpace(s), "-", "")
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != 16 {
		return "", false
	}
	return formatUUID([16]byte(raw)), true
}

func (def *definition) checkMemory() error {
	root := def.root
	var err error
	if def.memory.total, err = kib(root.kid("memory"), "./memory[1]"); err != nil {
		return err
	}
	if n := root.kid("memory"); n != nil && n.has("dumpCore") && n.get("dumpCore") != "on" && n.get("dumpCore") != "off" {
		return badValue(n, "dumpCore", n.get("dumpCore"))
	}
	if def.memory.current, err = kib(root.kid("currentMemory"), "./currentMemory[1]"); err != nil {
		return err
	}
	if def.memory.maximum, err = kib(root.kid("maxMemory"), "./maxMemory[1]"); err != nil {
		return err
	}
	if m := root.kid("maxMemory"); m != nil {
		slots, ok := m.uint("slots")
		if m.has("slots") && (!ok || slots > math.MaxUint32) {
			return xmlError("Failed to parse memory slot count")
		}
		def.memory.slots = slots
		if (def.memory.maximum == 0) != (slots == 0) {
			return xmlError("both maximum memory size and memory slot count must be specified")
		}
		m.setKiB(def.memory.maximum)
	}
	if b := root.kid("memoryBacking"); b != nil {
		return checkMemoryBacking(b, len(root.kid("cpu/numa").all("cell")))
	}
	return nil
}

func checkMemoryBacking(b *node, cells int) error {
	for _, c := range []struct {
		kid, attr string
		values    []string
	}{
		{"source", "type", []string{"file", "anonymous", "memfd"}},
		{"access", "mode", []string{"shared", "private"}},
		{"allocation", "mode", []string{"immediate", "ondemand"}},
	} {
		v, ok := b.kid(c.kid).lookup(c.attr)
		if ok && !slices.Contains(c.values, v) {
			return unsupported("unknown memoryBacking/%s/%s '%s'", c.kid, c.attr, v)
		}
	}
	var masters, late []string
	for _, p := range b.kid("hugepages").all("page") {
		named := p.has("nodeset")
		size, ok := p.lookup("size")
		if !ok {
			return xmlError("missing element or attribute './@size'")
		}
		v, err := kibText(size, p.get("unit"), "./@size")
		if err != nil {
			return err
		}
		if v == 0 {
			return xmlError("hugepage size can't be zero")
		}
		p.set("size", utoa(v))
		p.set("unit", "KiB")
		if err := checkPageNodes(p, cells); err != nil {
			return err
		}
		if p.has("nodeset") {
			continue
		} else if named {
			late = append(late, utoa(v))
		} else {
			masters = append(masters, utoa(v))
		}
	}
	if masters = append(masters, late...); len(masters) > 1 {
		return xmlDetail("two master hugepages detected: %s and %s", masters[0], masters[1])
	}
	return nil
}

// checkPageNodes: pages belong to cells of the guest; without any, to the only one there is.
func checkPageNodes(p *node, cells int) error {
	b, err := normalizeBitmap(p, "nodeset")
	if err != nil {
		return err
	}
	if cells == 0 && p.get("nodeset") == "0" {
		p.unset("nodeset")
		return nil
	}
	for i, on := range b {
		if on && i >= cells {
			return xmlDetail("hugepages: node %d not found", i)
		}
	}
	return nil
}

func (def *definition) checkVCPU() error {
	root := def.root
	n := root.kid("vcpu")
	if n == nil {
		n = leaf("vcpu", "1")
		root.add(n)
	}
	maximum := uint64(1)
	if text := strings.TrimSpace(n.text); text != "" {
		v, err := strconv.ParseInt(cNumber(text), 10, 64)
		if err != nil || v > math.MaxUint32 {
			return xmlError("maximum vcpus count must be an integer")
		}
		// Compat: libvirtd takes a negative or huge number at its word and dies of the memory it asks for. The
		// refusal is the one of the check that would have followed.
		if v < 0 || v > 1<<20 {
			return unsupported("Maximum CPUs greater than specified machine type limit %d", 288)
		}
		maximum = uint64(v)
	}
	n.text = utoa(maximum)
	if c, ok := n.lookup("current"); ok {
		v, valid := parseUint(c)
		if !valid || v > math.MaxUint32 {
			return xmlError("current vcpus count must be an integer")
		}
		if v > maximum {
			return unsupported("maximum vCPU count must not be less than current vCPU count")
		}
		if v == maximum {
			n.unset("current")
		}
	}
	if err := grammar["vcpu"].check(n); err != nil {
		return err
	}
	n.setDefault("placement", "static")
	tune := root.kid("cputune")
	pinned := tune.kid("vcpupin") != nil || tune.kid("emulatorpin") != nil || tune.kid("iothreadpin") != nil
	if root.kid("numatune/memory").get("placement") == "auto" && !n.has("cpuset") && !pinned {
		n.set("placement", "auto") // CPUs follow the memory where nothing holds them
	}
	if n.get("placement") == "auto" {
		n.unset("cpuset")
	}
	if cpuset, ok := n.lookup("cpuset"); ok {
		b, err := normalizeBitmap(n, "cpuset")
		if err != nil {
			return err
		}
		if b.count() == 0 {
			return liberr.New(liberr.FromDomain, liberr.ConfigUnsupported, "Invalid value of 'cpuset': %s", cpuset)
		}
	}
	return def.checkVCPUs(n, maximum)
}

// checkVCPUs reads <vcpus>, the list of single virtual CPUs.
func (def *definition) checkVCPUs(count *node, maximum uint64) error {
	list := def.root.kid("vcpus")
	if list == nil {
		if count.get("current") == "0" {
			return unsupported("vcpu 0 can't be offline")
		}
		return nil
	}
	online, ordered := 0, 0
	for _, v := range list.all("vcpu") {
		if err := grammar["vcpuone"].check(v); err != nil {
			return err
		}
		id, _ := v.uint("id")
		if id >= maximum {
			return xmlError("vcpu id '%d' is out of range of maximum vcpu count", id)
		}
		if v.get("enabled") == "yes" {
			online++
		} else if id == 0 {
			return unsupported("vcpu 0 can't be offline")
		}
		if v.has("order") && v.get("enabled") == "no" {
			return xmlError("vcpu order set on offline vcpu '%d'", id)
		}
		if v.get("enabled") == "yes" && v.has("order") {
			ordered++
		}
	}
	if ordered != 0 && ordered != online {
		return unsupported("all vcpus must have either set or unset order")
	}
	count.unset("current")
	if uint64(online) < maximum {
		count.set("current", utoa(online))
	}
	return nil
}

func (def *definition) checkIOThreads() error {
	root := def.root
	count := uint64(0)
	if n := root.kid("iothreads"); n != nil {
		v, err := strconv.ParseUint(cNumber(n.text), 10, 32)
		if err != nil {
			return xmlError("invalid iothreads count '%s'", n.text)
		}
		count = v
	}
	var ids []string
	list := root.kid("iothreadids")
	for _, t := range list.all("iothread") {
		if err := grammar["iothread"].check(t); err != nil {
			return err
		}
		if slices.Contains(ids, t.get("id")) {
			return xmlError("duplicate iothread id '%s' found", t.get("id"))
		}
		ids = append(ids, t.get("id"))
		if err := checkThreadPool(t); err != nil {
			return err
		}
	}
	if d := root.kid("defaultiothread"); d != nil {
		if err := checkThreadPool(d); err != nil {
			return err
		}
	}
	count = max(count, uint64(len(ids)))
	// The missing ids are the smallest free ones. They are spelled out only when the document spelled out any.
	for next := 1; uint64(len(ids)) < count; next++ {
		id := utoa(next)
		if slices.Contains(ids, id) {
			continue
		}
		ids = append(ids, id)
		if list != nil && len(list.kids) > 0 {
			list.add(elem("iothread", "id", id))
		}
	}
	if list != nil && len(list.kids) == 0 {
		root.remove(list)
	}
	root.drop("iothreads")
	if count > 0 {
		root.add(leaf("iothreads", utoa(count)))
	}
	return nil
}

func checkThreadPool(n *node) error {
	lo, okLo := n.uint("thread_pool_min")
	hi, okHi := n.uint("thread_pool_max")
	if okLo && okHi && lo > hi {
		return unsupported("thread_pool_min must be smaller or equal to thread_pool_max")
	}
	return nil
}

func byNumber(attr string) func(a, b *node) int {
	return func(a, b *node) int {
		x, _ := a.uint(attr)
		y, _ := b.uint(attr)
		return int(x) - int(y)
	}
}

// iothreadIDs are the ids of all I/O threads, implied ones too.
func (def *definition) iothreadIDs() []string {
	var ids []string
	for _, t := range def.root.kid("iothreadids").all("iothread") {
		ids = append(ids, t.get("id"))
	}
	if len(ids) == 0 {
		count, _ := strconv.Atoi(def.root.kidText("iothreads"))
		for i := range count {
			ids = append(ids, utoa(i+1))
		}
	}
	return ids
}

func (def *definition) checkActions() error {
	for _, a := range []struct {
		name   string
		values []string
		def    string
	}{
		{"on_reboot", []string{"destroy", "restart", "rename-restart", "preserve"}, "restart"},
		{"on_poweroff", []string{"destroy", "restart", "rename-restart", "preserve"}, "destroy"},
		{"on_crash", []string{"destroy", "restart", "rename-restart", "preserve", "coredump-destroy", "coredump-restart"}, "destroy"},
		{"on_lockfailure", []string{"poweroff", "restart", "pause", "ignore"}, ""},
	} {
		n := def.root.kid(a.name)
		if n == nil || n.text == "" {
			def.root.drop(a.name)
			if a.def != "" {
				def.root.add(leaf(a.name, a.def))
			}
		} else if !slices.Contains(a.values, n.text) {
			return unsupported("unknown %s action: %s", a.name, n.text)
		}
	}
	return nil
}

func (def *definition) checkClock() error {
	n := def.root.ensure("clock")
	n.setDefault("offset", "utc")
	offset := n.get("offset")
	keep := []string{"offset"}
	switch offset {
	case "utc", "localtime":
		if a, ok := n.lookup("adjustment"); ok && a != "reset" {
			// An adjustment of a fixed offset makes it a variable one.
			if _, err := strconv.ParseInt(a, 10, 64); err != nil {
				return xmlError("unknown clock adjustment '%s'", a)
			}
			n.set("offset", "variable")
			n.set("basis", offset)
			keep = append(keep, "basis")
		}
		keep = append(keep, "adjustment")
	case "variable":
		if v, err := strconv.ParseInt(cNumber(n.get("adjustment")), 10, 64); err == nil {
			n.set("adjustment", utoa(v))
		} else {
			n.set("adjustment", "0")
		}
		n.setDefault("basis", "utc")
		if b := n.get("basis"); b != "utc" && b != "localtime" {
			return unsupported("unknown clock basis '%s'", b)
		}
		keep = append(keep, "adjustment", "basis")
	case "timezone":
		if !n.has("timezone") {
			return internalError("missing 'timezone' attribute for clock with offset='timezone'")
		}
		keep = append(keep, "timezone")
	case "absolute":
		if !n.has("start") {
			return internalError("missing 'start' attribute for clock with offset='absolute'")
		}
		keep = append(keep, "start")
	default:
		return unsupported("unknown clock offset '%s'", offset)
	}
	n.attrs = slices.DeleteFunc(n.attrs, func(a attr) bool { return !slices.Contains(keep, a.name) })
	return nil
}

func (def *definition) checkSysinfo() error {
	for _, s := range def.root.all("sysinfo") {
		if s.get("type") == "fwcfg" {
			s.drop("bios", "system", "baseBoard", "chassis", "oemStrings")
			for _, e := range s.all("entry") {
				if !e.has("name") {
					return xmlError("Firmware entry is missing 'name' attribute")
				}
				if e.text == "" && e.get("file") == "" {
					return xmlError("Firmware entry must have either value or 'file' attribute")
				}
			}
			continue
		}
		s.drop("entry")
		for _, e := range s.kid("bios").all("entry") {
			if e.get("name") == "date" && !validSMBIOSDate(e.text) {
				return liberr.New(liberr.FromDomain, liberr.XMLDetail, "Invalid BIOS 'date' format")
			}
		}
		for _, e := range s.kid("system").all("entry") {
			if e.get("name") != "uuid" {
				continue
			}
			text, ok := parseUUID(e.text)
			if !ok {
				return liberr.New(liberr.FromDomain, liberr.XMLDetail, "malformed <sysinfo> uuid element")
			}
			if text != def.root.kidText("uuid") {
				return liberr.New(liberr.FromDomain, liberr.XMLDetail, "UUID mismatch between <uuid> and <sysinfo>")
			}
			e.text = text
		}
	}
	return nil
}

// validSMBIOSDate accepts mm/dd/yy and mm/dd/yyyy from 1900 on.
func validSMBIOSDate(s string) bool {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return false
	}
	var v [3]int
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil {
			return false
		}
		v[i] = n
	}
	if v[0] < 1 || v[0] > 12 || v[1] < 1 || v[1] > 31 {
		return false
	}
	return v[2] >= 0 && v[2] < 100 || v[2] >= 1900
}

func (def *definition) checkSecLabels() error {
	seen := map[string]bool{}
	for _, l := range def.root.all("seclabel") {
		if err := grammar["seclabel"].check(l); err != nil {
			return err
		}
		typ, ok := l.lookup("type")
		if !ok {
			// A label that says nothing is the default one, which is never spelled out.
			if l.get("model") == "" && def.flags&ParseTrusted == 0 {
				return xmlError("missing security model in domain seclabel")
			}
			def.root.remove(l)
			continue
		}
		if typ == "dynamic" && l.get("relabel") == "no" {
			return unsupported("dynamic label type must use resource relabeling")
		}
		if typ == "dynamic" && l.get("model") == "none" {
			typ = "none"
			l.set("type", "none")
		}
		if typ == "dynamic" && !l.has("model") {
			if models := def.env.SecurityModels; len(models) > 0 && models[0] != "none" {
				l.set("model", models[0])
			} else {
				typ = "none"
				l.set("type", "none")
			}
		}
		switch typ {
		case "none":
			l.setDefault("model", "none")
			l.unset("relabel")
			l.drop("label", "imagelabel", "baselabel")
		case "static":
			l.setDefault("relabel", "no")
			if l.kidText("label") == "" {
				return xmlError("security label is missing")
			}
			l.drop("baselabel", "imagelabel")
		case "dynamic":
			l.setDefault("relabel", "yes")
			if def.flags&ParseLive == 0 {
				l.drop("label", "imagelabel")
			}
		}
		model := l.get("model")
		if model == "" && typ != "none" {
			continue
		}
		if seen[model] {
			return liberr.New(liberr.FromDomain, liberr.XMLDetail, "seclabel for model %s is already provided", model)
		}
		seen[model] = true
	}
	return nil
}
