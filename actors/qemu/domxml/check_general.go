package domxml

import (
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
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
	if p := root.Kid("pm"); p != nil && len(p.Kids) == 0 {
		root.Remove(p)
	}
	for _, name := range []string{"pm", "perf", "keywrap", "launchSecurity", "sysinfo", "vcpu", "vcpus", "iothreadids", "os", "cputune", "features", "cpu", "clock"} {
		for _, n := range root.All(name) {
			if err := grammar["domain"].kids[name].kind.check(n); err != nil {
				return err
			}
		}
	}
	return def.checkSysinfo()
}

func (def *definition) checkIdentity() error {
	root := def.root
	name := root.Kid("name")
	switch {
	case name == nil || name.Text == "":
		return liberr.Plain(liberr.FromDomain, liberr.NoName)
	case strings.Contains(name.Text, "/"):
		return xmlError("name %s cannot contain '/'", name.Text)
	}
	if u := root.Kid("uuid"); u == nil {
		root.Add(xmltree.Leaf("uuid", def.env.uuid()))
	} else if text, ok := parseUUID(u.Text); ok {
		u.Text = text
	} else {
		return internalError("malformed uuid element")
	}
	typ, ok := root.Lookup("type")
	if !ok {
		return internalError("missing domain type attribute")
	}
	if !slices.Contains(domainTypes, typ) {
		return unsupported("invalid domain type %s", typ)
	}
	if def.flags&ParseLive == 0 {
		root.Unset("id")
	}
	if strings.Contains(root.KidText("title"), "\n") {
		return xmlError("Domain title can't contain newlines")
	}
	for _, empty := range []string{"title", "description"} {
		if root.KidText(empty) == "" {
			root.Drop(empty)
		}
	}
	if g := root.Kid("genid"); g != nil {
		if g.Text == "" {
			g.Text = def.env.uuid()
		} else if text, ok := parseUUID(g.Text); ok {
			g.Text = text
		} else {
			return internalError("malformed genid element")
		}
	}
	if meta := root.Kid(metadataName); meta != nil {
		sanitizeMetadata(meta)
	}
	if root.Kid("bootloader") != nil && root.KidText("bootloader") == "" {
		root.Drop("bootloader")
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
	if def.memory.total, err = kib(root.Kid("memory"), "./memory[1]"); err != nil {
		return err
	}
	if n := root.Kid("memory"); n != nil && n.Has("dumpCore") && n.Get("dumpCore") != "on" && n.Get("dumpCore") != "off" {
		return badValue(n, "dumpCore", n.Get("dumpCore"))
	}
	if def.memory.current, err = kib(root.Kid("currentMemory"), "./currentMemory[1]"); err != nil {
		return err
	}
	if def.memory.maximum, err = kib(root.Kid("maxMemory"), "./maxMemory[1]"); err != nil {
		return err
	}
	if m := root.Kid("maxMemory"); m != nil {
		slots, ok := uintOf(m, "slots")
		if m.Has("slots") && (!ok || slots > math.MaxUint32) {
			return xmlError("Failed to parse memory slot count")
		}
		def.memory.slots = slots
		if (def.memory.maximum == 0) != (slots == 0) {
			return xmlError("both maximum memory size and memory slot count must be specified")
		}
		setKiB(m, def.memory.maximum)
	}
	if b := root.Kid("memoryBacking"); b != nil {
		return checkMemoryBacking(b, len(root.Kid("cpu/numa").All("cell")))
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
		v, ok := b.Kid(c.kid).Lookup(c.attr)
		if ok && !slices.Contains(c.values, v) {
			return unsupported("unknown memoryBacking/%s/%s '%s'", c.kid, c.attr, v)
		}
	}
	var masters, late []string
	for _, p := range b.Kid("hugepages").All("page") {
		named := p.Has("nodeset")
		size, ok := p.Lookup("size")
		if !ok {
			return xmlError("missing element or attribute './@size'")
		}
		v, err := kibText(size, p.Get("unit"), "./@size")
		if err != nil {
			return err
		}
		if v == 0 {
			return xmlError("hugepage size can't be zero")
		}
		p.Set("size", utoa(v))
		p.Set("unit", "KiB")
		if err := checkPageNodes(p, cells); err != nil {
			return err
		}
		if p.Has("nodeset") {
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
	if cells == 0 && p.Get("nodeset") == "0" {
		p.Unset("nodeset")
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
	n := root.Kid("vcpu")
	if n == nil {
		n = xmltree.Leaf("vcpu", "1")
		root.Add(n)
	}
	maximum := uint64(1)
	if text := strings.TrimSpace(n.Text); text != "" {
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
	n.Text = utoa(maximum)
	if c, ok := n.Lookup("current"); ok {
		v, valid := parseUint(c)
		if !valid || v > math.MaxUint32 {
			return xmlError("current vcpus count must be an integer")
		}
		if v > maximum {
			return unsupported("maximum vCPU count must not be less than current vCPU count")
		}
		if v == maximum {
			n.Unset("current")
		}
	}
	if err := grammar["vcpu"].check(n); err != nil {
		return err
	}
	n.SetDefault("placement", "static")
	tune := root.Kid("cputune")
	pinned := tune.Kid("vcpupin") != nil || tune.Kid("emulatorpin") != nil || tune.Kid("iothreadpin") != nil
	if root.Kid("numatune/memory").Get("placement") == "auto" && !n.Has("cpuset") && !pinned {
		n.Set("placement", "auto") // CPUs follow the memory where nothing holds them
	}
	if n.Get("placement") == "auto" {
		n.Unset("cpuset")
	}
	if cpuset, ok := n.Lookup("cpuset"); ok {
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
	list := def.root.Kid("vcpus")
	if list == nil {
		if count.Get("current") == "0" {
			return unsupported("vcpu 0 can't be offline")
		}
		return nil
	}
	online, ordered := 0, 0
	for _, v := range list.All("vcpu") {
		if err := grammar["vcpuone"].check(v); err != nil {
			return err
		}
		id, _ := uintOf(v, "id")
		if id >= maximum {
			return xmlError("vcpu id '%d' is out of range of maximum vcpu count", id)
		}
		if v.Get("enabled") == "yes" {
			online++
		} else if id == 0 {
			return unsupported("vcpu 0 can't be offline")
		}
		if v.Has("order") && v.Get("enabled") == "no" {
			return xmlError("vcpu order set on offline vcpu '%d'", id)
		}
		if v.Get("enabled") == "yes" && v.Has("order") {
			ordered++
		}
	}
	if ordered != 0 && ordered != online {
		return unsupported("all vcpus must have either set or unset order")
	}
	count.Unset("current")
	if uint64(online) < maximum {
		count.Set("current", utoa(online))
	}
	return nil
}

func (def *definition) checkIOThreads() error {
	root := def.root
	count := uint64(0)
	if n := root.Kid("iothreads"); n != nil {
		v, err := strconv.ParseUint(cNumber(n.Text), 10, 32)
		if err != nil {
			return xmlError("invalid iothreads count '%s'", n.Text)
		}
		count = v
	}
	var ids []string
	list := root.Kid("iothreadids")
	for _, t := range list.All("iothread") {
		if err := grammar["iothread"].check(t); err != nil {
			return err
		}
		if slices.Contains(ids, t.Get("id")) {
			return xmlError("duplicate iothread id '%s' found", t.Get("id"))
		}
		ids = append(ids, t.Get("id"))
		if err := checkThreadPool(t); err != nil {
			return err
		}
	}
	if d := root.Kid("defaultiothread"); d != nil {
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
		if list != nil && len(list.Kids) > 0 {
			list.Add(xmltree.Elem("iothread", "id", id))
		}
	}
	if list != nil && len(list.Kids) == 0 {
		root.Remove(list)
	}
	root.Drop("iothreads")
	if count > 0 {
		root.Add(xmltree.Leaf("iothreads", utoa(count)))
	}
	return nil
}

func checkThreadPool(n *node) error {
	lo, okLo := uintOf(n, "thread_pool_min")
	hi, okHi := uintOf(n, "thread_pool_max")
	if okLo && okHi && lo > hi {
		return unsupported("thread_pool_min must be smaller or equal to thread_pool_max")
	}
	return nil
}

func byNumber(attr string) func(a, b *node) int {
	return func(a, b *node) int {
		x, _ := uintOf(a, attr)
		y, _ := uintOf(b, attr)
		return int(x) - int(y)
	}
}

// iothreadIDs are the ids of all I/O threads, implied ones too.
func (def *definition) iothreadIDs() []string {
	var ids []string
	for _, t := range def.root.Kid("iothreadids").All("iothread") {
		ids = append(ids, t.Get("id"))
	}
	if len(ids) == 0 {
		count, _ := strconv.Atoi(def.root.KidText("iothreads"))
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
		n := def.root.Kid(a.name)
		if n == nil || n.Text == "" {
			def.root.Drop(a.name)
			if a.def != "" {
				def.root.Add(xmltree.Leaf(a.name, a.def))
			}
		} else if !slices.Contains(a.values, n.Text) {
			return unsupported("unknown %s action: %s", a.name, n.Text)
		}
	}
	return nil
}

func (def *definition) checkClock() error {
	n := def.root.Ensure("clock")
	n.SetDefault("offset", "utc")
	offset := n.Get("offset")
	keep := []string{"offset"}
	switch offset {
	case "utc", "localtime":
		if a, ok := n.Lookup("adjustment"); ok && a != "reset" {
			// An adjustment of a fixed offset makes it a variable one.
			if _, err := strconv.ParseInt(a, 10, 64); err != nil {
				return xmlError("unknown clock adjustment '%s'", a)
			}
			n.Set("offset", "variable")
			n.Set("basis", offset)
			keep = append(keep, "basis")
		}
		keep = append(keep, "adjustment")
	case "variable":
		if v, err := strconv.ParseInt(cNumber(n.Get("adjustment")), 10, 64); err == nil {
			n.Set("adjustment", utoa(v))
		} else {
			n.Set("adjustment", "0")
		}
		n.SetDefault("basis", "utc")
		if b := n.Get("basis"); b != "utc" && b != "localtime" {
			return unsupported("unknown clock basis '%s'", b)
		}
		keep = append(keep, "adjustment", "basis")
	case "timezone":
		if !n.Has("timezone") {
			return internalError("missing 'timezone' attribute for clock with offset='timezone'")
		}
		keep = append(keep, "timezone")
	case "absolute":
		if !n.Has("start") {
			return internalError("missing 'start' attribute for clock with offset='absolute'")
		}
		keep = append(keep, "start")
	default:
		return unsupported("unknown clock offset '%s'", offset)
	}
	n.Attrs = slices.DeleteFunc(n.Attrs, func(a attr) bool { return !slices.Contains(keep, a.Name) })
	return nil
}

func (def *definition) checkSysinfo() error {
	for _, s := range def.root.All("sysinfo") {
		if s.Get("type") == "fwcfg" {
			s.Drop("bios", "system", "baseBoard", "chassis", "oemStrings")
			for _, e := range s.All("entry") {
				if !e.Has("name") {
					return xmlError("Firmware entry is missing 'name' attribute")
				}
				if e.Text == "" && e.Get("file") == "" {
					return xmlError("Firmware entry must have either value or 'file' attribute")
				}
			}
			continue
		}
		s.Drop("entry")
		for _, e := range s.Kid("bios").All("entry") {
			if e.Get("name") == "date" && !validSMBIOSDate(e.Text) {
				return liberr.New(liberr.FromDomain, liberr.XMLDetail, "Invalid BIOS 'date' format")
			}
		}
		for _, e := range s.Kid("system").All("entry") {
			if e.Get("name") != "uuid" {
				continue
			}
			text, ok := parseUUID(e.Text)
			if !ok {
				return liberr.New(liberr.FromDomain, liberr.XMLDetail, "malformed <sysinfo> uuid element")
			}
			if text != def.root.KidText("uuid") {
				return liberr.New(liberr.FromDomain, liberr.XMLDetail, "UUID mismatch between <uuid> and <sysinfo>")
			}
			e.Text = text
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
	for _, l := range def.root.All("seclabel") {
		if err := grammar["seclabel"].check(l); err != nil {
			return err
		}
		typ, ok := l.Lookup("type")
		if !ok {
			// A label that says nothing is the default one, which is never spelled out.
			if l.Get("model") == "" && def.flags&ParseTrusted == 0 {
				return xmlError("missing security model in domain seclabel")
			}
			def.root.Remove(l)
			continue
		}
		if typ == "dynamic" && l.Get("relabel") == "no" {
			return unsupported("dynamic label type must use resource relabeling")
		}
		if typ == "dynamic" && l.Get("model") == "none" {
			typ = "none"
			l.Set("type", "none")
		}
		if typ == "dynamic" && !l.Has("model") {
			if models := def.env.SecurityModels; len(models) > 0 && models[0] != "none" {
				l.Set("model", models[0])
			} else {
				typ = "none"
				l.Set("type", "none")
			}
		}
		switch typ {
		case "none":
			l.SetDefault("model", "none")
			l.Unset("relabel")
			l.Drop("label", "imagelabel", "baselabel")
		case "static":
			l.SetDefault("relabel", "no")
			if l.KidText("label") == "" {
				return xmlError("security label is missing")
			}
			l.Drop("baselabel", "imagelabel")
		case "dynamic":
			l.SetDefault("relabel", "yes")
			if def.flags&ParseLive == 0 {
				l.Drop("label", "imagelabel")
			}
		}
		model := l.Get("model")
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
