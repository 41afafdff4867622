package sasl

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtree/sockets"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// gate is a daemon that authenticates by SASL and passes everything else on to the libvirtd of this machine.
type gate struct {
	t      *testing.T
	server *Server
	kind   sockets.Kind
	user   string
}

const libvirtd = "/run/libvirt/libvirt-sock"

func (g *gate) serve(nc net.Conn) {
	c := rpc.NewConn(nc, nil)
	defer c.Close()
	var session *Session
	for session == nil || !session.Complete() {
		p, err := c.ReadPacket()
		if err != nil {
			return
		}
		var body rpc.Body
		var out []byte
		switch p.Proc {
		case protocol.AuthList.Number:
			body = &protocol.AuthListRet{Types: []protocol.AuthType{protocol.RemoteAuthSASL}}
		case protocol.AuthSASLInit.Number:
			list, _ := g.server.MechanismList(g.kind)
			body = &protocol.AuthSASLInitRet{Mechlist: list}
		case protocol.AuthSASLStart.Number:
			var args protocol.AuthSASLStartArgs
			if err = protocol.Unmarshal(p.Payload, &args); err == nil {
				data := args.Data
				if args.Nil != 0 {
					data = nil
				}
				session, out, err = g.server.Start(g.kind, args.Mech, data)
			}
			if err == nil {
				body = &protocol.AuthSASLStartRet{Complete: flag(session.Complete()), Nil: flag(out == nil), Data: out}
			}
		case protocol.AuthSASLStep.Number:
			var args protocol.AuthSASLStepArgs
			if err = protocol.Unmarshal(p.Payload, &args); err == nil {
				out, err = session.Step(args.Data)
			}
			if err == nil {
				body = &protocol.AuthSASLStepRet{Complete: flag(session.Complete()), Nil: flag(out == nil), Data: out}
			}
		default:
			g.t.Errorf("unexpected %v", p.Header)
			return
		}
		if err != nil {
			c.SendError(p.Header, err)
			c.CloseAfterFlush()
			return
		}
		c.SendBody(p.ReplyTo(rpc.OK), body)
		p.Release()
	}
	g.user = session.User()
	g.passOn(c)
}

func flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

func (g *gate) passOn(c *rpc.Conn) {
	nc, err := net.Dial("unix", libvirtd)
	if err != nil {
		g.t.Error(err)
		return
	}
	up := rpc.NewConn(nc, nil)
	defer up.Close()
	up.Send(rpc.Header{Program: protocol.AuthList.Program, Version: 1, Proc: protocol.AuthList.Number, Serial: 1 << 30}, nil)
	if p, err := up.ReadPacket(); err != nil || p.Status != rpc.OK {
		g.t.Errorf("%v, %v", p, err)
		return
	}
	pump := func(from, to *rpc.Conn) {
		for {
			p, err := from.ReadPacket()
			if err != nil {
				to.CloseAfterFlush()
				return
			}
			to.Send(p.Header, p.Payload)
			p.Release()
		}
	}
	go pump(c, up)
	pump(up, c)
}

// TestRealClient lets virsh, whose SASL is Cyrus', log in with each mechanism, with a good and with a bad password.
func TestRealClient(t *testing.T) {
	virsh, err := exec.LookPath("virsh")
	if err != nil {
		t.Skip("virsh is not installed")
	}
	if c, err := net.Dial("unix", libvirtd); err != nil {
		t.Skip("no libvirtd to pass on to: ", err)
	} else {
		c.Close()
	}
	if _, err := os.Stat("/usr/lib/x86_64-linux-gnu/sasl2/libscram.so"); err != nil {
		t.Skip("Cyrus SASL has no SCRAM plug-in here")
	}
	for _, c := range []struct {
		mechanism, password string
		kind                sockets.Kind
		works               bool
	}{
		{ScramSHA256, "secret", sockets.ReadWrite, true},
		{ScramSHA256, "wrong", sockets.ReadWrite, false},
		{ScramSHA1, "secret", sockets.ReadWrite, true},
		{ScramSHA1, "wrong", sockets.ReadWrite, false},
		// The gate says it were TLS; the UNIX socket below is only the cable.
		{Plain, "secret", sockets.TLS, true},
		{Plain, "wrong", sockets.TLS, false},
		{Plain, "secret", sockets.ReadWrite, false},
	} {
		t.Run(c.mechanism+" "+c.password+" "+c.kind.String(), func(t *testing.T) {
			dir := t.TempDir()
			l, err := net.Listen("unix", filepath.Join(dir, "s"))
			if err != nil {
				t.Fatal(err)
			}
			g := &gate{t: t, server: fixed(users(t, "fred:secret")), kind: c.kind}
			done := make(chan struct{})
			go func() {
				defer close(done)
				if nc, err := l.Accept(); err == nil {
					g.serve(nc)
				}
			}()
			auth := filepath.Join(dir, "auth.conf")
			os.WriteFile(auth, []byte("[credentials-x]\nusername=fred\nauthname=fred\npassword="+c.password+"\n[auth-libvirt-default]\ncredentials=x\n[auth-libvirt-localhost]\ncredentials=x\n"), 0o600)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, virsh, "-c", "qemu+unix:///system?socket="+dir+"/s&authfile="+auth+"&auth=sasl."+c.mechanism, "version", "--daemon")
			out, err := cmd.CombinedOutput()
			l.Close()
			<-done
			if c.works && (err != nil || !strings.Contains(string(out), "Running against daemon") || g.user != "fred") {
				t.Errorf("%v, user %q: %s", err, g.user, out)
			}
			if !c.works && (err == nil || g.user != "") {
				t.Errorf("got in as %q: %s", g.user, out)
			}
			if !c.works {
				t.Logf("%s", out)
			}
		})
	}
}
