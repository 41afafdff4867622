package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"virtree/actors/internal/disk"
	"virtree/actors/storage/def"
	"virtree/supervisors/paths"
)

// store knows where pools are on the disk. Its methods run in jobs.
type store struct{ paths paths.Paths }

func (s store) config(name string) string {
	return filepath.Join(s.paths.DriverConfig("storage"), name+".xml")
}

func (s store) link(name string) string {
	return filepath.Join(s.paths.Autostart("storage"), name+".xml")
}

func (s store) state(name string) string {
	return filepath.Join(s.paths.DriverRun("storage"), name+".xml")
}

// header stands above stored definitions, so that nobody edits one by hand and loses the change.
func header(name string) string {
	return "<!--\n" +
		"This file is written by the daemon and read at its start only: a change made here is lost.\n" +
		"Change the pool with:\n  virsh pool-edit " + strings.ReplaceAll(name, "--", "- -") + "\n" +
		"or through any other client of the API.\n" +
		"-->\n\n"
}

func (s store) saveConfig(p *def.Pool) error {
	return disk.Write(s.config(p.Name), []byte(header(p.Name)+p.Format()), 0o600)
}

func (s store) saveState(p *def.Pool) error {
	return disk.WriteVolatile(s.state(p.Name), []byte(header(p.Name)+p.FormatState()), 0o600)
}

// drop removes the definition, its link first: a link to nowhere would be an error at the next start.
func (s store) drop(name string) error {
	if err := disk.Remove(s.link(name)); err != nil {
		return err
	}
	return disk.Remove(s.config(name))
}

func (s store) dropState(name string) error { return disk.Remove(s.state(name)) }

// seed is what is on the disk of one pool.
type seed struct {
	config, state *def.Pool
	autostart     bool
}

func (s *seed) def() *def.Pool {
	if s.config != nil {
		return s.config
	}
	return s.state
}

// load reads one pool.
func (s store) load(name string) (*seed, error) {
	out := &seed{}
	read := func(path string, parse func(string) (*def.Pool, error)) (*def.Pool, error) {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		p, err := parse(string(b))
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		case p.Name != name:
			return nil, fmt.Errorf("storage pool config filename '%s' does not match pool name '%s'", path, p.Name)
		}
		return p, nil
	}
	var err, stateErr error
	out.config, err = read(s.config(name), def.ParsePool)
	out.state, stateErr = read(s.state(name), def.ParseState)
	if out.config != nil && out.state != nil && out.config.UUID != out.state.UUID {
		out.state = nil // of another pool, which had this name
	}
	if _, e := os.Lstat(s.link(name)); e == nil {
		out.autostart = out.config != nil
	}
	return out, errors.Join(err, stateErr)
}

// scan reads all pools. One that is broken is left out and named in the error; the others are good.
func (s store) scan() (all []*seed, broken error) {
	names := map[string]bool{}
	for _, dir := range []string{s.paths.DriverConfig("storage"), s.paths.DriverRun("storage")} {
		broken = errors.Join(broken, disk.Tidy(dir))
		files, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			broken = errors.Join(broken, err)
		}
		for _, f := range files {
			if n, ok := strings.CutSuffix(f.Name(), ".xml"); ok && !f.IsDir() && !strings.HasPrefix(n, ".") {
				names[n] = true
			}
		}
	}
	for n := range names {
		one, err := s.load(n)
		broken = errors.Join(broken, err)
		if one != nil && one.def() != nil {
			all = append(all, one)
		}
	}
	return all, broken
}
