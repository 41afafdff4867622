package sasl

import (
	"bufio"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"os"
	"strconv"
	"strings"
)

// Names of the mechanisms.
const (
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA1   = "SCRAM-SHA-1"
	Plain       = "PLAIN"
)

// hashes are the SCRAM mechanisms and what they hash with.
var hashes = map[string]func() hash.Hash{ScramSHA256: sha256.New, ScramSHA1: sha1.New}

// iterations is how hard a new verifier is to guess, and what unknown users seem to have.
const iterations = 10000

// Verifier is what is stored instead of a password, for one SCRAM mechanism. It is written
//
//	SCRAM-SHA-256$10000:SALT$STOREDKEY:SERVERKEY    (base64)
//
// which other programs use as well.
type Verifier struct {
	Mechanism            string
	Iterations           int
	Salt                 []byte
	StoredKey, ServerKey []byte
}

// NewVerifier makes a verifier of a password with a random salt.
func NewVerifier(mechanism, password string) (*Verifier, error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	return deriveVerifier(mechanism, password, salt, iterations)
}

func deriveVerifier(mechanism, password string, salt []byte, n int) (*Verifier, error) {
	h, ok := hashes[mechanism]
	if !ok {
		return nil, fmt.Errorf("no SCRAM mechanism is called '%s'", mechanism)
	}
	salted, err := pbkdf2.Key(h, password, salt, n, h().Size())
	if err != nil {
		return nil, err
	}
	client := mac(h, salted, "Client Key")
	sum := h()
	sum.Write(client)
	return &Verifier{mechanism, n, salt, sum.Sum(nil), mac(h, salted, "Server Key")}, nil
}

func mac(h func() hash.Hash, key []byte, text string) []byte {
	m := hmac.New(h, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// Check reports whether password is the one.
func (v *Verifier) Check(password string) bool {
	other, err := deriveVerifier(v.Mechanism, password, v.Salt, v.Iterations)
	return err == nil && subtle.ConstantTimeCompare(other.StoredKey, v.StoredKey) == 1
}

var b64 = base64.StdEncoding

func (v *Verifier) String() string {
	return fmt.Sprintf("%s$%d:%s$%s:%s", v.Mechanism, v.Iterations, b64.EncodeToString(v.Salt), b64.EncodeToString(v.StoredKey), b64.EncodeToString(v.ServerKey))
}

// ParseVerifier reads what String writes.
func ParseVerifier(s string) (*Verifier, error) {
	parts := strings.Split(s, "$")
	bad := fmt.Errorf("malformed verifier")
	if len(parts) != 3 {
		return nil, bad
	}
	h, ok := hashes[parts[0]]
	if !ok {
		return nil, fmt.Errorf("no SCRAM mechanism is called '%s'", parts[0])
	}
	n, salt, ok1 := strings.Cut(parts[1], ":")
	stored, server, ok2 := strings.Cut(parts[2], ":")
	if !ok1 || !ok2 {
		return nil, bad
	}
	v := &Verifier{Mechanism: parts[0]}
	var err error
	// Beyond the upper limit one login would keep a core busy for long.
	if v.Iterations, err = strconv.Atoi(n); err != nil || v.Iterations < 4096 || v.Iterations > 10_000_000 {
		return nil, fmt.Errorf("iteration count '%s' is not between 4096 and 10000000", n)
	}
	for _, f := range []struct {
		to   *[]byte
		text string
		size int
	}{{&v.Salt, salt, 0}, {&v.StoredKey, stored, h().Size()}, {&v.ServerKey, server, h().Size()}} {
		if *f.to, err = b64.DecodeString(f.text); err != nil || len(*f.to) == 0 || f.size != 0 && len(*f.to) != f.size {
			return nil, bad
		}
	}
	return v, nil
}

// Users is the database: verifiers by user.
type Users map[string][]*Verifier

// ReadUsers reads a file with one verifier a line, behind the user's name and a colon; a user may have one line per mechanism. Empty lines
// and lines that begin with # are skipped. The file must not be readable by others.
func ReadUsers(name string) (Users, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if st.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s must not be accessible by others", name)
	}
	users := Users{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		user, text, ok := strings.Cut(line, ":")
		if !ok || user == "" {
			return nil, fmt.Errorf("%s:%d: expecting USER:VERIFIER", name, n)
		}
		v, err := ParseVerifier(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		users[user] = append(users[user], v)
	}
	return users, lines.Err()
}

// find returns a user's verifier for a mechanism, "" for any.
func (u Users) find(user, mechanism string) *Verifier {
	for _, v := range u[user] {
		if mechanism == "" || v.Mechanism == mechanism {
			return v
		}
	}
	return nil
}
