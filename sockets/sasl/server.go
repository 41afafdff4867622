package sasl

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"strings"

	"virtree/sockets"
	"virtree/wire/liberr"
)

// Server authenticates clients against a database.
type Server struct {
	load    func() (Users, error)
	allowed []string
	secret  []byte // makes up salts for users who do not exist, always the same for one name
	nonce   func() string
}

// NewServer serves the users of a file. allowed is sasl_allowed_username_list: patterns with * and ?, nil for everybody.
func NewServer(file string, allowed []string) *Server {
	return newServer(func() (Users, error) { return ReadUsers(file) }, allowed)
}

func newServer(load func() (Users, error), allowed []string) *Server {
	s := &Server{load: load, allowed: allowed, secret: make([]byte, 32), nonce: rand.Text}
	rand.Read(s.secret)
	return s
}

// Mechanisms is what a client of this kind of socket may use, best first.
func (s *Server) Mechanisms(kind sockets.Kind) []string {
	switch {
	case kind == sockets.TLS:
		return []string{ScramSHA256, ScramSHA1, Plain}
	case kind.Unix():
		return []string{ScramSHA256, ScramSHA1}
	}
	return nil
}

// MechanismList is Mechanisms as AUTH_SASL_INIT returns it, or the error that there are none.
func (s *Server) MechanismList(kind sockets.Kind) (string, error) {
	m := s.Mechanisms(kind)
	if len(m) == 0 {
		return "", liberr.New(liberr.FromRPC, liberr.AuthFailed, "%s", "no SASL mechanisms are available").
			WithCause(errNoLayer)
	}
	return strings.Join(m, ","), nil
}

// Session is one client's attempt.
type Session struct {
	server   *Server
	step     func(data []byte) ([]byte, error) // nil when over
	user     string
	complete bool
}

// Complete reports success.
func (n *Session) Complete() bool { return n.complete }

// User is who the client is; only after Complete.
func (n *Session) User() string {
	if !n.complete {
		return ""
	}
	return n.user
}

// Start begins with the mechanism that the client chose. data is nil if the client sent none, which is not the same as empty.
// A failure is an AuthFailed error with nothing to learn from it; its Cause is for the log.
func (s *Server) Start(kind sockets.Kind, mechanism string, data []byte) (*Session, []byte, error) {
	offered := false
	for _, m := range s.Mechanisms(kind) {
		offered = offered || m == mechanism
	}
	if !offered {
		return nil, nil, failed(errMechanism)
	}
	users, err := s.load()
	if err != nil {
		return nil, nil, failed(err)
	}
	n := &Session{server: s}
	if mechanism == Plain {
		n.step = func(data []byte) ([]byte, error) { return n.plain(users, data) }
	} else {
		n.step = func(data []byte) ([]byte, error) { return n.scramFirst(users, mechanism, data) }
	}
	if data == nil {
		return n, []byte{}, nil // the client speaks first in all of these: ask it to
	}
	out, err := n.Step(data)
	return n, out, err
}

// maxData bounds a client's message; the longest legitimate one is a name and some base64.
const maxData = 8 << 10

// Step continues. After an error, or after Complete, the session is over.
func (n *Session) Step(data []byte) ([]byte, error) {
	step := n.step
	n.step = nil
	if step == nil {
		return nil, failed(errOver)
	}
	if len(data) > maxData {
		return nil, failed(errTooLong)
	}
	out, err := step(data)
	if err != nil {
		n.step, n.complete = nil, false
		return nil, failed(err)
	}
	return out, nil
}

// finish checks the list of allowed names, which is only worth doing for who proved a name.
func (n *Session) finish(user string) error {
	if n.server.allowed != nil {
		ok := false
		for _, p := range n.server.allowed {
			ok = ok || sockets.MatchPattern(p, user)
		}
		if !ok {
			return errNotAllowed
		}
	}
	n.user, n.complete = user, true
	return nil
}

// plain reads AUTHZID NUL USER NUL PASSWORD.
func (n *Session) plain(users Users, data []byte) ([]byte, error) {
	parts := bytes.Split(data, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 {
		return nil, errMalformed
	}
	authzid, user, password := string(parts[0]), string(parts[1]), string(parts[2])
	v := users.find(user, "")
	known := v != nil
	if !known {
		v = n.server.nobody(ScramSHA256, user) // takes as long as somebody
	}
	if !v.Check(password) || !known {
		return nil, errWrong
	}
	if authzid != "" && authzid != user {
		return nil, errAuthzid
	}
	return nil, n.finish(user)
}

// nobody is a verifier for a user who does not exist: always the same salt for the same name, and no password fits.
func (s *Server) nobody(mechanism, user string) *Verifier {
	h := hashes[mechanism]
	seed := mac(sha256.New, s.secret, mechanism+"\x00"+user)
	key := make([]byte, h().Size())
	rand.Read(key)
	return &Verifier{Mechanism: mechanism, Iterations: iterations, Salt: seed[:16], StoredKey: key, ServerKey: key}
}
