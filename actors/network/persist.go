package network

import (
	"errors"
	"io/fs"
	"path/filepath"

	"virtree/actors/internal/disk"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// What a network has on disk, in libvirt's layout:
//
//	/etc/libvirt/qemu/networks/NET.xml              persistent definition
//	/etc/libvirt/qemu/networks/autostart/NET.xml    link to it
//	/run/libvirt/network/NET.xml, NET.pid           while it is active: status, dnsmasq's process
//	/run/libvirt/network/NET/ports/UUID.xml         its ports
//	/var/lib/libvirt/dnsmasq/NET.{conf,hostsfile,addnhosts}, BRIDGE.{status,macs}

func (s *shared) configPath(name string) string {
	return filepath.Join(s.env.Paths.DriverConfig("network"), name+".xml")
}

func (s *shared) autostartPath(name string) string {
	return filepath.Join(s.env.Paths.Autostart("network"), name+".xml")
}

func (s *shared) runPath(name, ext string) string {
	return filepath.Join(s.env.Paths.DriverRun("network"), name+ext)
}

func (s *shared) statusPath(name string) string { return s.runPath(name, ".xml") }

func (s *shared) dnsmasqDir() string { return filepath.Join(s.env.Paths.State(), "dnsmasq") }

func (s *shared) dnsmasqPath(name, ext string) string { return filepath.Join(s.dnsmasqDir(), name+ext) }

// helperPath is what dnsmasq runs at every change of a lease: a link to this program, which knows its task by the name.
func (s *shared) helperPath() string { return s.runPath(helperName, "") }

// storeConfig writes the persistent definition.
func (s *shared) storeConfig(def *definition) error {
	path := s.configPath(def.name)
	if err := disk.Write(path, []byte(header("net-edit "+def.name)+def.format(nil)), 0o600); err != nil {
		what := "cannot write data to file"
		if pe := (*fs.PathError)(nil); errors.As(err, &pe) && pe.Op == "open" {
			what = "Failed to create file"
		}
		return liberr.System(liberr.FromNone, err, "%s '%s.new'", what, path)
	}
	return nil
}

// dropConfig removes the persistent definition and its autostart link.
func (s *shared) dropConfig(name string) error {
	if err := disk.Remove(s.autostartPath(name)); err != nil {
		return liberr.System(from, err, "cannot remove autostart link %s", s.autostartPath(name))
	}
	if err := disk.Remove(s.configPath(name)); err != nil {
		return liberr.System(from, err, "cannot remove config file '%s'", s.configPath(name))
	}
	return nil
}

// status is what must survive a restart of the daemon about an active network.
type status struct {
	def     *definition
	classes map[uint]bool // of tc, given to ports; 0, 1 and 2 are never given
	floor   uint64        // sum of the floors of all ports
	taints  []string
	backend string // of the firewall that has its rules
}

func newStatus(def *definition) *status {
	return &status{def: def, classes: map[uint]bool{0: true, 1: true, 2: true}}
}

// clone is a copy that may be changed; definitions are shared.
func (st *status) clone() *status {
	c := *st
	c.classes = make(map[uint]bool, len(st.classes))
	for k, v := range st.classes {
		c.classes[k] = v
	}
	return &c
}

// recount is the status with the floors and classes that the ports have.
func (st *status) recount(ports map[protocol.UUID]*port) *status {
	c := *st
	c.floor, c.classes = 0, newStatus(nil).classes
	for _, p := range ports {
		if p.class != 0 && p.bandwidth != nil && p.bandwidth.in != nil {
			c.classes[p.class] = true
			c.floor += p.bandwidth.in.floor
		}
	}
	return &c
}

func (st *status) format() string {
	w := &writer{}
	w.WriteString(header("net-destroy " + st.def.name))
	w.line("<networkstatus>")
	w.in()
	w.line("<class_id bitmap='%s'/>", bitmap(st.classes))
	w.line("<floor sum='%d'/>", st.floor)
	for _, t := range st.taints {
		w.line("<taint flag='%s'/>", t)
	}
	w.line("<firewall backend='%s'/>", st.backend)
	w.network(st.def, &liveFacts{})
	w.out()
	w.line("</networkstatus>")
	return w.String()
}

// parseStatus reads a status file, ours or libvirt's.
func parseStatus(text string) (*status, error) {
	root, err := reader("networkstatus", "(network_status)").Read(text)
	if err != nil {
		return nil, err
	}
	n := root.Kid("network")
	if n == nil {
		return nil, liberr.New(from, liberr.InternalError, "Could not find any 'network' element in status file")
	}
	def, err := parseNetwork(n)
	if err != nil {
		return nil, err
	}
	st := newStatus(def)
	// libvirt's own file, which says nothing, means the rules that libvirt has made.
	if st.backend = root.Kid("firewall").Get("backend"); st.backend == "" {
		st.backend = backendIptables
	}
	if b, ok := root.Kid("class_id").Lookup("bitmap"); ok {
		for _, id := range parseBitmap(b) {
			st.classes[id] = true
		}
	}
	if v, given, err := numberOf(root.Kid("floor"), "sum", 64); err == nil && given {
		st.floor = v
	}
	for _, t := range root.All("taint") {
		st.taints = append(st.taints, t.Get("flag"))
	}
	return st, nil
}

func (s *shared) storeStatus(st *status) error {
	path := s.statusPath(st.def.name)
	if err := disk.WriteVolatile(path, []byte(st.format()), 0o600); err != nil {
		return liberr.System(from, err, "cannot create config file '%s'", path)
	}
	return nil
}
