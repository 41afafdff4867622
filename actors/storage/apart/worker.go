package apart

import (
	"context"
	"encoding/binary"
	"encoding/gob"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"virtree/actors/internal/kit"
	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
)

// Argument is what a program is started with to be a worker. Its sockets are descriptors 3 and 4.
const Argument = "storage-worker"

const (
	callsFD = 3
	filesFD = 4
)

// Main does a worker's work when the program was started as one, and tells whether it was.
func Main(args []string) (was bool) {
	if len(args) != 2 || args[1] != Argument {
		return false
	}
	w := &worker{calls: os.NewFile(callsFD, "calls"), running: map[uint64]context.CancelFunc{}}
	w.out = gob.NewEncoder(w.calls)
	w.serve()
	return true
}

type worker struct {
	calls   *os.File
	mu      sync.Mutex // of out, the files' socket and running
	out     *gob.Encoder
	running map[uint64]context.CancelFunc
}

// serve reads calls until the socket ends. What runs then is left half-made, as by any other end of the process.
func (w *worker) serve() {
	in := gob.NewDecoder(w.calls)
	for {
		r := &request{}
		if in.Decode(r) != nil {
			return
		}
		w.mu.Lock()
		if r.Method == cancel {
			if stop := w.running[r.ID]; stop != nil {
				stop()
			}
			w.mu.Unlock()
			continue
		}
		ctx, stop := context.WithCancel(context.Background())
		w.running[r.ID] = stop
		w.mu.Unlock()
		go w.do(ctx, r)
	}
}

func (w *worker) do(ctx context.Context, r *request) {
	a := &answer{ID: r.ID}
	f, err := w.run(ctx, r, a)
	a.Err = wireError(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[r.ID]()
	delete(w.running, r.ID)
	if f != nil {
		a.File = true
		id := binary.NativeEndian.AppendUint64(nil, r.ID)
		if err := unix.Sendmsg(filesFD, id, unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
			a.File, a.Err = false, wireError(err)
		}
		_ = f.Close()
	}
	if w.out.Encode(a) != nil {
		os.Exit(1) // nobody is there any more
	}
}

func (w *worker) run(ctx context.Context, r *request, a *answer) (f *os.File, err error) {
	p := r.Pool
	p.Kind, _ = def.KindNamed(r.Kind)
	b, err := (&backend.Host{Run: r.Run}).For(p.Kind)
	if err != nil {
		return nil, err
	}
	undo := &kit.Undo{}
	switch r.Method {
	case active:
		a.Yes, err = b.Active(ctx, p)
	case start:
		err = b.Start(ctx, p)
	case stop:
		err = b.Stop(ctx, p)
	case build:
		err = b.Build(ctx, p, r.Flags)
	case remove:
		err = b.Delete(ctx, p, r.Flags)
	case refresh:
		a.Content, err = b.Refresh(ctx, p, r.Known)
		if err == nil {
			a.keepSame(r.Known)
		}
	case look:
		a.Volume, err = b.Look(ctx, p, r.Name)
	case space:
		a.Space, err = b.Space(ctx, p)
	case tidy:
		err = b.Tidy(ctx, p)
	case create:
		err = b.Create(ctx, undo, p, r.Volume, r.Flags)
	case clone:
		err = b.Clone(ctx, undo, p, r.Volume, r.Source, r.Flags)
	case removeVolume:
		err = b.Remove(ctx, p, r.Volume, r.Flags)
	case resize:
		err = b.Resize(ctx, p, r.Volume, r.Size, r.Flags)
	case wipe:
		err = b.Wipe(ctx, p, r.Volume, r.Flags)
	case open:
		f, err = b.Open(ctx, p, r.Volume, r.Write)
	}
	if err != nil {
		undo.Rollback(context.WithoutCancel(ctx), func(string, error) {}) // the error is what went wrong first
	}
	return f, err
}

// keepSame takes volumes out of the answer that the caller has.
func (a *answer) keepSame(known map[string]*def.Volume) {
	for n, v := range a.Content.Volumes {
		if v == known[n] {
			a.Same = append(a.Same, n)
			delete(a.Content.Volumes, n)
		}
	}
}
