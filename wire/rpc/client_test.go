package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// fakeServer answers a Client's packets with handle, in the goroutine that reads.
func fakeServer(t *testing.T, opt *ClientOptions, handle func(c *Conn, p *Packet)) *Client {
	t.Helper()
	x, y := unixPair(t)
	server := NewConn(y, nil)
	t.Cleanup(func() { server.Close() })
	go func() {
		for {
			p, err := server.ReadPacket()
			if err != nil {
				return
			}
			handle(server, p)
		}
	}()
	c := NewClient(x, opt)
	t.Cleanup(func() { c.Close() })
	return c
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestRepliesInAnyOrderFindTheirCalls(t *testing.T) {
	const n = 50
	var held []*Packet
	c := fakeServer(t, nil, func(c *Conn, p *Packet) {
		held = append(held, p)
		if len(held) < n {
			return
		}
		for i := len(held) - 1; i >= 0; i-- {
			c.Send(held[i].ReplyTo(OK), held[i].Payload)
		}
	})
	ctx := testContext(t)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			args := &protocol.ConnectSupportsFeatureArgs{Feature: int32(i)}
			got, err := Do(ctx, c, protocol.ConnectSupportsFeature, args)
			if err != nil || got.Supported != int32(i) {
				t.Errorf("call %d: %+v, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

func TestErrorRepliesBecomeErrors(t *testing.T) {
	want := liberr.New(liberr.FromQemu, liberr.NoDomain, "no domain with matching name 'x'")
	c := fakeServer(t, nil, func(c *Conn, p *Packet) { c.SendError(p.Header, want) })
	_, err := Do(testContext(t), c, protocol.ConnectGetLibVersion, nil)
	var e *liberr.Error
	if !errors.As(err, &e) || !errors.Is(err, liberr.NoDomain) || e.Message != want.Message || e.Domain != liberr.FromQemu || e.Str2 != want.Str2 {
		t.Errorf("got %#v", err)
	}
}

func TestUnknownProcedureReadsAsNotSupported(t *testing.T) {
	c := fakeServer(t, nil, func(c *Conn, p *Packet) {
		c.SendError(p.Header, liberr.Raw(liberr.FromRPC, liberr.RPC, "unknown procedure: 157"))
	})
	_, err := Do(testContext(t), c, protocol.ConnectGetLibVersion, nil)
	if !errors.Is(err, liberr.NoSupportCode) || !strings.Contains(err.Error(), "virConnectGetLibVersion") {
		t.Errorf("got %v", err)
	}
}

func TestBrokenReplyIsAnErrorAndTheConnectionGoesOn(t *testing.T) {
	first := true
	c := fakeServer(t, nil, func(c *Conn, p *Packet) {
		if first {
			first = false
			c.Send(p.ReplyTo(OK), []byte{0, 0, 0, 1})
			return
		}
		c.SendBody(p.ReplyTo(OK), &protocol.ConnectGetLibVersionRet{LibVer: 9})
	})
	ctx := testContext(t)
	if _, err := Do(ctx, c, protocol.ConnectGetLibVersion, nil); !errors.Is(err, liberr.RPC) {
		t.Errorf("got %v", err)
	}
	if v, err := Do(ctx, c, protocol.ConnectGetLibVersion, nil); err != nil || v.LibVer != 9 {
		t.Errorf("got %v, %v", v, err)
	}
}

func TestGivenUpCallDoesNotDisturbLaterOnes(t *testing.T) {
	var late *Packet
	c := fakeServer(t, nil, func(c *Conn, p *Packet) {
		if late == nil {
			late = p
			return
		}
		c.Send(late.ReplyTo(OK), make([]byte, 8))
		c.SendBody(p.ReplyTo(OK), &protocol.ConnectGetLibVersionRet{LibVer: 7})
	})
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := Do(short, c, protocol.ConnectGetLibVersion, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if v, err := Do(testContext(t), c, protocol.ConnectGetLibVersion, nil); err != nil || v.LibVer != 7 {
		t.Errorf("got %v, %v", v, err)
	}
}

func TestEndOfConnectionAnswersEveryCall(t *testing.T) {
	n := 0
	c := fakeServer(t, nil, func(c *Conn, p *Packet) {
		if n++; n == 3 {
			c.Close()
		}
	})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := Do(testContext(t), c, protocol.ConnectGetLibVersion, nil); !errors.Is(err, liberr.RPC) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	<-c.Done()
	if _, open := <-c.Events(); open {
		t.Error("the events channel is open")
	}
	if _, err := Do(testContext(t), c, protocol.ConnectGetLibVersion, nil); err == nil {
		t.Error("a call after the end succeeded")
	}
}

func TestEventsComeInOrderWhileNobodyTakesThem(t *testing.T) {
	const n = 1000
	c := fakeServer(t, nil, func(c *Conn, p *Packet) {
		for i := range n {
			c.Send(Header{Program: p.Program, Version: 1, Proc: 318, Type: Message, Serial: 1}, fmt.Append(nil, i))
		}
		c.SendBody(p.ReplyTo(OK), &protocol.ConnectGetLibVersionRet{})
	})
	if _, err := Do(testContext(t), c, protocol.ConnectGetLibVersion, nil); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if e := <-c.Events(); string(e.Payload) != fmt.Sprint(i) || e.Proc != 318 {
			t.Fatalf("event %d is %v %q", i, e.Header, e.Payload)
		}
	}
}

func TestDescriptorsInCallAndReply(t *testing.T) {
	c := fakeServer(t, nil, func(c *Conn, p *Packet) {
		if p.Type != CallWithFDs {
			c.SendError(p.Header, errors.New("no descriptors"))
			return
		}
		h := p.ReplyTo(OK)
		h.Type = ReplyWithFDs
		c.Send(h, nil, p.TakeFDs()...) // back they go
	})
	got, err := c.CallFDs(testContext(t), protocol.DomainOpenGraphicsFD.Procedure, nil, nil, tempFile(t, "one"), tempFile(t, "two"))
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	for i, want := range []string{"one", "two"} {
		if b, _ := io.ReadAll(got[i]); string(b) != want {
			t.Errorf("descriptor %d reads %q", i, b)
		}
		got[i].Close()
	}
}

func TestClientKeepaliveGivesUpADeadServer(t *testing.T) {
	x, y := unixPair(t)
	_ = y // connected, and never reads
	c := NewClient(x, &ClientOptions{KeepaliveInterval: 5 * time.Millisecond, KeepaliveCount: 2})
	_, err := Do(testContext(t), c, protocol.ConnectGetLibVersion, nil)
	if err == nil || !strings.Contains(err.Error(), "keepalive timeout") {
		t.Errorf("got %v", err)
	}
}

func TestClientKeepaliveKeepsAnIdleLivingServer(t *testing.T) {
	c := fakeServer(t, &ClientOptions{KeepaliveInterval: time.Millisecond, KeepaliveCount: 200}, func(*Conn, *Packet) {})
	for {
		if received, _ := c.Conn().Packets(); received >= 5 { // five PONGs
			break
		}
		select {
		case <-c.Done():
			t.Fatal(c.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// lockedBuffer is looked at by the test and by the server.
type lockedBuffer struct {
	mu sync.Mutex
	b  []byte
}

func (l *lockedBuffer) write(p []byte) {
	l.mu.Lock()
	l.b = append(l.b, p...)
	l.mu.Unlock()
}

func (l *lockedBuffer) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b)
}

func (l *lockedBuffer) reset() {
	l.mu.Lock()
	l.b = nil
	l.mu.Unlock()
}

// streamServer serves uploads and downloads of one buffer.
func streamServer(t *testing.T, stored *lockedBuffer, failAt int) *Client {
	return fakeServer(t, nil, func(c *Conn, p *Packet) {
		if p.Type == Call {
			c.Send(p.ReplyTo(OK), nil)
			if p.Proc == protocol.StorageVolDownload.Number {
				c.SendData(p.Header, stored.bytes())
				c.SendHole(p.Header, 10)
				c.SendEOF(p.Header)
			}
			p.Release()
			return
		}
		sp, err := ParseStream(p)
		if err != nil {
			t.Error(err)
		}
		switch sp.Kind {
		case StreamData:
			stored.write(sp.Data)
			if failAt > 0 && len(stored.bytes()) > failAt {
				failAt = 1 << 62
				c.SendStreamError(p.Header, liberr.New(liberr.FromStorage, liberr.OperationFailed, "disk full"))
			}
		case StreamGap:
			stored.write(make([]byte, sp.Length))
		case StreamFinish:
			c.SendFinish(p.Header)
		case StreamAbort:
			stored.reset()
			c.SendFinish(p.Header)
		}
		p.Release()
	})
}

func TestStreams(t *testing.T) {
	ctx := testContext(t)
	data := pattern(3*MaxData+17, 5)
	t.Run("upload with a hole", func(t *testing.T) {
		var stored lockedBuffer
		c := streamServer(t, &stored, 0)
		s, err := c.OpenStream(ctx, protocol.StorageVolUpload.Procedure, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := s.Hole(1000); err != nil {
			t.Fatal(err)
		}
		if err := s.Finish(ctx); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(stored.bytes(), append(data[:len(data):len(data)], make([]byte, 1000)...)) {
			t.Error("stored data differs")
		}
		if _, err := s.Write(data); err == nil {
			t.Error("a finished stream takes data")
		}
	})
	t.Run("download", func(t *testing.T) {
		c := streamServer(t, &lockedBuffer{b: data}, 0)
		s, err := c.OpenStream(ctx, protocol.StorageVolDownload.Procedure, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(s)
		if err != nil || !bytes.Equal(got, append(data[:len(data):len(data)], make([]byte, 10)...)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if err := s.Finish(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("abort, and the connection is still good", func(t *testing.T) {
		var stored lockedBuffer
		c := streamServer(t, &stored, 0)
		for range 2 {
			s, err := c.OpenStream(ctx, protocol.StorageVolUpload.Procedure, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.Write(data)
			if err := s.Abort(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if len(stored.bytes()) != 0 {
			t.Error("data stays after abort")
		}
	})
	t.Run("failure in the middle", func(t *testing.T) {
		var stored lockedBuffer
		c := streamServer(t, &stored, 1<<20)
		s, err := c.OpenStream(ctx, protocol.StorageVolUpload.Procedure, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = s.Write(data)
		}
		if !errors.Is(err, liberr.OperationFailed) {
			t.Errorf("got %v", err)
		}
		if err := s.Finish(ctx); !errors.Is(err, liberr.OperationFailed) {
			t.Errorf("Finish: %v", err)
		}
		if err := s.Abort(ctx); err != nil {
			t.Errorf("Abort: %v", err)
		}
	})
	t.Run("refused at the opening", func(t *testing.T) {
		c := fakeServer(t, nil, func(c *Conn, p *Packet) { c.SendError(p.Header, liberr.Plain(liberr.FromStorage, liberr.NoStorageVol)) })
		if _, err := c.OpenStream(ctx, protocol.StorageVolUpload.Procedure, nil, nil); !errors.Is(err, liberr.NoStorageVol) {
			t.Errorf("got %v", err)
		}
		if len(c.streams) != 0 {
			t.Error("the stream is still known")
		}
	})
}

// reference connects to the libvirtd of this machine, or skips.
func reference(t *testing.T, opt *ClientOptions) *Client {
	t.Helper()
	const path = "/run/libvirt/libvirt-sock"
	if _, err := os.Stat(path); err != nil {
		t.Skip("no reference daemon: ", err)
	}
	c, err := Dial(testContext(t), "unix", path, opt)
	if err != nil {
		t.Skip("no reference daemon: ", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRealLibvirtd(t *testing.T) {
	pong := make(chan struct{})
	opt := &ClientOptions{}
	opt.Conn.OnPong = sync.OnceFunc(func() { close(pong) })
	c := reference(t, opt)
	ctx := testContext(t)
	// Before the open, keepalive is the feature that is answered.
	if err := c.Authenticate(ctx); err != nil {
		t.Fatal(err)
	}
	if f, err := Do(ctx, c, protocol.ConnectSupportsFeature, &protocol.ConnectSupportsFeatureArgs{Feature: FeatureKeepalive}); err != nil || f.Supported != 1 {
		t.Errorf("feature keepalive: %+v, %v", f, err)
	}
	_, err := Do(ctx, c, protocol.ConnectGetLibVersion, nil)
	if e := (*liberr.Error)(nil); !errors.As(err, &e) {
		t.Errorf("a call before the open: %v", err)
	} else {
		t.Logf("a call before the open: code %d domain %d level %d %q", e.Code, e.Domain, e.Level, e.Message)
	}
	if err := c.Open(ctx, "qemu:///system", false); err != nil {
		t.Fatal(err)
	}
	version, err := Do(ctx, c, protocol.ConnectGetLibVersion, nil)
	if err != nil || version.LibVer < 9000000 {
		t.Errorf("library version: %+v, %v", version, err)
	}
	if _, err := Do(ctx, c, protocol.ConnectListAllDomains, &protocol.ConnectListAllDomainsArgs{NeedResults: 1}); err != nil {
		t.Errorf("list domains: %v", err)
	}
	name := "virtree-no-such-domain"
	if _, err := Do(ctx, c, protocol.DomainLookupByName, &protocol.DomainLookupByNameArgs{Name: name}); !errors.Is(err, liberr.NoDomain) ||
		err.(*liberr.Error).Message != "Domain not found: no domain with matching name '"+name+"'" {
		t.Errorf("lookup: %v", err)
	}
	// The answers our own dispatcher has to give as well.
	for what, h := range map[string]Header{
		"unknown program":   {Program: 0x12345678, Version: 1, Proc: 1},
		"unknown version":   {Program: 0x20008086, Version: 9, Proc: 1},
		"unknown procedure": {Program: 0x20008086, Version: 1, Proc: 9999},
	} {
		_, err := c.CallRaw(ctx, h, nil)
		if !errors.Is(err, liberr.RPC) || err.(*liberr.Error).Domain != liberr.FromRPC {
			t.Errorf("%s: %v", what, err)
		} else {
			t.Logf("%s: %q", what, err)
		}
	}
	// Many calls at once over one connection: more than the server reads ahead.
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if v, err := Do(ctx, c, protocol.ConnectGetLibVersion, nil); err != nil || v.LibVer != version.LibVer {
				t.Errorf("%v, %v", v, err)
			}
		})
	}
	wg.Wait()
	c.conn.SendPing()
	select {
	case <-pong:
	case <-ctx.Done():
		t.Error("no PONG")
	}
	if err := c.Disconnect(ctx); err != nil {
		t.Error(err)
	}
}

func TestRealLibvirtdReadOnlyAndBadURI(t *testing.T) {
	c := reference(t, nil)
	ctx := testContext(t)
	if err := c.Connect(ctx, "qemu:///system", true); err != nil {
		t.Fatal(err)
	}
	_, err := Do(ctx, c, protocol.DomainDefineXML, &protocol.DomainDefineXMLArgs{XML: "<domain/>"})
	if !errors.Is(err, liberr.OperationDenied) {
		t.Errorf("define over a read-only connection: %v", err)
	}
	if err := c.Open(ctx, "qemu:///system", false); err == nil {
		t.Error("a second open succeeded")
	} else {
		t.Logf("a second open: %#v", err)
	}
	other := reference(t, nil)
	err = other.Connect(ctx, "nosuchdriver:///system", false)
	t.Logf("a bad URI: %v", err)
	if !errors.Is(err, liberr.NoConnect) {
		t.Errorf("a bad URI: %v", err)
	}
}
