package peer

import (
	"context"
	"encoding/binary"
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

	serial uint64     // of the StreamEnded that is being answered
	asker  *actor.PID // who sent it; nil before
}

// streamOver tells that the pump has ended while nobody asked for the end.
type streamOver struct{ token uint64 }

// abandonedLimit is how long a stream whose data has ended waits for its finish.
const abandonedLimit = time.Minute

// plain takes care of sparse streams, whose holes a socket cannot carry.
func plain(proc *protocol.Procedure, args []byte) error {
	if proc.SparseFlag == 0 || len(args) < 4 {
		return nil
	}
	word := args[len(args)-4:] // flags are the last argument of both
	flags := binary.BigEndian.Uint32(word)
	switch {
	case flags&proc.SparseFlag == 0:
	case proc.Kind == protocol.KindStreamIn:
		return liberr.New(liberr.FromStorage, liberr.ArgumentUnsupported, "sparse uploads do not pass to a foreign daemon")
	default:
		binary.BigEndian.PutUint32(word, flags&^proc.SparseFlag)
	}
	return nil
}

// streamOpened hands a stream's descriptor out.
func (p *peer) streamOpened(ctx actor.Context, o *outstanding, a answered) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		o.request.Fail(liberr.System(liberr.FromStreams, err, "cannot make a socket pair"))
		p.abort(ctx, a.stream)
		p.release(ctx, o.link)
		return
	}
	p.tokens++
	s := &streaming{token: p.tokens, link: o.link, stream: a.stream, file: os.NewFile(uintptr(pair[0]), "stream"), pumped: make(chan error, 1)}
	p.streams[s.token] = s
	in := o.request.Proc.Kind == protocol.KindStreamIn
	root, self := ctx.ActorSystem().Root, ctx.Self()
	go func() {
		s.pumped <- s.pump(in)
		time.AfterFunc(abandonedLimit, func() { root.Send(self, &streamOver{s.token}) })
	}()
	a.reply.Stream = &call.Stream{FD: pair[1], In: in, Out: !in, Limit: -1, Ended: ctx.Self().Id, Token: s.token}
	o.request.ReplyRaw(a.reply)
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

func (p *peer) streamEnded(ctx actor.Context, m *call.StreamEnded) {
	s := p.streams[m.Token]
	if s == nil || s.asker != nil {
		ctx.Respond(&call.StreamResult{Serial: m.Serial})
		return
	}
	s.serial, s.asker = m.Serial, ctx.Sender()
	p.endStream(ctx, s, m.Aborted)
}

// endStream tells the daemon how the stream ended, once the data has gone through.
func (p *peer) endStream(ctx actor.Context, s *streaming, aborted bool) {
	if aborted {
		s.cut()
	}
	run := kit.Job[answered]{Name: "end a stream", Run: func(c jobContext, _ *kit.Undo) (answered, error) {
		if aborted {
			return answered{}, s.stream.Abort(c)
		}
		select {
		case err := <-s.pumped:
			if err != nil {
				return answered{}, err
			}
		case <-c.Done():
			return answered{}, context.Cause(c)
		}
		return answered{}, s.stream.Finish(c)
	}}.Start(ctx)
	p.ending[run.Serial] = s
}

func (p *peer) streamFinished(ctx actor.Context, s *streaming, err error) {
	delete(p.streams, s.token)
	if s.asker != nil {
		ctx.Send(s.asker, &call.StreamResult{Serial: s.serial, Err: liberr.From(liberr.FromStreams, err)})
	}
	p.release(ctx, s.link)
}

// streamOver gives a stream up that nobody has ended.
func (p *peer) streamOver(m *streamOver) {
	if s := p.streams[m.token]; s != nil && s.asker == nil {
		s.cut()
		if s.link.client != nil {
			go func(c *rpc.Client) { _ = c.Close() }(s.link.client) // what it had cannot be told to anybody
		}
		delete(p.streams, m.token)
		s.link.busy--
	}
}

func (p *peer) abort(ctx actor.Context, s *rpc.ClientStream) {
	kit.Job[struct{}]{Name: "abort a stream", Timeout: connectPatience, Run: func(c jobContext, _ *kit.Undo) (struct{}, error) {
		return struct{}{}, s.Abort(c)
	}}.Start(ctx)
}
