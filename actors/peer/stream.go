package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// streaming is a stream between the daemon and whoever called: the descriptor that was handed out has its other end here,
// and a goroutine pumps between the two.
//
//	open --StreamEnded (finished)--> pumped --> daemon's finish --> StreamResult
//	     --StreamEnded (aborted)---> daemon's abort -------------> StreamResult
//	     --the pump fails----------> the next StreamEnded gets the error
type streaming struct {
	token  uint64
	link   *link
	stream *rpc.ClientStream
	file   *os.File
	pumped chan error // one value: nil when all data went through

	ending bool // somebody has sent StreamEnded
}

// streamOver tells that the pump has ended while nobody asked for the end.
type streamOver struct{ token uint64 }

// abandonedLimit is how long a stream whose data has ended waits for its finish.
const abandonedLimit = time.Minute

// plain takes care of sparse streams, whose holes a socket cannot carry.
func plain(proc *protocol.Procedure, args []byte) ([]byte, error) {
	if proc.SparseFlag == 0 || len(args) < 4 {
		return args, nil
	}
	last := len(args) - 4 // flags are the last argument of both procedures
	flags := binary.BigEndian.Uint32(args[last:])
	switch {
	case flags&proc.SparseFlag == 0:
		return args, nil
	case proc.Kind == protocol.KindStreamIn:
		return nil, liberr.New(liberr.FromStorage, liberr.ArgumentUnsupported, "sparse uploads do not pass to a foreign daemon")
	}
	return binary.BigEndian.AppendUint32(args[:last:last], flags&^proc.SparseFlag), nil
}

// openStream hands a stream's descriptor out.
func (p *peer) openStream(ctx actor.Context, l *link, r *call.Request, a *answer) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		r.Fail(liberr.System(liberr.FromStreams, err, "cannot make a socket pair"))
		p.desk.Do(ctx, kit.Job[any]{Name: "abort a stream", Timeout: connectPatience, Run: func(c context.Context, _ *kit.Undo) (any, error) {
			return nil, a.stream.Abort(c)
		}}, func(ctx actor.Context, _ any, _ error) { p.release(ctx, l) })
		return
	}
	p.tokens++
	s := &streaming{token: p.tokens, link: l, stream: a.stream, file: os.NewFile(uintptr(pair[0]), "stream"), pumped: make(chan error, 1)}
	p.streams[s.token] = s
	in := r.Proc.Kind == protocol.KindStreamIn
	root, self := ctx.ActorSystem().Root, ctx.Self()
	go func() {
		s.pumped <- s.pump(in)
		time.AfterFunc(abandonedLimit, func() { root.Send(self, &streamOver{s.token}) })
	}()
	r.ReplyRaw(&call.Reply{Ret: a.ret, Stream: &call.Stream{FD: pair[1], In: in, Out: !in, Limit: -1, Ended: ctx.Self().Id, Token: s.token}})
}

// pump copies until one side ends.
func (s *streaming) pump(in bool) error {
	var err error
	if in {
		_, err = io.Copy(onlyWriter{s.stream}, s.file)
	} else {
		_, err = io.Copy(onlyWriter{s.file}, onlyReader{s.stream})
	}
	_ = s.file.Close() // the other end sees the end of the data, or that no more is taken
	return err
}

// The streams' other methods would mislead io.Copy.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// cut ends the pump.
func (s *streaming) cut() { _ = s.file.Close() }

// streamEnded tells the daemon how the stream ended, once the data has gone through.
func (p *peer) streamEnded(ctx actor.Context, m *call.StreamEnded) {
	s := p.streams[m.Token]
	if s == nil || s.ending {
		ctx.Respond(&call.StreamResult{Serial: m.Serial})
		return
	}
	s.ending = true
	if m.Aborted {
		s.cut() // the pump ends, and tells why
	}
	asker, serial, aborted := ctx.Sender(), m.Serial, m.Aborted
	p.desk.Do(ctx, kit.Job[any]{Name: "end a stream", Run: func(c context.Context, _ *kit.Undo) (any, error) {
		select {
		case err := <-s.pumped:
			var daemons *liberr.Error
			if err != nil && (!aborted || errors.As(err, &daemons)) {
				return nil, err // with an abort only when it was the daemon that ended the stream
			}
		case <-c.Done():
			return nil, context.Cause(c)
		}
		if aborted {
			return nil, s.stream.Abort(c)
		}
		return nil, s.stream.Finish(c)
	}}, func(ctx actor.Context, _ any, err error) {
		delete(p.streams, s.token)
		ctx.Send(asker, &call.StreamResult{Serial: serial, Err: liberr.From(liberr.FromStreams, err)})
		p.release(ctx, s.link)
	})
}

// streamOver gives a stream up that nobody has ended.
func (p *peer) streamOver(m *streamOver) {
	if s := p.streams[m.token]; s != nil && !s.ending {
		s.cut()
		if s.link.client != nil {
			go func(c *rpc.Client) { _ = c.Close() }(s.link.client) // what it had cannot be told to anybody
		}
		delete(p.streams, m.token)
		s.link.busy--
	}
}
