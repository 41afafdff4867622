package qemu

import (
	"sync"

	"virtree/actors/qemu/qmp"
	"virtree/wire/protocol"
)

// monitors knows the open monitor of every running domain. QEMU serves one client at a time, so the
// successor of a domain's actor that got stuck must be able to close what its predecessor holds: the one
// thing that a stuck actor cannot be asked for.
type monitors struct {
	mu   sync.Mutex
	open map[protocol.UUID]*qmp.Client
}

// put remembers an open monitor.
func (m *monitors) put(u protocol.UUID, c *qmp.Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == nil {
		m.open = map[protocol.UUID]*qmp.Client{}
	}
	m.open[u] = c
}

// take closes the monitor that is still open, if there is one.
func (m *monitors) take(u protocol.UUID) {
	m.mu.Lock()
	c := m.open[u]
	delete(m.open, u)
	m.mu.Unlock()
	if c != nil {
		_ = c.Close()
	}
}
