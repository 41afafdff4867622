package node

import (
	"strings"

	"github.com/google/uuid"
)

// HostUUID is the host's identity by libvirt's rules: what the configuration says (host_uuid), else by host_uuid_source
// the machine's own from its firmware ("smbios", the default) or the id of the installed system ("machine-id"). ok is
// false when none of them is there or worth anything; libvirt then takes a random one for the life of the daemon.
func (n Node) HostUUID(configured, source string) (id uuid.UUID, ok bool) {
	if configured != "" {
		if id, err := uuid.Parse(configured); err == nil && genuine(id) {
			return id, true
		}
	}
	if source == "machine-id" {
		id, err := uuid.Parse(strings.TrimSpace(n.text("/etc/machine-id")))
		return id, err == nil
	}
	for _, file := range []string{"/sys/devices/virtual/dmi/id/product_uuid", "/sys/class/dmi/id/product_uuid"} {
		if id, err := uuid.Parse(strings.TrimSpace(n.text(file))); err == nil && genuine(id) {
			return id, true
		}
	}
	return uuid.UUID{}, false
}

// genuine refuses what lazy firmware writes: all digits equal.
func genuine(id uuid.UUID) bool {
	digits := strings.ReplaceAll(id.String(), "-", "")
	return strings.Trim(digits, digits[:1]) != ""
}
