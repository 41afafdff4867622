package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"

	"virtree/actors/internal/disk"
	"virtree/supervisors/paths"
	"virtree/wire/protocol"
)

const (
	keyName = "secrets-encryption-key"
	keySize = 32
)

// sealer keeps values from being readable at rest. A sealed value can be opened only with the host's key and only as
// the value of the secret it was sealed for. It is constant after it was made, and safe to use in jobs.
type sealer struct {
	aead cipher.AEAD
	key  []byte // nil once it is known to be kept: by systemd or in keyFile
	file string
}

// openSealer finds the host's key, or makes one that the first [sealer.keep] puts on the disk.
func openSealer(p paths.Paths) (*sealer, error) {
	s := &sealer{file: filepath.Join(p.State(), "secrets", keyName)}
	var key []byte
	var err error
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		key, err = os.ReadFile(filepath.Join(dir, keyName))
	}
	if len(key) == 0 && (err == nil || errors.Is(err, os.ErrNotExist)) {
		key, err = os.ReadFile(s.file)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		key = make([]byte, keySize)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
		s.key = append([]byte(nil), key...)
	case err != nil:
		return nil, err
	case len(key) != keySize:
		return nil, errors.New("the key of the secrets does not have 32 bytes")
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	s.aead, err = cipher.NewGCM(block)
	return s, err
}

// keep makes sure that the key outlives the process, before the first sealed value does. A key that another process put
// there first wins, and this one's is useless: the caller starts again with openSealer.
func (s *sealer) keep() error {
	if s.key == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(s.file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(s.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		if !errors.Is(err, os.ErrExist) {
			return err
		}
		old, err := os.ReadFile(s.file)
		defer clear(old)
		if err == nil && string(old) == string(s.key) {
			return nil
		}
		return errors.Join(errors.New("another key of the secrets appeared"), err)
	}
	_, err = f.Write(s.key)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = disk.SyncDir(filepath.Dir(s.file))
	}
	if err != nil {
		_ = os.Remove(s.file)
	}
	return err
}

// seal returns the sealed form of a value, a nonce and a ciphertext.
func (s *sealer) seal(id protocol.UUID, value []byte) []byte {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(value)+s.aead.Overhead())
	_, _ = rand.Read(nonce) // never fails: the runtime aborts instead
	return s.aead.Seal(nonce, nonce, value, id[:])
}

// open returns the value; the caller wipes it.
func (s *sealer) open(id protocol.UUID, sealed []byte) ([]byte, error) {
	if len(sealed) < s.aead.NonceSize() {
		return nil, errors.New("a sealed value ends early")
	}
	n := s.aead.NonceSize()
	return s.aead.Open(nil, sealed[:n], sealed[n:], id[:])
}
