package client

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/sockets"
	"virtree/sockets/sasl"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/remoting"
	"virtree/wire/rpc"
)

// process makes an actor system that others reach, as each daemon is one.
func process(t testing.TB) *actor.ActorSystem {
	t.Helper()
	path := filepath.Join(t.TempDir(), "actors")
	sys := kit.NewSystem(remoting.Address(path), zerolog.Nop())
	node, err := remoting.Start(sys, remoting.Options{
		Path: path, Dispatcher: kit.Dispatcher,
		OnUndeliverable: func(sender *actor.PID, msg any, why *remoting.Failure) {
			if answer := call.Undeliverable(msg, why); answer != nil {
				sys.Root.Send(sender, answer)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		node.Close(ctx)
	})
	return sys
}

// doors is a proxy and the daemon to which it gives its connections.
func doors(t testing.TB, change func(*Config)) (proxy, daemon *world) {
	daemon = startIn(t, process(t), nil)
	proxy = startIn(t, process(t), func(c *Config) {
		c.Elsewhere = func(branch string) *actor.PID {
			if branch != "qemu" {
				return nil
			}
			return actor.NewPID(daemon.server.Address, daemon.server.Id) // as another process knows it
		}
		if change != nil {
			change(c)
		}
	})
	return proxy, daemon
}

func TestAConnectionIsHandedOver(t *testing.T) {
	proxy, daemon := doors(t, func(c *Config) {
		c.Auth = func(sockets.Kind) Auth { return AuthSASL }
		c.SASL = sasl.NewServer(scramFile(t, "fred", "secret"), nil)
	})
	daemon.fake.record(8)
	c := proxy.dial(proxy.rw)
	if err := scram(proxy.soon(), c, "fred", "secret"); err != nil {
		t.Fatal(err)
	}
	if err := c.Open(proxy.soon(), "qemu:///system", true); err != nil {
		t.Fatal(err)
	}
	<-*daemon.fake.args.Load()
	if err := lookup(proxy.soon(), c, "x"); err != nil {
		t.Fatal(err)
	}
	who := (<-*daemon.fake.args.Load()).Caller
	if who.SASLUser != "fred" || !who.ReadOnly || who.PID == 0 {
		t.Errorf("the call comes from %+v", who)
	}
	eventually(t, "the proxy has forgotten the client", func() bool { return proxy.idle.Load() == 0 })
	if n := daemon.idle.Load(); n != 1 {
		t.Errorf("the daemon has %d clients", n)
	}
	// The proxy may end now.
	_ = proxy.sys.Root.StopFuture(proxy.server).Wait()
	if err := lookup(proxy.soon(), c, "x"); err != nil {
		t.Error(err)
	}
}

// What the client sent behind its CONNECT_OPEN without waiting arrives, in order.
func TestPipelinedPacketsAreHandedOverToo(t *testing.T) {
	for _, calls := range []int{1, 10, 200} {
		proxy, _ := doors(t, nil)
		nc, err := net.Dial("unix", proxy.rw)
		if err != nil {
			t.Fatal(err)
		}
		h := header(protocol.ConnectOpen.Procedure)
		h.Serial = 1
		out := rpc.AppendPacket(nil, h, openArgs("qemu:///system"))
		for i := range calls {
			h := header(protocol.DomainLookupByName.Procedure)
			h.Serial = uint32(2 + i)
			out = rpc.AppendPacket(out, h, encoded(&protocol.DomainLookupByNameArgs{Name: strings.Repeat("n", 200+i)}))
		}
		half := len(out) - len(out)/3
		if _, err := nc.Write(out[:half]); err != nil {
			t.Fatal(err)
		}
		conn := rpc.NewConn(nc, nil)
		if p, err := conn.ReadPacket(); err != nil || p.Serial != 1 || p.Status != rpc.OK {
			t.Fatalf("%+v, %v: %v", p, err, rpc.DecodeError(p.Payload))
		}
		if _, err := nc.Write(out[half:]); err != nil {
			t.Fatal(err)
		}
		for i := range calls {
			p, err := conn.ReadPacket()
			if err != nil || p.Serial != uint32(2+i) || p.Status != rpc.OK {
				if p != nil && p.Status == rpc.Error {
					err = rpc.DecodeError(p.Payload)
				}
				t.Fatalf("answer %d of %d: %v", i, calls, err)
			}
		}
		_ = conn.Close()
	}
}

func TestARefusedHandOverIsAnswered(t *testing.T) {
	t.Run("the daemon is full", func(t *testing.T) {
		proxy, daemon := doors(t, nil)
		daemon.sys.Root.Send(daemon.server, &SetLimits{Limits{Clients: 0}})
		c := proxy.dial(proxy.rw)
		err := c.Open(proxy.soon(), "qemu:///system", false)
		if !errors.Is(err, liberr.SystemError) || !strings.Contains(err.Error(), "too many clients are connected") {
			t.Errorf("%v", err)
		}
		closed(t, c)
	})
	t.Run("there is no daemon", func(t *testing.T) {
		proxy, _ := doors(t, func(c *Config) {
			c.Elsewhere = func(string) *actor.PID {
				return actor.NewPID(remoting.Address(filepath.Join(t.TempDir(), "nobody")), "server-virtqemud")
			}
		})
		c := proxy.dial(proxy.rw)
		err := c.Open(proxy.soon(), "qemu:///system", false)
		if !errors.Is(err, liberr.SystemError) || !strings.Contains(err.Error(), "Failed to connect socket to '") {
			t.Errorf("%v", err)
		}
		closed(t, c)
	})
}

// The rest of a connection that has been handed over keeps what the proxy knew: PINGs go on.
func TestKeepaliveGoesOnAfterTheHandOver(t *testing.T) {
	daemon := startIn(t, process(t), func(c *Config) { c.Keepalive, c.KeepCount = 20*time.Millisecond, 5 })
	var handed atomic.Int64
	proxy := startIn(t, process(t), func(c *Config) {
		c.Keepalive, c.KeepCount = time.Hour, 5
		c.Elsewhere = func(string) *actor.PID { handed.Add(1); return actor.NewPID(daemon.server.Address, daemon.server.Id) }
	})
	c := proxy.open()
	read, _ := c.Conn().Packets()
	eventually(t, "the daemon pings", func() bool { now, _ := c.Conn().Packets(); return now >= read+5 })
	if handed.Load() != 1 {
		t.Errorf("handed over %d times", handed.Load())
	}
	nothing(t, proxy)
}

// nothing checks that a proxy holds neither client nor descriptor of one.
func nothing(t testing.TB, w *world) {
	t.Helper()
	eventually(t, "the proxy has no client", func() bool { return len(w.members().Clients) == 0 })
}

// 300 connections leave no descriptor in the proxy when their clients are gone.
func TestHandOversLeaveNoDescriptors(t *testing.T) {
	proxy, daemon := doors(t, nil)
	visit := func() {
		c, err := rpc.Dial(t.Context(), "unix", proxy.rw, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Connect(t.Context(), "qemu:///system", false); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	for range 20 {
		visit()
	}
	gone := func() bool { return proxy.idle.Load() == 0 && daemon.idle.Load() == 0 }
	eventually(t, "all are gone", gone)
	before := openFiles(t)
	for range 300 {
		visit()
	}
	eventually(t, "all are gone", gone)
	eventually(t, "descriptors are given back", func() bool { return openFiles(t) <= before })
}
