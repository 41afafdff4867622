package peer

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/call"
	"virtree/supervisors/paths"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
	"virtree/wire/xdr"
)

// foreigner is a daemon that speaks RPC on a socket: the test says what it answers. The real one is played against
// in bench/e2e; this one can be stuck, and says what it was sent.
type foreigner struct {
	t      *testing.T
	socket string

	mu      sync.Mutex
	ln      net.Listener
	conns   map[*rpc.Conn]*session
	answers map[int32]func(s *session, p *rpc.Packet) // nil: an empty reply
}

// session is what the daemon knows of one connection.
type session struct {
	conn     *rpc.Conn
	uri      string
	readOnly bool
	identity []protocol.TypedParam
	events   []int32
}

func newForeigner(t *testing.T) *foreigner {
	f := &foreigner{t: t, socket: filepath.Join(t.TempDir(), "sock"), conns: map[*rpc.Conn]*session{}, answers: map[int32]func(*session, *rpc.Packet){}}
	f.answers[protocol.AuthList.Number] = func(s *session, p *rpc.Packet) {
		f.reply(s, p, &protocol.AuthListRet{Types: []protocol.AuthType{protocol.RemoteAuthNone}})
	}
	f.answers[protocol.ConnectSupportsFeature.Number] = func(s *session, p *rpc.Packet) {
		f.reply(s, p, &protocol.ConnectSupportsFeatureRet{Supported: 1})
	}
	f.answers[protocol.ConnectOpen.Number] = func(s *session, p *rpc.Packet) {
		var a protocol.ConnectOpenArgs
		f.decode(p, &a)
		f.mu.Lock()
		if a.Name != nil {
			s.uri = *a.Name
		}
		s.readOnly = a.Flags&1 != 0
		f.mu.Unlock()
		f.reply(s, p, nil)
	}
	f.answers[protocol.ConnectSetIdentity.Number] = func(s *session, p *rpc.Packet) {
		var a protocol.ConnectSetIdentityArgs
		f.decode(p, &a)
		f.mu.Lock()
		s.identity = a.Params
		f.mu.Unlock()
		f.reply(s, p, nil)
	}
	f.answers[protocol.ConnectNetworkEventRegisterAny.Number] = func(s *session, p *rpc.Packet) {
		var a protocol.ConnectNetworkEventRegisterAnyArgs
		f.decode(p, &a)
		f.mu.Lock()
		s.events = append(s.events, a.EventID)
		f.mu.Unlock()
		f.reply(s, p, &protocol.ConnectNetworkEventRegisterAnyRet{CallbackID: a.EventID + 100})
	}
	f.listen()
	t.Cleanup(f.die)
	return f
}

func (f *foreigner) decode(p *rpc.Packet, v protocol.Decodable) {
	if err := protocol.Unmarshal(p.Payload, v); err != nil {
		f.t.Errorf("the daemon is sent nonsense: %v", err)
	}
}

func (f *foreigner) reply(s *session, p *rpc.Packet, ret protocol.Encoder) {
	if ret == nil {
		_ = s.conn.Send(p.ReplyTo(rpc.OK), nil)
	} else {
		_ = s.conn.SendBody(p.ReplyTo(rpc.OK), ret)
	}
}

func (f *foreigner) listen() {
	ln, err := net.Listen("unix", f.socket)
	if err != nil {
		f.t.Fatal(err)
	}
	f.mu.Lock()
	f.ln = ln
	f.mu.Unlock()
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			s := &session{conn: rpc.NewConn(nc, nil)}
			f.mu.Lock()
			f.conns[s.conn] = s
			f.mu.Unlock()
			go f.serve(s)
		}
	}()
}

func (f *foreigner) serve(s *session) {
	defer func() {
		s.conn.Close()
		f.mu.Lock()
		delete(f.conns, s.conn)
		f.mu.Unlock()
	}()
	for {
		p, err := s.conn.ReadPacket()
		if err != nil {
			return
		}
		f.mu.Lock()
		h := f.answers[p.Proc]
		f.mu.Unlock()
		if h == nil {
			f.reply(s, p, nil)
		} else {
			h(s, p)
		}
	}
}

// on says what the daemon answers to a procedure.
func (f *foreigner) on(p *protocol.Procedure, h func(s *session, p *rpc.Packet)) {
	f.mu.Lock()
	f.answers[p.Number] = h
	f.mu.Unlock()
}

// die ends the daemon as a crash does.
func (f *foreigner) die() {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = f.ln.Close()
	for c := range f.conns {
		_ = c.Close()
	}
}

// sessions are the open connections for which ok holds; it waits until there are n of them.
func (f *foreigner) sessions(n int, ok func(*session) bool) (list []*session) {
	f.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); ; <-tick.C {
		list = nil
		f.mu.Lock()
		for _, s := range f.conns {
			if ok(s) {
				list = append(list, s)
			}
		}
		f.mu.Unlock()
		if len(list) == n {
			return list
		}
		if time.Now().After(end) {
			f.t.Fatalf("%d connections of the kind, not %d", len(list), n)
		}
	}
}

// start runs a peer of the network driver. Its process is the daemon's too, so that the check against speaking to
// oneself must not see it: the address is given a look of its own.
func (f *foreigner) start() *branchtest.Branch {
	at := At(paths.System(f.t.TempDir()), "network", f.socket)
	at.sameProcess = true
	return branchtest.Start(f.t, New("network", at, zerolog.Nop()))
}

func lookup(c *branchtest.Client) (protocol.NetworkLookupByNameRet, *liberr.Error) {
	return branchtest.Do(c, protocol.NetworkLookupByName, &protocol.NetworkLookupByNameArgs{Name: "default"})
}

func TestCallsPassAsTheyAre(t *testing.T) {
	f := newForeigner(t)
	want := protocol.Network{Name: "default", UUID: protocol.UUID{1, 2, 3}}
	f.on(protocol.NetworkLookupByName.Procedure, func(s *session, p *rpc.Packet) {
		var a protocol.NetworkLookupByNameArgs
		f.decode(p, &a)
		if a.Name != "default" {
			_ = s.conn.SendError(p.Header, liberr.New(liberr.FromNetwork, liberr.NoNetwork, "no network with matching name '%s'", a.Name))
			return
		}
		f.reply(s, p, &protocol.NetworkLookupByNameRet{Net: want})
	})
	c := f.start().Client()
	if r, err := lookup(c); err != nil || r.Net != want {
		t.Errorf("%+v, %v", r, err)
	}
	branchtest.Fails(c, protocol.NetworkLookupByName, &protocol.NetworkLookupByNameArgs{Name: "x"}, liberr.FromNetwork, liberr.NoNetwork,
		"Network not found: no network with matching name 'x'")
	branchtest.Fails(c, protocol.StoragePoolLookupByName, &protocol.StoragePoolLookupByNameArgs{Name: "x"}, liberr.FromStorage, liberr.NoSupportCode,
		"this function is not supported by the connection driver: virStoragePoolLookupByName")
	if _, err := branchtest.Do(c, protocol.ConnectOpen, &protocol.ConnectOpenArgs{}); err != nil {
		t.Error(err)
	}
}

// Each caller has a connection that is the daemon's picture of it.
func TestTheDaemonIsToldWhoCalls(t *testing.T) {
	f := newForeigner(t)
	b := f.start()
	c := b.Client()
	for _, who := range []*call.Caller{
		{Transport: "unix"}, // a driver of ours
		{Transport: "unix", PID: 42, PIDStart: 7, UID: 1000, GID: 100, User: "u", Group: "g"},
		{Transport: "unix", PID: 42, PIDStart: 7, UID: 1000, GID: 100, User: "u", Group: "g", ReadOnly: true},
		{Transport: "tls", X509Name: "CN=x"},
	} {
		c.Caller = who
		for range 2 {
			if _, err := branchtest.Do(c, protocol.NetworkDestroy, &protocol.NetworkDestroyArgs{}); err != nil {
				t.Error(err)
			}
		}
	}
	field := func(s *session, name string) string {
		for _, p := range s.identity {
			if p.Field == name {
				return p.Value.S
			}
		}
		return ""
	}
	f.sessions(1, func(s *session) bool {
		return s.identity == nil && len(s.events) == 0 && s.uri == "network:///system" && !s.readOnly
	})
	f.sessions(1, func(s *session) bool { return field(s, "user-name") == "u" && !s.readOnly && len(s.identity) == 6 })
	f.sessions(1, func(s *session) bool { return field(s, "user-name") == "u" && s.readOnly })
	f.sessions(1, func(s *session) bool { return field(s, "x509-distinguished-name") == "CN=x" && len(s.identity) == 1 })
	f.sessions(5, func(*session) bool { return true }) // these, and the one for events
}

// A call in flight when the daemon dies gets an error; one that comes while it is being restarted waits; one for a daemon
// that stays away gets an error in bounded time.
func TestTheDaemonDies(t *testing.T) {
	f := newForeigner(t)
	arrived := make(chan bool, 1)
	f.on(protocol.NetworkCreate.Procedure, func(*session, *rpc.Packet) { arrived <- true }) // and no answer
	c := f.start().Client()
	c.Send(protocol.NetworkCreate.Procedure, &protocol.NetworkCreateArgs{})
	<-arrived
	f.die()
	if r := c.Reply(); r.Err == nil || r.Err.Domain != liberr.FromRPC {
		t.Errorf("a call in flight is answered with %v", r.Err)
	}
	c.Send(protocol.NetworkDestroy.Procedure, &protocol.NetworkDestroyArgs{}) // nobody listens
	time.AfterFunc(200*time.Millisecond, f.listen)
	if r := c.Reply(); r.Err != nil {
		t.Errorf("a call during the restart is answered with %v", r.Err)
	}
	f.die()
	begin := time.Now()
	_, err := lookup(c)
	if err != nil && err.Code == liberr.RPC { // it was on its way when the daemon died
		_, err = lookup(c)
	}
	if err == nil || err.Code != liberr.SystemError || !strings.HasPrefix(err.Message, "Failed to connect socket to '"+f.socket+"'") && err.Domain != liberr.FromRPC {
		t.Errorf("a call for nobody is answered with %v", err)
	}
	if took := time.Since(begin); took > restartPatience+10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Calls that are stuck in the daemon hold up neither other callers nor, past its deadline, a caller that has one.
func TestTheDaemonIsStuck(t *testing.T) {
	f := newForeigner(t)
	release := make(chan struct{})
	f.on(protocol.NetworkCreate.Procedure, func(s *session, p *rpc.Packet) {
		go func() {
			<-release
			f.reply(s, p, nil)
		}()
	})
	b := f.start()
	stuck, other := b.Client(), b.Client()
	other.Caller = &call.Caller{Transport: "unix", PID: 7, UID: 7}
	const n = 3 * maxInFlight
	for range n {
		stuck.Send(protocol.NetworkCreate.Procedure, &protocol.NetworkCreateArgs{})
	}
	other.Send(protocol.NetworkDestroy.Procedure, &protocol.NetworkDestroyArgs{})
	if r := other.Reply(); r.Err != nil {
		t.Error(r.Err)
	}
	m := &call.Call{Proc: protocol.NetworkCreate.Procedure, Serial: 9, Caller: &call.Caller{Transport: "unix", PID: 8}, Deadline: time.Now().Add(50 * time.Millisecond), Args: (&protocol.NetworkCreateArgs{}).AppendXDR(nil)}
	b.Root().RequestWithCustomSender(b.PID, m, other.PID)
	if r := other.Reply(); r.Serial != 9 || r.Err == nil || r.Err.Code != liberr.OperationTimeout {
		t.Errorf("past its deadline: %+v", r)
	}
	close(release)
	var serials []uint64
	for range n {
		r := stuck.Reply()
		if r.Err != nil {
			t.Error(r.Err)
		}
		serials = append(serials, r.Serial)
	}
	slices.Sort(serials)
	if len(slices.Compact(serials)) != n {
		t.Errorf("answers to %v", serials)
	}
}

// A daemon that takes connections and says nothing is an error in bounded time.
func TestTheDaemonIsMute(t *testing.T) {
	t.Parallel()
	f := newForeigner(t)
	b := f.start()
	c := b.Client()
	f.on(protocol.ConnectOpen.Procedure, func(*session, *rpc.Packet) {})
	c.Caller = &call.Caller{Transport: "unix", PID: 3}
	c.Send(protocol.NetworkDestroy.Procedure, &protocol.NetworkDestroyArgs{})
	if r := c.Reply(); r.Err == nil || r.Err.Code != liberr.OperationTimeout || !strings.Contains(r.Err.Message, "does not answer") {
		t.Errorf("%+v", r.Err)
	}
}

func TestEvents(t *testing.T) {
	f := newForeigner(t)
	b := f.start()
	c := b.Client() // has subscribed
	id := protocol.UUID{5}
	feeds := func() *session {
		return f.sessions(1, func(s *session) bool { return slices.Equal(s.events, []int32{0, 1}) })[0]
	}
	emit := func(s *session) {
		payload := xdr.AppendInt32(nil, 100)
		payload = xdr.AppendString(payload, "default")
		payload = append(payload, id[:]...)
		payload = xdr.AppendInt32(xdr.AppendInt32(payload, 2), 0)
		h := rpc.Header{Program: protocol.RemoteProgram, Version: protocol.RemoteVersion, Proc: protocol.NetworkEventLifecycle.Number, Type: rpc.Message}
		if err := s.conn.Send(h, payload); err != nil {
			t.Error(err)
		}
	}
	check := func() {
		t.Helper()
		ev := c.Event()
		d := xdr.NewDecoder(ev.Payload)
		if ev.Object != "network" || ev.ID != 0 || ev.UUID != id || ev.Name != "default" || d.String(100) != "default" {
			t.Errorf("%+v", ev)
		}
	}
	emit(feeds())
	check()
	f.die()
	f.sessions(0, func(*session) bool { return true })
	f.listen()
	emit(feeds()) // it has registered again, by itself
	check()
	c.NoEvent()
	b.Root().RequestWithCustomSender(b.PID, &call.Unsubscribe{}, c.PID)
	f.sessions(0, func(*session) bool { return true })
}

// A subscription to a daemon that is not there is an error, and not a wait.
func TestSubscriptionToNobody(t *testing.T) {
	f := newForeigner(t)
	f.die()
	b := f.start()
	b.Client() // complains when there is no answer
}

func TestPlain(t *testing.T) {
	args := &protocol.StorageVolDownloadArgs{Flags: 1, Length: 5}
	out, err := plain(protocol.StorageVolDownload.Procedure, args.AppendXDR(nil))
	var back protocol.StorageVolDownloadArgs
	if err != nil || protocol.Unmarshal(out, &back) != nil || back.Flags != 0 || back.Length != 5 {
		t.Errorf("%+v, %v", back, err)
	}
	if _, err := plain(protocol.StorageVolUpload.Procedure, (&protocol.StorageVolUploadArgs{Flags: 1}).AppendXDR(nil)); err == nil {
		t.Error("a sparse upload passes")
	}
}

func TestFind(t *testing.T) {
	p := paths.System(t.TempDir())
	if err := os.MkdirAll(p.Run(), 0o755); err != nil {
		t.Fatal(err)
	}
	own, all := p.Socket("virtnetworkd"), p.Socket("libvirtd")
	at := At(p, "network", "")
	if at.Find() != own {
		t.Error(at.Find(), "without any socket")
	}
	for _, socket := range []string{all, own} {
		ln, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if at.Find() != socket {
			t.Error(at.Find(), "with", socket)
		}
	}
	if got := At(p, "network", "/x").Find(); got != "/x" {
		t.Error(got)
	}
	if uri := At(paths.Paths{Session: true}, "secret", "").URI; uri != "secret:///session" {
		t.Error(uri)
	}
}

// The process's own socket is refused: calls would go round in circles.
func TestOurOwnSocketIsRefused(t *testing.T) {
	f := newForeigner(t)
	b := branchtest.Start(t, New("network", At(paths.System(t.TempDir()), "network", f.socket), zerolog.Nop()))
	c := b.Client()
	branchtest.Fails(c, protocol.NetworkLookupByName, &protocol.NetworkLookupByNameArgs{Name: "x"}, liberr.FromRPC, liberr.InternalError,
		"internal error: the socket '"+f.socket+"' of the foreign daemon is our own")
}
