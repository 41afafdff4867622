package network

import (
	"encoding/json"
	"os"
	"path/filepath"

	"virtree/actors/internal/disk"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// macsEntry is one guest in BRIDGE.macs, by which libvirt's NSS module finds a guest's leases by the guest's name.
type macsEntry struct {
	Domain string   `json:"domain"`
	MACs   []string `json:"macs"`
}

// storeMACs writes which guest has which addresses.
func (s *shared) storeMACs(def *definition, ports []*port) error {
	if !def.ownBridge() {
		return nil
	}
	all := []*macsEntry{}
	byName := map[string]*macsEntry{}
	for _, p := range ports {
		e := byName[p.owner]
		if e == nil {
			e = &macsEntry{Domain: p.owner}
			byName[p.owner] = e
			all = append(all, e)
		}
		e.MACs = append(e.MACs, p.mac)
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	path := s.dnsmasqPath(def.bridge, ".macs")
	if err := disk.WriteVolatile(path, append(text, '\n'), 0o644); err != nil {
		return liberr.System(from, err, "cannot write '%s'", path)
	}
	return nil
}

// dropPort removes a port's file, and the folder with the last one.
func (s *shared) dropPort(network string, id protocol.UUID) error {
	if err := os.Remove(s.portPath(network, id)); err != nil && !os.IsNotExist(err) {
		return err
	}
	if os.Remove(s.portsDir(network)) == nil { // refused while there are others
		_ = os.Remove(filepath.Dir(s.portsDir(network)))
	}
	return nil
}
