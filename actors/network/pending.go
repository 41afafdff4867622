package network

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/disk"
	"virtree/wire/liberr"
)

// A start that its process does not survive must not leave half a network behind. Before a start touches anything it writes
// what it is about to do to NET.starting, locks it, and removes it when the status file is there or everything is undone. A
// marker that nobody holds is a start that was cut off: the next load undoes what it may have done.

func (s *shared) markerPath(name string) string { return s.runPath(name, ".starting") }

// marker is a start in progress.
type marker struct{ file *os.File }

// markStart waits for an earlier start of the network, which may still be undoing itself, and marks this one.
func (s *shared) markStart(ctx context.Context, st *status) (*marker, error) {
	path := s.markerPath(st.def.name)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		m, err := lockMarker(path, os.O_CREATE)
		if err == nil {
			if _, err = m.file.WriteString(st.format()); err == nil {
				return m, nil
			}
			m.remove()
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, liberr.System(from, err, "cannot create file '%s'", path)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// lockMarker opens and locks a marker; EWOULDBLOCK when somebody else has it.
func lockMarker(path string, flags int) (*marker, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		// Whoever had it removed it before letting go.
		opened, _ := f.Stat()
		named, e := os.Stat(path)
		if e != nil || !os.SameFile(opened, named) {
			err = unix.EWOULDBLOCK
		}
	}
	if err == nil && flags&os.O_CREATE != 0 {
		err = f.Truncate(0)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &marker{f}, nil
}

// remove ends the start, done or undone.
func (m *marker) remove() {
	if m.file != nil {
		_ = os.Remove(m.file.Name())
		_ = m.file.Close()
		m.file = nil
	}
}

// recoverStarts undoes the starts that were cut off.
func (s *shared) recoverStarts(ctx context.Context) {
	markers, _ := filepath.Glob(s.runPath("*", ".starting"))
	for _, path := range markers {
		m, err := lockMarker(path, 0)
		if err != nil {
			continue // it goes on, or undoes itself
		}
		name := strings.TrimSuffix(filepath.Base(path), ".starting")
		text, err := os.ReadFile(path)
		st, e := parseStatus(string(text))
		switch {
		case disk.Exists(s.statusPath(name)), err != nil, e != nil: // all was done; or nothing yet
		default:
			s.env.Log.Warn().Str("network", name).Msg("a start of the network was cut off; what it left is removed")
			s.undoStart(ctx, st)
		}
		m.remove()
	}
}

func (s *shared) undoStart(ctx context.Context, st *status) {
	def := st.def
	note := func(what string, err error) {
		if err != nil {
			s.env.Log.Error().Err(err).Str("network", def.name).Msg("cannot " + what)
		}
	}
	if !def.ownBridge() {
		if def.bandwidth != nil && def.bridge != "" {
			note("remove the bandwidth", shape(def.bridge, clearSteps()))
		}
		return
	}
	note("stop dnsmasq", s.killStray(ctx, def))
	note("remove firewall rules", s.firewallOf(st.backend).remove(ctx, def))
	// A bridge of that name and another address is what the start was refused for.
	if l, err := netlink.LinkByName(def.bridge); err == nil && l.Type() == "bridge" {
		if mac, err := net.ParseMAC(def.mac); err == nil && l.Attrs().HardwareAddr.String() == mac.String() {
			unsetZone(ctx, def)
			note("delete the bridge", deleteBridge(def.bridge))
		}
	}
	_ = os.Remove(s.runPath(def.name, ".pid"))
}
