package domxml

import (
	"strings"

	"libvirt.org/go/libvirtxml"
)

// FormatFlags select the view of a definition. The numbers are virDomainXMLFlags'.
type FormatFlags uint32

const (
	Secure     FormatFlags = 1 << iota // with passwords
	Inactive                           // without what only a running domain has
	UpdateCPU                          // the caller has updated the CPU; nothing to do here
	Migratable                         // what an older daemon on another host understands
	// Status is the form inside a status file: everything a restart of the daemon needs to know.
	Status FormatFlags = 1 << 16
)

// Format prints the definition as virsh dumpxml shows it.
func Format(d *libvirtxml.Domain, flags FormatFlags) (string, error) {
	root, err := fromStruct(d)
	if err != nil {
		return "", err
	}
	if flags&Migratable != 0 {
		flags |= Secure | Inactive
		forMigration(root)
	}
	present(root, flags)
	var b strings.Builder
	root.Print(&b, 0)
	return b.String(), nil
}
