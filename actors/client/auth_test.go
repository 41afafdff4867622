package client

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"virtree/sockets"
	"virtree/sockets/sasl"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// asUser makes every client of the server one of another user, since the tests run as root, who is not asked.
func asUser(ask func(ctx context.Context, peer sockets.Peer, readOnly bool) error) func(*Config) {
	return func(c *Config) {
		c.Auth = func(sockets.Kind) Auth { return AuthPolkit }
		c.Polkit = ask
	}
}

// stranger gives the server a connection of another user.
func (w *world) stranger(peer sockets.Peer) *rpc.Client {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "stranger")
	set, err := sockets.Listen(sockets.Spec{RW: sockets.UnixSocket{Path: path, Mode: 0o600}}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer set.Close()
	c := w.dial(path)
	conn, err := set.Listeners[0].Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	w.sys.Root.Send(w.server, &accepted{conn: conn, peer: peer})
	return c
}

func TestPolkitDecides(t *testing.T) {
	denied := liberr.New(liberr.FromPolkit, liberr.AuthFailed, "%s", "access denied by policy")
	w := start(t, asUser(func(_ context.Context, peer sockets.Peer, readOnly bool) error {
		switch peer.UID {
		case 1001:
			return denied
		case 1002:
			return errors.New("no answer")
		}
		if readOnly != (peer.Kind == sockets.ReadOnly) {
			return errors.New("asked for the wrong action")
		}
		return nil
	}))
	allowed := w.stranger(sockets.Peer{UID: 1000, Kind: sockets.ReadOnly})
	if err := allowed.Connect(w.soon(), "qemu:///system", false); err != nil {
		t.Error(err)
	}
	want(t, "denied", w.stranger(sockets.Peer{UID: 1001}).Connect(w.soon(), "", false), liberr.FromPolkit, liberr.AuthFailed, denied.Message)
	c := w.stranger(sockets.Peer{UID: 1002})
	want(t, "no answer", c.Connect(w.soon(), "", false), liberr.FromPolkit, liberr.InternalError, "internal error: no answer")
	want(t, "a call after it", lookup(w.soon(), c, "x"), liberr.FromRPC, liberr.RPC, "authentication required")
	if n := w.members().Unauth; n != 2 {
		t.Errorf("%d clients are not authenticated, want 2", n)
	}
}

// Somebody types a password; meanwhile the others are served, and when the connection ends the question does too.
func TestASlowPolkitHoldsUpOnlyItsClient(t *testing.T) {
	asked, gone := make(chan struct{}), make(chan error, 1)
	w := start(t, asUser(func(ctx context.Context, peer sockets.Peer, _ bool) error {
		if peer.UID != 1001 {
			return nil
		}
		close(asked)
		<-ctx.Done()
		gone <- context.Cause(ctx)
		return ctx.Err()
	}))
	c := w.stranger(sockets.Peer{UID: 1001})
	answer := make(chan error, 1)
	go func() {
		_, err := rpc.Do(w.t.Context(), c, protocol.AuthPolkit, nil)
		answer <- err
	}()
	<-asked
	other := w.stranger(sockets.Peer{UID: 1000})
	if err := other.Connect(w.soon(), "qemu:///system", false); err != nil {
		t.Error(err)
	}
	want(t, "a call meanwhile", lookup(w.soon(), c, "x"), liberr.FromRPC, liberr.RPC, "authentication required")
	_ = c.Close()
	if err := <-answer; err == nil {
		t.Error("the question was answered")
	}
	<-gone
}

// scramFile writes a database with one user.
func scramFile(t testing.TB, user, password string) string {
	t.Helper()
	v, err := sasl.NewVerifier(sasl.ScramSHA256, password)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "passwd.scram")
	if err := os.WriteFile(name, []byte(user+":"+v.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// scram authenticates by SCRAM-SHA-256.
func scram(ctx context.Context, c *rpc.Client, user, password string) error {
	if _, err := rpc.Do(ctx, c, protocol.AuthSASLInit, nil); err != nil {
		return err
	}
	bare := "n=" + user + ",r=clientnonce"
	first, err := rpc.Do(ctx, c, protocol.AuthSASLStart, &protocol.AuthSASLStartArgs{Mech: sasl.ScramSHA256, Data: []byte("n,," + bare)})
	if err != nil {
		return err
	}
	challenge := string(first.Data)
	var nonce, salt string
	n := 0
	for _, f := range strings.Split(challenge, ",") {
		switch f[:2] {
		case "r=":
			nonce = f[2:]
		case "s=":
			b, _ := base64.StdEncoding.DecodeString(f[2:])
			salt = string(b)
		case "i=":
			n, _ = strconv.Atoi(f[2:])
		}
	}
	sum := func(key []byte, text string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	salted, err := pbkdf2.Key(sha256.New, password, []byte(salt), n, sha256.Size)
	if err != nil {
		return err
	}
	key := sum(salted, "Client Key")
	stored := sha256.Sum256(key)
	last := "c=biws,r=" + nonce
	sign := sum(stored[:], bare+","+challenge+","+last)
	for i := range key {
		key[i] ^= sign[i]
	}
	final, err := rpc.Do(ctx, c, protocol.AuthSASLStep, &protocol.AuthSASLStepArgs{Data: []byte(last + ",p=" + base64.StdEncoding.EncodeToString(key))})
	if err != nil {
		return err
	}
	for i := 0; final.Complete == 0; i++ {
		if i == 3 {
			return fmt.Errorf("never complete")
		}
		step, err := rpc.Do(ctx, c, protocol.AuthSASLStep, &protocol.AuthSASLStepArgs{Nil: 1})
		if err != nil {
			return err
		}
		final.Complete = step.Complete
	}
	return nil
}

func TestSASL(t *testing.T) {
	w := start(t, func(c *Config) {
		c.Auth = func(sockets.Kind) Auth { return AuthSASL }
		c.SASL = sasl.NewServer(scramFile(t, "fred", "secret"), nil)
	})
	w.fake.record(8)
	c := w.dial(w.rw)
	list, err := rpc.Do(w.soon(), c, protocol.AuthList, nil)
	if err != nil || len(list.Types) != 1 || list.Types[0] != protocol.RemoteAuthSASL {
		t.Fatalf("%+v, %v", list, err)
	}
	probe{"open first", header(protocol.ConnectOpen.Procedure), openArgs("qemu:///system"), liberr.FromRPC, liberr.RPC, "authentication required"}.run(t, c)
	probe{"polkit instead", header(protocol.AuthPolkit.Procedure), nil, liberr.FromRPC, liberr.AuthFailed, "authentication failed: authentication failed"}.run(t, c)
	if err := scram(w.soon(), c, "fred", "wrong"); !errors.Is(err, liberr.AuthFailed) {
		t.Errorf("a wrong password: %v", err)
	}
	probe{"open after it", header(protocol.ConnectOpen.Procedure), openArgs("qemu:///system"), liberr.FromRPC, liberr.RPC, "authentication required"}.run(t, c)
	if err := scram(w.soon(), c, "fred", "secret"); err != nil {
		t.Fatal(err)
	}
	if err := c.Open(w.soon(), "qemu:///system", false); err != nil {
		t.Fatal(err)
	}
	if who := (<-*w.fake.args.Load()).Caller; who.SASLUser != "fred" {
		t.Errorf("the call comes from %q", who.SASLUser)
	}
	if err := scram(w.soon(), c, "fred", "secret"); err == nil {
		t.Error("it may authenticate again")
	}
}
