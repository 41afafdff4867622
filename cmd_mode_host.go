package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"virtree/supervisors"
	"virtree/supervisors/paths"
)

// serviceManager is what `virtree mode` needs of systemd.
type serviceManager interface {
	// Booted tells whether it runs this host. If not, units can be looked at and nothing can be done.
	Booted() bool
	Show(units []string) (map[string]unit, error)
	// Do is one command: "daemon-reload", or enable, disable, start, stop of units.
	Do(verb string, units ...string) error
}

// unit is one systemd unit as found.
type unit struct {
	Name    string
	Path    string // of its file; "" = there is none
	Enabled bool
	Active  bool
	Failed  bool
	Ours    bool
}

func (u unit) inUse() bool { return u.Enabled || u.Active }

// survey is what a host looks like: who has libvirt's daemons, and which of them are enabled or running.
type survey struct {
	units  map[string]unit
	guests int // that run now
}

// allUnits are the names that either way to run uses, ours or libvirt's own.
func allUnits() []string {
	names := append(modeUnits(modeSingle), modeUnits(modeSplit)...)
	return append(names, "libvirtd-tcp.socket", "libvirtd-tls.socket", "virtproxyd-tcp.socket", "virtproxyd-tls.socket")
}

func look(m serviceManager, p paths.Paths) (survey, error) {
	units, err := m.Show(allUnits())
	if err != nil {
		return survey{}, err
	}
	for name, u := range units {
		u.Name, u.Ours = name, u.Path != "" && marked(u.Path)
		units[name] = u
	}
	// A running guest has a pid file; what it names may be gone, which only makes the warning one too many.
	pids, _ := filepath.Glob(filepath.Join(p.DriverRun("qemu"), "*.pid"))
	return survey{units, len(pids)}, nil
}

func marked(path string) bool {
	b, err := os.ReadFile(path)
	return err == nil && strings.HasPrefix(string(b), unitMark)
}

// used lists the units of a mode that are enabled or active, of ours or of libvirt's own.
func (s survey) used(ours bool, mode string) (names []string) {
	for _, name := range s.sorted() {
		u := s.units[name]
		if u.Ours == ours && u.inUse() && belongs(name, mode) && (ours || !bothModes(daemonOfUnit(name))) {
			names = append(names, name)
		}
	}
	return names
}

func (s survey) sorted() []string {
	var names []string
	for name := range s.units {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// daemonOfUnit: virtqemud-ro.socket is virtqemud's.
func daemonOfUnit(name string) string {
	name, _, _ = strings.Cut(name, ".")
	name, _, _ = strings.Cut(name, "-")
	return name
}

func belongs(name, mode string) bool {
	return (daemonOfUnit(name) == "libvirtd") == (mode == modeSingle)
}

// halfSwitched is a host that runs in two ways at once. Nothing is switched from there: which of the two has the guests
// is for a person to say.
type halfSwitched struct {
	first, second string // what both are
	one, other    []string
}

func (e *halfSwitched) Error() string {
	return fmt.Sprintf("this host is half-switched: %s (%s) and %s (%s) are enabled or running at the same time.\n"+
		"Decide which one stays, and take the other away first, with\n"+
		"    systemctl disable --now %s\nor\n    systemctl disable --now %s",
		e.first, strings.Join(e.one, ", "), e.second, strings.Join(e.other, ", "),
		strings.Join(e.one, " "), strings.Join(e.other, " "))
}

// mode says how the host runs: single, split or off, and whose daemons these are.
func (s survey) mode() (mode string, ours bool, err error) {
	type way struct {
		ours bool
		mode string
		what string
	}
	ways := []way{
		{true, modeSingle, "virtree's libvirtd"}, {true, modeSplit, "virtree's daemons"},
		{false, modeSingle, "libvirt's own libvirtd"}, {false, modeSplit, "libvirt's own modular daemons"},
	}
	mode = modeOff
	var found way
	var units []string
	for _, w := range ways {
		used := s.used(w.ours, w.mode)
		if len(used) == 0 {
			continue
		}
		if units != nil {
			return "", false, &halfSwitched{found.what, w.what, units, used}
		}
		found, units = w, used
		mode, ours = w.mode, w.ours
	}
	return mode, ours, nil
}

// diskUnits reads units from disk, where no systemd runs: it knows what is enabled, not what is active.
type diskUnits struct{ root string }

func (diskUnits) Booted() bool { return false }

// Do implements serviceManager.
func (diskUnits) Do(string, ...string) error {
	return fmt.Errorf("systemd does not run here: PID 1 is another program")
}

// Show implements serviceManager.
func (d diskUnits) Show(names []string) (map[string]unit, error) {
	units := map[string]unit{}
	for _, name := range names {
		for _, dir := range []string{"etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"} {
			path := filepath.Join("/", d.root, dir, name)
			if _, err := os.Stat(path); err != nil {
				continue
			}
			links, _ := filepath.Glob(filepath.Join("/", d.root, "etc/systemd/system", "*.wants", name))
			units[name] = unit{Path: path, Enabled: len(links) > 0}
			break
		}
	}
	return units, nil
}

// branchesText is for help and reports.
func branchesText() string {
	var names []string
	for _, b := range supervisors.Host {
		names = append(names, b.Daemon)
	}
	return strings.Join(names, ", ")
}
