package nwfilter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"virtree/actors/internal/disk"
	"virtree/actors/nwfilter/def"
	"virtree/supervisors/paths"
	"virtree/wire/liberr"
)

// store is the driver's files. Its methods run in jobs. The gate is one token: the job that holds it changes the files
// and the kernel's rules, also when the actor that began it is gone and its successor already reads them.
type store struct {
	filters  string
	bindings string
	leases   string
	gate     chan struct{}
}

func newStore(p paths.Paths) *store {
	return &store{
		filters: p.DriverConfig("nwfilter"), bindings: p.DriverRun("nwfilter-binding"),
		leases: filepath.Join(p.DriverRun("network"), "nwfilter.leases"), gate: make(chan struct{}, 1),
	}
}

// alone runs f while no other job changes the world.
func (s *store) alone(ctx context.Context, f func() error) error {
	select {
	case s.gate <- struct{}{}:
		defer func() { <-s.gate }()
		return f()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// header stands above a stored document, so that nobody edits it by hand and loses the change.
func header(command, name string) string {
	return "<!--\n" +
		"This file is written by the daemon and read at its start only: a change made here is lost.\n" +
		"Change it with:\n  virsh " + command + " " + strings.ReplaceAll(name, "--", "- -") + "\n" +
		"or through any other client of the API.\n" +
		"-->\n\n"
}

func fileOf(dir, name string) (string, error) {
	path := dir + "/" + name + ".xml"
	if strings.ContainsAny(name, "/\x00") { // a folder that nobody made
		return "", cannotWrite(path, syscall.ENOENT)
	}
	return path, nil
}

func cannotWrite(path string, err error) error {
	return liberr.System(liberr.FromNone, err, "Failed to create file '%s.new'", path)
}

func (s *store) saveFilter(f *def.Filter) error {
	path, err := fileOf(s.filters, f.Name)
	if err != nil {
		return err
	}
	if err := disk.Write(path, []byte(header("nwfilter-edit", f.Name)+f.Format()), 0o600); err != nil {
		return cannotWrite(path, errnoOf(err))
	}
	return nil
}

// errnoOf is the system's error without the names of files, which the message has already.
func errnoOf(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}

func (s *store) dropFilter(name string) error {
	path, err := fileOf(s.filters, name)
	if err != nil {
		return err
	}
	if err := disk.Remove(path); err != nil {
		return liberr.New(from, liberr.InternalError, "cannot remove config for %s", name).WithCause(err)
	}
	return nil
}

// saveBinding keeps a binding as long as the host is up.
func (s *store) saveBinding(b *def.Binding) error {
	path, err := fileOf(s.bindings, b.Port)
	if err != nil {
		return err
	}
	if err := disk.WriteVolatile(path, []byte(header("nwfilter-binding-create", b.Port)+b.FormatStatus()), 0o600); err != nil {
		return cannotWrite(path, errnoOf(err))
	}
	return nil
}

func (s *store) dropBinding(port string) error {
	path, err := fileOf(s.bindings, port)
	if err != nil {
		return nil // it has no file
	}
	if err := disk.Remove(path); err != nil {
		return liberr.System(from, errnoOf(err), "Unable to remove status '%s' for nwfilter binding %s'", path, port)
	}
	return nil
}

// files reads what is in a folder of documents. What cannot be used is named in the error.
func files(dir string, use func(name, doc string) error) (broken error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.xml"))
	if err != nil {
		return err
	}
	for _, path := range names {
		doc, err := os.ReadFile(path)
		if err == nil {
			err = use(strings.TrimSuffix(filepath.Base(path), ".xml"), string(doc))
		}
		if err != nil {
			broken = errors.Join(broken, fmt.Errorf("%s: %w", path, err))
		}
	}
	return broken
}

// loadFilters reads all filters; one that is broken or contradicts another one is left out and named in the error.
func (s *store) loadFilters() (catalogue, error) {
	if err := os.MkdirAll(s.filters, 0o700); err != nil {
		return catalogue{}, err
	}
	all := catalogue{}
	broken := files(s.filters, func(name, doc string) error {
		d, err := def.ParseFilter(doc, false)
		if err != nil {
			return err
		}
		if d.Name != name {
			return liberr.New(from, liberr.XMLError, "network filter config filename '%s.xml' does not match name '%s'", name, d.Name)
		}
		f := newFilter(d)
		if err := all.admit(f); err != nil {
			return err
		}
		all[name] = f
		if !d.UUIDGiven { // it was made up, and must be the same the next time
			return s.saveFilter(d)
		}
		return nil
	})
	return all, broken
}

// loadBindings reads all bindings.
func (s *store) loadBindings() (map[string]*def.Binding, error) {
	if err := os.MkdirAll(s.bindings, 0o700); err != nil {
		return nil, err
	}
	all := map[string]*def.Binding{}
	broken := files(s.bindings, func(name, doc string) error {
		b, err := def.ParseBindingStatus(doc)
		if err != nil {
			return err
		}
		if b.Port != name {
			return fmt.Errorf("the file of binding %s", b.Port)
		}
		all[name] = b
		return nil
	})
	return all, broken
}
