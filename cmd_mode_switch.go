package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"virtree/supervisors/paths"
)

// switcher takes a host from one way to run to another: all of it, or nothing.
//
//	record what ran --> stop and disable it --> write units --> enable and start ours --> all active?
//	      ^                                                                                  | no
//	      +------------------- each step taken back, last one first <------------------------+
type switcher struct {
	manager serviceManager
	paths   paths.Paths
	units   unitSet
	out     io.Writer // what is done, line by line
	dryRun  bool
}

// step is one thing done, and how it is taken back. undo may be nil.
type step struct {
	what string
	do   func() error
	undo func() error
}

// before is what ran here before the first switch; `mode off` brings it back.
type before struct {
	Enabled []string `json:"enabled"`
	Active  []string `json:"active"`
}

func (w *switcher) recordPath() string {
	return filepath.Join(w.paths.State(), "virtree", "before.json")
}

// to switches the host.
func (w *switcher) to(mode string) error {
	s, err := look(w.manager, w.paths)
	if err != nil {
		return err
	}
	if mode == modeOff {
		return w.run(w.offSteps(s))
	}
	if _, _, err := s.mode(); err != nil {
		return err
	}
	files := w.units.files(mode)
	for _, f := range files {
		path := filepath.Join(unitDir(w.paths), f.name)
		if _, err := os.Lstat(path); err == nil && !marked(path) {
			return fmt.Errorf("%s is an administrator's own unit: move it away first", path)
		}
	}
	if mode == modeSplit && s.guests > 0 && s.units["virtlogd.service"].Active && !s.units["virtlogd.service"].Ours {
		fmt.Fprintf(w.out, "note: %d guests run; what they print is not logged any more until they are started again, since libvirt's own virtlogd has to go\n", s.guests)
	}
	return w.run(w.onSteps(s, mode, files))
}

func (w *switcher) onSteps(s survey, mode string, files []unitFile) []step {
	active, enabled := w.leaving(s, mode)
	wanted := modeUnits(mode)
	var steps []step
	if _, ours, _ := s.mode(); !ours {
		steps = append(steps, w.record(s))
	}
	steps = append(steps,
		w.command("stop", "start", active), w.command("disable", "enable", enabled),
		w.write(files, w.stale(s, files)),
		w.command("enable", "disable", wanted), w.command("start", "stop", wanted),
		step{what: "see that all run", do: func() error { return w.verify(wanted) }},
	)
	return steps
}

// leaving lists what has to go: active units, and enabled ones. libvirt's own virtlogd and virtlockd may stay beside
// our libvirtd, which does without them: guests may still hold on to them.
func (w *switcher) leaving(s survey, mode string) (active, enabled []string) {
	for _, name := range s.sorted() {
		u := s.units[name]
		if !u.Ours && mode == modeSingle && bothModes(daemonOfUnit(name)) {
			continue
		}
		if u.Active {
			active = append(active, name)
		}
		if u.Enabled {
			enabled = append(enabled, name)
		}
	}
	return active, enabled
}

// stale lists our unit files that the new mode does not have.
func (w *switcher) stale(s survey, files []unitFile) (names []string) {
	for _, name := range s.sorted() {
		if s.units[name].Ours && !slices.ContainsFunc(files, func(f unitFile) bool { return f.name == name }) {
			names = append(names, name)
		}
	}
	return names
}

// offSteps takes ours away and brings back what was before. They are never refused: what they undo is only ours.
func (w *switcher) offSteps(s survey) []step {
	var active, enabled []string
	for _, name := range s.sorted() {
		if u := s.units[name]; u.Ours {
			if u.Active {
				active = append(active, name)
			}
			if u.Enabled {
				enabled = append(enabled, name)
			}
		}
	}
	steps := []step{w.command("stop", "start", active), w.command("disable", "enable", enabled), w.write(nil, w.stale(s, nil))}
	b, err := os.ReadFile(w.recordPath())
	if err != nil {
		return steps
	}
	var was before
	if err := json.Unmarshal(b, &was); err != nil {
		return append([]step{{what: "read " + w.recordPath(), do: func() error { return err }}}, steps...)
	}
	if len(s.used(false, modeSingle))+len(s.used(false, modeSplit)) == 0 { // else somebody has decided otherwise
		steps = append(steps, w.command("enable", "disable", was.Enabled), w.command("start", "stop", was.Active))
	}
	return append(steps, step{what: "forget what ran before", do: func() error { return os.Remove(w.recordPath()) }})
}

// command is one systemctl call; with no units it is no step.
func (w *switcher) command(verb, undo string, units []string) step {
	if len(units) == 0 {
		return step{}
	}
	return step{
		what: verb + " " + strings.Join(units, " "),
		do:   func() error { return w.manager.Do(verb, units...) },
		undo: func() error { return w.manager.Do(undo, units...) },
	}
}

func (w *switcher) record(s survey) step {
	path := w.recordPath()
	var b before
	for _, name := range s.sorted() {
		if s.units[name].Enabled {
			b.Enabled = append(b.Enabled, name)
		}
		if s.units[name].Active {
			b.Active = append(b.Active, name)
		}
	}
	return step{
		what: "record in " + path + " what runs now",
		do: func() error {
			text, err := json.MarshalIndent(b, "", "  ")
			if err != nil {
				return err
			}
			return writeFile(path, text)
		},
		undo: func() error { return os.Remove(path) },
	}
}

// write puts unit files in place and removes others. Its way back restores every file as it was.
func (w *switcher) write(files []unitFile, remove []string) step {
	dir := unitDir(w.paths)
	old := map[string][]byte{} // nil = was not there
	keep := func(name string) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			b = nil
		}
		old[name] = b
	}
	what := fmt.Sprintf("write %d units into %s", len(files), dir)
	if len(remove) > 0 {
		what += ", remove " + strings.Join(remove, " ")
	}
	return step{
		what: what,
		do: func() error {
			for _, f := range files {
				keep(f.name)
				if err := writeFile(filepath.Join(dir, f.name), []byte(f.text)); err != nil {
					return err
				}
			}
			for _, name := range remove {
				keep(name)
				if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
					return err
				}
			}
			return w.manager.Do("daemon-reload")
		},
		undo: func() error {
			var errs []error
			for name, b := range old {
				path := filepath.Join(dir, name)
				if b == nil {
					if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
						errs = append(errs, err)
					}
					continue
				}
				errs = append(errs, writeFile(path, b))
			}
			return errors.Join(append(errs, w.manager.Do("daemon-reload"))...)
		},
	}
}

func (w *switcher) verify(units []string) error {
	found, err := w.manager.Show(units)
	if err != nil {
		return err
	}
	for _, name := range units {
		switch u := found[name]; {
		case !u.Active:
			return fmt.Errorf("%s was started and does not run: see journalctl -u %s", name, name)
		case !u.Enabled:
			return fmt.Errorf("%s was enabled and is not", name)
		}
	}
	return nil
}

// run takes the steps. After a failure the steps taken, and the failed one as far as it went, are taken back.
func (w *switcher) run(steps []step) error {
	for i, s := range steps {
		if s.what == "" {
			continue
		}
		fmt.Fprintln(w.out, s.what)
		if w.dryRun {
			continue
		}
		err := s.do()
		if err == nil {
			continue
		}
		failed := fmt.Errorf("%s: %w", s.what, err)
		for _, back := range slices.Backward(steps[:i+1]) {
			if back.undo == nil {
				continue
			}
			fmt.Fprintln(w.out, "back: "+back.what)
			if err := back.undo(); err != nil && back.what != s.what {
				failed = errors.Join(failed, fmt.Errorf("could not be taken back: %s: %w", back.what, err))
			}
		}
		return failed
	}
	return nil
}

// writeFile replaces a file in one step, so that a crash leaves the old one or the new one.
func writeFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".virtree-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // of no effect once it has its name
	_, err = f.Write(b)
	for _, last := range []func() error{func() error { return f.Chmod(0o644) }, f.Sync, f.Close} {
		if e := last(); err == nil {
			err = e
		}
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
