package qemu

import (
	"context"
	"os"
	"path/filepath"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/wire/virt"
)

// The state of an emulated TPM outlives runs of its domain. It goes with the definition, or, where there is none, with the
// run, unless it is said to stay: by persistent_state in the document, or by a flag of the call.

// tpmFolder is where the TPMs of a domain keep their states.
func (s *shared) tpmFolder(uuid string) string {
	return filepath.Join(s.env.Paths.State(), "swtpm", uuid)
}

// tpmState is where one TPM keeps its state.
func (s *shared) tpmState(uuid, version string) string {
	dir := "tpm1.2"
	if version == "2.0" {
		dir = "tpm2"
	}
	return filepath.Join(s.tpmFolder(uuid), dir)
}

// forgetsTPM tells whether the state of the domain's TPM is to go: flags are those of virDomainUndefineFlags.
//
// Compat: one TPM whose state goes takes those of the domain's others along; libvirt removes their common folder.
func forgetsTPM(def *libvirtxml.Domain, flags uint32) bool {
	if def == nil || def.Devices == nil {
		return false
	}
	for _, t := range def.Devices.TPMs {
		if t.Backend == nil || t.Backend.Emulator == nil {
			continue
		}
		if t.Backend.Emulator.PersistentState == "yes" {
			if flags&virt.DomainUndefineTPM != 0 {
				return true
			}
		} else if flags&virt.DomainUndefineKeepTPM == 0 {
			return true
		}
	}
	return false
}

// dropTPM removes the states of a domain's TPMs. One that stays is in nobody's way, so that a failure is only logged.
func (s *shared) dropTPM(uuid string) {
	folder := s.tpmFolder(uuid)
	if !disk.Exists(folder) {
		return
	}
	err := os.RemoveAll(folder)
	if err == nil {
		err = disk.SyncDir(filepath.Dir(folder))
	}
	if err != nil {
		s.env.Log.Warn().Err(err).Str("folder", folder).Msg("cannot remove the state of a TPM")
	}
}

// dropTransientTPM removes the states when no definition of the domain is on disk: what is asked is the disk, since a
// client may define the domain while its run ends.
func (s *shared) dropTransientTPM(name, uuid string) {
	if !disk.Exists(s.configPath(name)) {
		s.dropTPM(uuid)
	}
}

// forgetIfNotStarted takes the state of a transient domain's TPM back when the start fails.
func (p *launchPlan) forgetIfNotStarted(undo *kit.Undo) {
	if !forgetsTPM(p.def, 0) {
		return
	}
	drv, name, uuid := p.drv, p.name, p.uuid.String()
	undo.Add("remove the state of the TPM", func(context.Context) error { drv.dropTransientTPM(name, uuid); return nil })
}
