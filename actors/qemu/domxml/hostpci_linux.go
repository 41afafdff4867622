package domxml

import "os"

// hostPCIExpress says whether a device of the host is a PCI Express one, by the capability list of its configuration
// space. A device that is not there is taken for one: it will be, when the guest starts.
func hostPCIExpress(address string) bool {
	const (
		status, hasList = 0x06, 0x10
		listStart       = 0x34
		express         = 0x10
	)
	config, err := os.ReadFile("/sys/bus/pci/devices/" + address + "/config")
	if err != nil || len(config) < 64 {
		return true
	}
	if config[status]&hasList == 0 {
		return false
	}
	pos := int(config[listStart] &^ 3)
	for range 48 { // as many as fit; a broken list may be a ring
		if pos < 0x40 || pos+1 >= len(config) {
			return false
		}
		if config[pos] == express {
			return true
		}
		pos = int(config[pos+1] &^ 3)
	}
	return false
}
