package qemu

import (
	"fmt"
	"path/filepath"
	"strings"

	"virtree/actors/internal/disk"
)

// What a domain has on disk, in libvirt's layout:
//
//	/etc/libvirt/qemu/NAME.xml             persistent definition
//	/etc/libvirt/qemu/autostart/NAME.xml   link to it
//	/run/libvirt/qemu/NAME.xml, NAME.pid   while it runs
//	/var/lib/libvirt/qemu/save/NAME.save   managed save image

func (s *shared) configPath(name string) string {
	return filepath.Join(s.env.Paths.DriverConfig("qemu"), name+".xml")
}

func (s *shared) autostartPath(name string) string {
	return filepath.Join(s.env.Paths.Autostart("qemu"), name+".xml")
}

func (s *shared) statusPath(name string) string {
	return filepath.Join(s.env.Paths.DriverRun("qemu"), name+".xml")
}

func (s *shared) pidPath(name string) string {
	return filepath.Join(s.env.Paths.DriverRun("qemu"), name+".pid")
}

func (s *shared) savePath(name string) string {
	return filepath.Join(s.env.Paths.DriverLib("qemu"), "save", name+".save")
}

// header is what stands above a stored definition, so that nobody edits it by hand and loses the change.
func header(name string) string {
	return "<!--\n" +
		"This file is written by the daemon and read at its start only: a change made here is lost.\n" +
		"Change the domain with:\n  virsh edit " + strings.ReplaceAll(name, "--", "- -") + "\n" +
		"or through any other client of the API.\n" +
		"-->\n\n"
}

// storeConfig writes the persistent definition.
func (s *shared) storeConfig(name, text string) error {
	if err := disk.Write(s.configPath(name), []byte(header(name)+text), 0o600); err != nil {
		return fmt.Errorf("cannot store the definition of '%s': %w", name, err)
	}
	return nil
}

// dropConfig removes the persistent definition and its autostart link.
func (s *shared) dropConfig(name string) error {
	if err := disk.Remove(s.autostartPath(name)); err != nil {
		return err
	}
	return disk.Remove(s.configPath(name))
}

// stripHeader takes the comment off a stored definition, ours or libvirt's.
func stripHeader(text string) string {
	if !strings.HasPrefix(text, "<!--") {
		return text
	}
	if end := strings.Index(text, "-->"); end >= 0 {
		return strings.TrimLeft(text[end+3:], "\r\n")
	}
	return text
}
