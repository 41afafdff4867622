package caps

import "strings"

// Caps is what one QEMU binary can do on this host. It never changes after probing, so it may be shared.
type Caps struct {
	Binary  string // absolute path
	Version uint32 // major*1000000 + minor*1000 + micro
	Package string // the packager's version, e.g. "Debian 1:7.2+dfsg-7+deb12u18"
	Arch    string // libvirt's name: "x86_64", "i686", ...
	KVM     bool   // KVM usable on this host with this binary
	TCG     bool   // the binary has the emulator built in

	Machines []Machine        // default first, then in the order QEMU lists them
	Devices  map[string]Props // QOM device type -> its properties; empty Props when it cannot be asked for
	Objects  map[string]Props // other user creatable QOM types ("memory-backend-ram", "iothread")

	Commands map[string]bool
	Events   map[string]bool
	Options  map[string]Props // command line option group -> its parameters
	Args     map[string]Props // QMP command -> the names of its arguments
	Schema   map[string]bool  // answers to the questions in schemaQueries, by their path

	Migration map[string]bool // query-migrate-capabilities: which exist

	CPUs    map[string][]CPUModel    // by accelerator: "kvm", "tcg"
	HostCPU map[string]*CPUExpansion // by accelerator: QEMU's own "host" (kvm) or "max" (tcg), expanded

	SEV *SEV   // nil where the host has none
	SGX *SGX   // nil where the host has none
	GIC []int  // versions of the ARM interrupt controller
	HV  Props  // Hyper-V enlightenments KVM offers, by QEMU's property name
	TPM TPMSet // models and backends built in
}

// Props is a set of property, argument or parameter names.
type Props map[string]bool

// TPMSet is what query-tpm-models and query-tpm-types said.
type TPMSet struct {
	Models, Types []string
}

// Machine is one machine type of a binary.
type Machine struct {
	Name         string
	Alias        string // "" or the short name that stands for Name
	Default      bool
	MaxCPUs      int
	HotplugCPUs  bool
	Deprecated   bool
	NUMAMem      bool   // -numa node,mem= still accepted
	DefaultCPU   string // QOM type name, "" when the machine names none
	DefaultRAMID string // id of the memory backend the machine makes itself
	ACPI         bool   // has the "acpi" switch; QEMU 7.2 does not tell, so it is derived from the arch
}

// Usable says whether a CPU model can run on this host.
type Usable string

const (
	UsableUnknown Usable = "unknown"
	UsableYes     Usable = "yes"
	UsableNo      Usable = "no"
)

// CPUModel is one entry of query-cpu-definitions.
type CPUModel struct {
	Name       string
	Type       string   // QOM type
	Usable     Usable   // unknown when QEMU does not say
	Blockers   []string // features the host lacks
	Deprecated bool
	Static     bool
	AliasOf    string // versioned name, "" when it is none
}

// CPUExpansion is a model spelled out by query-cpu-model-expansion.
type CPUExpansion struct {
	Name  string
	Props map[string]any // bool, string or float64 by QEMU's property name

	// Migratable is set when the expansion was asked twice (migratable on and off): features that do not survive
	// migration are named here with false.
	Migratable map[string]bool
}

// SEV is query-sev-capabilities.
type SEV struct {
	PDH, CertChain, CPU0ID   string
	CBitPos, ReducedPhysBits uint32
	MaxGuests, MaxESGuests   uint32
}

// SGX is query-sgx-capabilities.
type SGX struct {
	FLC, SGX1, SGX2 bool
	SectionSizeKiB  uint64
	Sections        []SGXSection
}

// SGXSection is the enclave memory of one NUMA node.
type SGXSection struct {
	Node    int
	SizeKiB uint64
}

// HasDevice says whether the binary knows the QOM device type.
func (c *Caps) HasDevice(name string) bool {
	_, ok := c.Devices[name]
	return ok
}

// HasObject says whether the binary knows the user creatable object type.
func (c *Caps) HasObject(name string) bool {
	_, ok := c.Objects[name]
	return ok
}

// HasProp says whether a device or object type has the property.
func (c *Caps) HasProp(device, prop string) bool {
	return c.Devices[device][prop] || c.Objects[device][prop]
}

// HasCommand says whether QMP has the command.
func (c *Caps) HasCommand(name string) bool { return c.Commands[name] }

// HasEvent says whether QMP can send the event.
func (c *Caps) HasEvent(name string) bool { return c.Events[name] }

// HasArg says whether a QMP command takes the argument.
func (c *Caps) HasArg(command, arg string) bool { return c.Args[command][arg] }

// HasOption says whether a command line option group has the parameter.
func (c *Caps) HasOption(group, param string) bool { return c.Options[group][param] }

// HasSchema answers one of the questions of schemaQueries ("blockdev-add/file/aio/^io_uring").
func (c *Caps) HasSchema(path string) bool { return c.Schema[path] }

// Machine finds a machine type by its name or alias.
func (c *Caps) Machine(name string) (Machine, bool) {
	for _, m := range c.Machines {
		if m.Name == name || (m.Alias != "" && m.Alias == name) {
			return m, true
		}
	}
	return Machine{}, false
}

// CanonicalMachine turns an alias into the versioned name ("pc" -> "pc-i440fx-7.2"); other names stay as they are,
// known or not.
func (c *Caps) CanonicalMachine(name string) string {
	if m, ok := c.Machine(name); ok {
		return m.Name
	}
	return name
}

// DefaultMachine is the machine of a domain that names none.
//
// Compat: QEMU's own default is used except where libvirt pins one, which on x86 is "pc" whatever QEMU says.
func (c *Caps) DefaultMachine() Machine {
	if want := preferredMachine(c.Arch); want != "" {
		if m, ok := c.Machine(want); ok {
			return m
		}
	}
	for _, m := range c.Machines {
		if m.Default {
			return m
		}
	}
	if len(c.Machines) > 0 {
		return c.Machines[0]
	}
	return Machine{}
}

// preferredMachine is libvirt's choice per architecture, "" where QEMU's default stands.
func preferredMachine(arch string) string {
	switch arch {
	case "x86_64", "i686":
		return "pc"
	case "aarch64", "armv7l", "armv6l", "riscv32", "riscv64":
		return "virt"
	}
	return ""
}

// SupportsVirtType says whether the binary can run domains of libvirt's type "kvm" or "qemu".
func (c *Caps) SupportsVirtType(virtType string) bool {
	switch virtType {
	case "kvm":
		return c.KVM
	case "qemu":
		return c.TCG
	}
	return false
}

// accelerator maps libvirt's domain type to the key of CPUs and HostCPU.
func accelerator(virtType string) string {
	if virtType == "kvm" {
		return "kvm"
	}
	return "tcg"
}

// IsPCI says whether machines of this name have a PCI root (i440fx or Q35).
func (m Machine) IsPCI() bool { return m.IsQ35() || m.IsI440FX() }

// IsQ35 recognises the Q35 family by libvirt's rule.
func (m Machine) IsQ35() bool {
	return m.Name == "q35" || strings.HasPrefix(m.Name, "pc-q35")
}

// IsI440FX recognises the old PC family by libvirt's rule.
func (m Machine) IsI440FX() bool {
	switch {
	case m.Name == "pc", strings.HasPrefix(m.Name, "pc-0."), strings.HasPrefix(m.Name, "pc-1."),
		strings.HasPrefix(m.Name, "pc-i440"), strings.HasPrefix(m.Name, "rhel"):
		return true
	}
	return false
}
