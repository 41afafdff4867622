package secret

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"virtree/actors/internal/disk"
	"virtree/supervisors/paths"
	"virtree/wire/protocol"
)

// magic begins a file of a sealed value; the rest is base64.
const magic = "virtree-secret-1\n"

// store is the folder of the secrets. Its methods run in jobs.
type store struct{ dir string }

func newStore(p paths.Paths) store { return store{p.DriverConfig("secrets")} }

func (s store) file(id protocol.UUID, ext string) string {
	return filepath.Join(s.dir, id.String()+ext)
}

// object is one secret: its definition, and its value in sealed form, nil when it has none.
type object struct {
	def    *definition
	sealed []byte
}

// load reads all secrets. One that is broken is left out and named in the error; the others are good.
func (s store) load(seal *sealer) (all []*object, broken error) {
	broken = disk.Tidy(s.dir)
	names, err := filepath.Glob(filepath.Join(s.dir, "*.xml"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		doc, err := os.ReadFile(name)
		if err != nil {
			broken = errors.Join(broken, err)
			continue
		}
		def, err := parse(doc, false)
		if err != nil {
			broken = errors.Join(broken, fmt.Errorf("%s: %w", name, err))
			continue
		}
		if filepath.Base(name) != def.uuid.String()+".xml" {
			broken = errors.Join(broken, fmt.Errorf("<uuid> does not match secret file name '%s'", filepath.Base(name)))
			continue
		}
		o := &object{def: def}
		if o.sealed, err = s.loadValue(def.uuid, seal); err != nil {
			broken = errors.Join(broken, fmt.Errorf("value of secret %s: %w", def.uuid, err))
		}
		all = append(all, o)
	}
	return all, broken
}

// loadValue reads the value from our file or from libvirt's. Where both exist, somebody was stopped between writing the
// one and removing the other: the newer one counts.
func (s store) loadValue(id protocol.UUID, seal *sealer) ([]byte, error) {
	ours, oursErr := os.Stat(s.file(id, ".value"))
	plain, plainErr := os.Stat(s.file(id, ".base64"))
	switch {
	case oursErr != nil && plainErr != nil:
		return nil, nil
	case oursErr != nil, plainErr == nil && plain.ModTime().After(ours.ModTime()):
		text, err := os.ReadFile(s.file(id, ".base64"))
		if err != nil {
			return nil, err
		}
		defer clear(text)
		value := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		defer clear(value)
		n, err := base64.StdEncoding.Decode(value, text)
		if err != nil {
			return nil, err
		}
		return seal.seal(id, value[:n]), nil
	}
	return s.readSealed(id, seal)
}

func (s store) readSealed(id protocol.UUID, seal *sealer) ([]byte, error) {
	text, err := os.ReadFile(s.file(id, ".value"))
	if err != nil {
		return nil, err
	}
	body, ok := strings.CutPrefix(string(text), magic)
	if !ok {
		return nil, errors.New("the file is of an unknown kind")
	}
	sealed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(body))
	if err != nil {
		return nil, err
	}
	value, err := seal.open(id, sealed)
	clear(value)
	if err != nil {
		return nil, errors.New("the value was sealed with another key")
	}
	return sealed, nil
}

// save makes the secret durable: its definition, and its value when it has one.
func (s store) save(o *object, seal *sealer) error {
	if o.sealed != nil {
		if err := s.saveValue(o.def.uuid, o.sealed, seal); err != nil {
			return err
		}
	}
	return disk.Write(s.file(o.def.uuid, ".xml"), []byte(o.def.format()), 0o600)
}

func (s store) saveValue(id protocol.UUID, sealed []byte, seal *sealer) error {
	if err := seal.keep(); err != nil {
		return err
	}
	text := magic + base64.StdEncoding.EncodeToString(sealed) + "\n"
	if err := disk.Write(s.file(id, ".value"), []byte(text), 0o600); err != nil {
		return err
	}
	return disk.Remove(s.file(id, ".base64"))
}

// remove takes the secret off the disk, the definition first: a value without one means nothing.
func (s store) remove(id protocol.UUID) error {
	for _, ext := range []string{".xml", ".value", ".base64"} {
		if err := disk.Remove(s.file(id, ext)); err != nil {
			return err
		}
	}
	return nil
}

// Export writes every sealed value in libvirt's plain form, UUID.base64, and returns how many: the last thing to do
// before a host goes back to libvirt's daemons. The sealed files stay, and count again once they are the newer ones.
func Export(p paths.Paths) (int, error) {
	s := newStore(p)
	names, err := filepath.Glob(filepath.Join(s.dir, "*.value"))
	if err != nil || len(names) == 0 {
		return 0, err
	}
	seal, err := openSealer(p)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, name := range names {
		id, e := parseUUID(strings.TrimSuffix(filepath.Base(name), ".value"))
		if e == nil {
			e = s.export(id, seal)
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", name, e))
			continue
		}
		n++
	}
	return n, err
}

func (s store) export(id protocol.UUID, seal *sealer) error {
	sealed, err := s.loadValue(id, seal) // libvirt's own value when that is the newer one
	if err != nil {
		return err
	}
	value, err := seal.open(id, sealed)
	if err != nil {
		return err
	}
	defer clear(value)
	text := base64.StdEncoding.AppendEncode(nil, value)
	defer clear(text)
	return disk.Write(s.file(id, ".base64"), text, 0o600)
}
