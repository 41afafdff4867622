package sasl

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"virtree/wire/liberr"
)

// What goes wrong, for the log.
var (
	errNoLayer    = errors.New("no mechanism with a security layer for a transport without encryption")
	errMechanism  = errors.New("mechanism was not offered")
	errOver       = errors.New("negotiation is over")
	errTooLong    = errors.New("negotiation data too long")
	errMalformed  = errors.New("malformed negotiation data")
	errBinding    = errors.New("client asks for channel binding")
	errAuthzid    = errors.New("client wants to act as somebody else")
	errNonce      = errors.New("nonce differs")
	errWrong      = errors.New("wrong user or password")
	errNotAllowed = errors.New("user is not on the list of allowed names")
)

// failed is what the client is told, whatever it was.
func failed(cause error) error {
	return liberr.New(liberr.FromRPC, liberr.AuthFailed, "%s", "authentication failed").WithCause(cause)
}

// scramFirst answers the client-first message
//
//	n,[a=AUTHZID],n=USER,r=NONCE[,extensions]
//
// with r=NONCE+OURS,s=SALT,i=ITERATIONS.
func (n *Session) scramFirst(users Users, mechanism string, data []byte) ([]byte, error) {
	parts := strings.SplitN(string(data), ",", 3)
	if len(parts) != 3 {
		return nil, errMalformed
	}
	flag, authzid, bare := parts[0], parts[1], parts[2]
	switch {
	case strings.HasPrefix(flag, "p="):
		return nil, errBinding
	case flag != "n" && flag != "y": // y: would bind, had we offered it
		return nil, errMalformed
	}
	fields := strings.Split(bare, ",")
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "n=") || !strings.HasPrefix(fields[1], "r=") {
		return nil, errMalformed // also m=, an extension that must be understood
	}
	user, err := unescape(fields[0][2:])
	if err != nil {
		return nil, err
	}
	clientNonce := fields[1][2:]
	if user == "" || clientNonce == "" {
		return nil, errMalformed
	}
	if authzid != "" {
		who, err := unescape(strings.TrimPrefix(authzid, "a="))
		if err != nil || !strings.HasPrefix(authzid, "a=") {
			return nil, errMalformed
		}
		if who != user {
			return nil, errAuthzid
		}
	}
	x := &scram{header: flag + "," + authzid + ",", firstBare: bare, user: user, nonce: clientNonce + n.server.nonce()}
	if x.verifier = users.find(user, mechanism); x.verifier == nil {
		x.unknown, x.verifier = true, n.server.nobody(mechanism, user)
	}
	x.serverFirst = fmt.Sprintf("r=%s,s=%s,i=%d", x.nonce, b64.EncodeToString(x.verifier.Salt), x.verifier.Iterations)
	n.step = func(data []byte) ([]byte, error) { return n.scramFinal(x, data) }
	return []byte(x.serverFirst), nil
}

// scram is what the second step must know of the first.
type scram struct {
	header, firstBare, serverFirst string
	user, nonce                    string
	verifier                       *Verifier
	unknown                        bool
}

// scramFinal checks the client-final message
//
//	c=HEADER,r=NONCE[,extensions],p=PROOF
//
// and answers v=SIGNATURE, which proves that we know the password's verifier, too.
func (n *Session) scramFinal(x *scram, data []byte) ([]byte, error) {
	text := string(data)
	i := strings.LastIndex(text, ",p=")
	if i < 0 {
		return nil, errMalformed
	}
	without := text[:i]
	proof, err := b64.DecodeString(text[i+3:])
	fields := strings.Split(without, ",")
	if err != nil || len(fields) < 2 || !strings.HasPrefix(fields[0], "c=") || !strings.HasPrefix(fields[1], "r=") {
		return nil, errMalformed
	}
	if header, err := b64.DecodeString(fields[0][2:]); err != nil || string(header) != x.header {
		return nil, errBinding
	}
	if fields[1][2:] != x.nonce {
		return nil, errNonce
	}
	h := hashes[x.verifier.Mechanism]
	message := x.firstBare + "," + x.serverFirst + "," + without
	signature := mac(h, x.verifier.StoredKey, message)
	if len(proof) != len(signature) {
		return nil, errMalformed
	}
	key := make([]byte, len(proof))
	subtle.XORBytes(key, proof, signature)
	sum := h()
	sum.Write(key)
	if subtle.ConstantTimeCompare(sum.Sum(nil), x.verifier.StoredKey) != 1 || x.unknown {
		return nil, errWrong
	}
	if err := n.finish(x.user); err != nil {
		return nil, err
	}
	return []byte("v=" + b64.EncodeToString(mac(h, x.verifier.ServerKey, message))), nil
}

// unescape undoes =2C and =3D; any other = is an error.
func unescape(s string) (string, error) {
	for i := strings.IndexByte(s, '='); i >= 0; {
		if !strings.HasPrefix(s[i:], "=2C") && !strings.HasPrefix(s[i:], "=3D") {
			return "", errMalformed
		}
		next := strings.IndexByte(s[i+3:], '=')
		if next < 0 {
			break
		}
		i += 3 + next
	}
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(s), nil
}
