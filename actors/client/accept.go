package client

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/sockets"
)

// accepted is a connection that is ready to speak the protocol.
type accepted struct {
	conn *sockets.Conn
	peer sockets.Peer
	seat chan struct{} // given back when the server has let it in or turned it away
}

// Discard closes a connection that no server took.
func (a *accepted) Discard() {
	_ = a.conn.Close()
	a.decided()
}

func (a *accepted) decided() {
	if a.seat != nil {
		<-a.seat
		a.seat = nil
	}
}

// waitingRoom is how many connections are accepted and not let in: a server that is full leaves the others in
// the socket's own queue, whose length is max_queued_clients.
const waitingRoom = 16

// Serve accepts until the listener is closed and passes each connection to the server's actor. It runs in
// a goroutine of its own, and starts one more for each TLS handshake.
func Serve(root *actor.RootContext, to *actor.PID, l *sockets.Listener, conf *Config) error {
	var row arrivals
	for {
		row.pause()
		conf.seats <- struct{}{}
		conn, err := acceptNext(l, conf)
		if err != nil {
			<-conf.seats
			return err
		}
		if l.Kind == sockets.TLS {
			<-conf.seats // whoever is silent in the handshake keeps nobody out
			go admit(root, to, conn, nil, conf)
			continue
		}
		admit(root, to, conn, conf.seats, conf)
	}
}

// acceptNext waits for the next connection, through times in which the process or the host is out of
// descriptors or memory: these pass, when somebody leaves.
func acceptNext(l *sockets.Listener, conf *Config) (*sockets.Conn, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		conn, err := l.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) {
			return conn, err
		}
		conf.Log.Error().Err(err).Stringer("address", l.Addr()).Dur("pause", pause).Msg("cannot accept a client")
		time.Sleep(pause)
	}
}

// handshakeTimeout bounds how long a silent TLS peer is kept.
const handshakeTimeout = 10 * time.Second

func admit(root *actor.RootContext, to *actor.PID, conn *sockets.Conn, seat chan struct{}, conf *Config) {
	a := &accepted{conn: conn, seat: seat}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if err := conn.Handshake(ctx); err != nil {
		conf.Log.Warn().Err(err).Msg("client refused in the handshake")
		a.Discard()
		return
	}
	peer, err := conn.Peer()
	if err != nil {
		conf.Log.Warn().Err(err).Msg("client refused: its identity is unknown")
		a.Discard()
		return
	}
	a.peer = peer
	root.Send(to, a)
}
