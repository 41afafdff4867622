package domxml

import (
	"slices"
	"strconv"
	"strings"
)

// refuseExtras counts what there may be one of, before the grammar drops the rest.
func refuseExtras(root *node) error {
	devices := root.Kid("devices")
	for _, s := range []struct {
		name string
		err  error
	}{
		{"watchdog", internalError("only a single watchdog device is supported")},
		{"memballoon", internalError("only a single memory balloon device is supported")},
		{"nvram", xmlError("only a single nvram device is supported")},
		{"iommu", xmlError("only a single IOMMU device is supported")},
		{"vsock", xmlError("only a single vsock device is supported")},
	} {
		if len(devices.All(s.name)) > 1 {
			return s.err
		}
	}
	return nil
}

// validate refuses what is well formed but makes no sense (virDomainDefValidate), and what the driver or the binary
// cannot do (qemuValidateDomainDef).
func (def *definition) validate() error {
	for _, step := range []func() error{
		def.validateDomain, def.validateDisks, def.validateAliases, def.validateAudio, def.validateMachine, def.validateCPUOptions, def.validateQEMU, def.validateOpenGL, def.validateSpice, def.validateDevices,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (def *definition) validateDomain() error {
	root := def.root
	if def.root.Kid("idmap") != nil && (root.Kid("idmap/uid") == nil || root.Kid("idmap/gid") == nil) {
		return unsupported("uid and gid should be mapped both")
	}
	if def.memory.maximum > 0 && root.Kid("cpu/numa/cell") == nil {
		return qemuUnsupported("At least one numa node has to be configured when enabling memory hotplug")
	}
	if t := root.Kid("cpu/topology"); t != nil {
		product := uint64(1)
		for _, a := range []string{"sockets", "dies", "cores", "threads"} {
			v, _ := uintOf(t, a)
			product *= v
		}
		if strconv.FormatUint(product, 10) != root.KidText("vcpu") {
			return unsupported("CPU topology doesn't match maximum vcpu count")
		}
	}
	if name := root.KidText("name"); strings.Contains(name, "\n") {
		return xmlDetail("invalid char in name: %c", '\n')
	}
	hostdevs := def.devices.All("hostdev")
	for i, h := range hostdevs {
		if slices.ContainsFunc(hostdevs[:i], func(o *node) bool { return sameHostdev(o, h) }) {
			return xmlError("Hostdev already exists in the domain configuration")
		}
	}
	models := map[string]bool{}
	for _, p := range def.devices.All("panic") {
		if models[p.Get("model")] {
			return xmlError("Multiple panic devices with model '%s'", p.Get("model"))
		}
		models[p.Get("model")] = true
	}
	return nil
}

// describe appends everything an element says to a key.
func describe(n *node, key *string) {
	if n == nil {
		return
	}
	*key += " " + n.Name + n.Text
	for _, a := range n.Attrs {
		*key += " " + a.Name + "=" + a.Value
	}
	for _, k := range n.Kids {
		describe(k, key)
	}
}

func (def *definition) validateAliases() error {
	seen := map[string]bool{}
	for _, d := range def.devices.Kids {
		a := d.Kid("alias").Get("name")
		if a == "" || d.Name == "console" {
			continue
		}
		if seen[a] {
			return unsupported("non unique alias detected: %s", a)
		}
		seen[a] = true
	}
	return nil
}

func (def *definition) validateAudio() error {
	ids := map[string]bool{}
	spice := slices.ContainsFunc(def.devices.All("graphics"), func(g *node) bool { return g.Get("type") == "spice" })
	for _, a := range def.devices.All("audio") {
		if ids[a.Get("id")] {
			return xmlError("audio ID %s is used multiple times", a.Get("id"))
		}
		ids[a.Get("id")] = true
	}
	for _, d := range def.devices.Kids {
		if d.Name != "sound" && (d.Name != "graphics" || d.Get("type") != "vnc") {
			continue
		}
		if id := d.Kid("audio").Get("id"); id != "" && !ids[id] {
			return xmlError("no audio device with ID %s", id)
		}
	}
	for _, a := range def.devices.All("audio") {
		if a.Get("type") == "spice" && !spice {
			return qemuUnsupported("Spice audio is not supported without spice graphics")
		}
	}
	return nil
}

// validateMachine checks what depends on the machine type.
func (def *definition) validateMachine() error {
	if def.root.Kid("bootloader") != nil {
		return qemuUnsupported("bootloader is not supported by QEMU")
	}
	count, _ := strconv.Atoi(def.root.KidText("vcpu"))
	if limit := def.machine.MaxCPUs; limit > 0 && count > limit {
		return qemuUnsupported("Maximum CPUs greater than specified machine type limit %d", limit)
	}
	for _, a := range []string{"on_reboot", "on_poweroff"} {
		if v := def.root.KidText(a); v == "preserve" || v == "rename-restart" {
			return qemuUnsupported("qemu driver doesn't support the '%s' action for 'on_reboot'/'on_poweroff'", v)
		}
	}
	if !def.isX86() {
		return nil
	}
	for _, f := range []string{"gic", "htm", "hpt", "nested-hv", "ccf-assist", "cfpc", "sbbc", "ibs"} {
		if def.root.Kid("features/"+f) != nil {
			return qemuUnsupported("The '%s' feature is not supported for architecture '%s' or machine type '%s'", f, def.arch, def.machineName())
		}
	}
	return nil
}

// validateQEMU checks what depends on the accelerator and the binary.
func (def *definition) validateQEMU() error {
	for _, t := range def.root.Kid("clock").All("timer") {
		switch t.Get("name") {
		case "platform":
			return qemuUnsupported("unsupported timer type (name) '%s'", t.Get("name"))
		case "rtc":
			switch t.Get("track") {
			case "boot":
				return qemuUnsupported("unsupported rtc timer track '%s'", t.Get("track"))
			}
			if p := t.Get("tickpolicy"); p == "merge" || p == "discard" {
				return qemuUnsupported("unsupported rtc timer tickpolicy '%s'", p)
			}
		case "pit":
			if p := t.Get("tickpolicy"); p == "merge" {
				return qemuUnsupported("unsupported pit timer tickpolicy '%s'", p)
			}
		}
	}
	if l := def.root.Kid("launchSecurity"); l.Get("type") == "sev" && def.caps.SEV == nil {
		return qemuUnsupported("SEV launch security is not supported with this QEMU binary")
	}
	if def.root.Kid("features/tcg") != nil && def.root.Get("type") == "kvm" {
		return qemuUnsupported("TCG features are incompatible with domain type '%s'", "kvm")
	}
	if def.root.Kid("cputune/cachetune") != nil && def.root.Get("type") != "kvm" {
		return unsupported("cachetune is only supported for KVM domains")
	}
	return nil
}
