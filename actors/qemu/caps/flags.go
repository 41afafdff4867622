package caps

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
)

// flagTable names libvirt's capability flags, each with what makes a QEMU have it:
//
//	(nothing)              every QEMU that libvirt 9.0.0 runs, 4.2 and later
//	since VERSION          that version and later
//	kvm, tcg, x86          the accelerator, the architecture
//	dev TYPE               the device
//	prop TYPE NAME         the device's property
//	obj TYPE               the user creatable object
//	objprop TYPE NAME      the object's property
//	cmd NAME               the QMP command
//	arg COMMAND NAME       the command's argument
//	opt GROUP NAME         the parameter of a command line option
//	mig NAME               the migration capability
//	tpm NAME               the TPM model or backend
//	schema QUERY           one of schemaQueries
//
//go:embed flags.txt
var flagTable string

// LibvirtFlags are the binary's capabilities by the names that libvirt gives them in the status files of running guests:
// without them libvirt does not take a guest over, and ends it. Only flags of 9.0.0 are known, which later versions
// still read; libvirt orders them as this does.
func (c *Caps) LibvirtFlags() (flags []string) {
	for line := range strings.Lines(flagTable) {
		if f := strings.Fields(line); c.meets(f[1:]) {
			flags = append(flags, f[0])
		}
	}
	return flags
}

func (c *Caps) meets(condition []string) bool {
	if len(condition) == 0 {
		return true
	}
	word := func(n int) string { return condition[n] }
	switch word(0) {
	case "since":
		return c.Version >= version(word(1))
	case "kvm":
		return c.KVM
	case "tcg":
		return c.TCG
	case "x86":
		return c.Arch == "x86_64" || c.Arch == "i686"
	case "dev":
		return c.Devices[word(1)] != nil
	case "prop":
		return c.Devices[word(1)][word(2)]
	case "obj":
		return c.Objects[word(1)] != nil
	case "objprop":
		return c.Objects[word(1)][word(2)]
	case "cmd":
		return c.Commands[word(1)]
	case "arg":
		return c.Args[word(1)][word(2)]
	case "opt":
		return c.Options[word(1)][word(2)]
	case "mig":
		return c.Migration[word(1)]
	case "tpm":
		return slices.Contains(c.TPM.Models, word(1)) || slices.Contains(c.TPM.Types, word(1))
	case "schema":
		return c.Schema[word(1)]
	}
	panic("caps: a flag's condition cannot be read: " + strings.Join(condition, " "))
}

// version reads "7.2" as QEMU's versions are counted in Caps.
func version(s string) uint32 {
	major, minor, _ := strings.Cut(s, ".")
	a, _ := strconv.ParseUint(major, 10, 32)
	b, _ := strconv.ParseUint(minor, 10, 32)
	return uint32(a*1_000_000 + b*1_000)
}
