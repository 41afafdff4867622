package supervisors

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
)

func TestThePictureOfASplitTreeIsOneTree(t *testing.T) {
	dir := t.TempDir()
	socket := func(branch string) string { return filepath.Join(dir, branch) }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	// The tree of a branch's process; here in this one, which the socket does not tell.
	inner, err := Start(testSystem(), Options{Spec: Spec{{Name: "a", Autostart: true}}, Log: zerolog.Nop(), New: func(Branch) (*actor.Props, error) {
		return actor.PropsFromFunc(func(c actor.Context) {
			if _, ok := c.Message().(*actor.Started); ok {
				ch := NewChildren(Config{Log: zerolog.Nop()})
				if _, err := ch.Start(c, Child{Name: "object", Props: actor.PropsFromFunc(func(actor.Context) {})}); err != nil {
					t.Error(err)
				}
			}
		}), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	<-inner.Ready()
	l, err := ListenLook(socket("a"))
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(socket("a")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket %v %v", fi, err)
	}
	go ServeLook(ctx, l, func(context.Context) *Node { return inner.Collect() })
	if _, err := ListenLook(socket("a")); err == nil {
		t.Error("took a socket that is in use")
	}

	// One that accepts and never answers must not hold up the rest.
	mute, err := net.Listen("unix", socket("b"))
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()

	s := runSplit(t, Spec{{Name: "a", Autostart: true}, {Name: "b", Autostart: true}}, plain("good"))
	s.ready()
	s.until("the object is seen", func() bool { return inner.Collect().Find("root/a/object") != nil })
	began := time.Now()
	n := s.CollectAll(ctx, socket)
	if took := time.Since(began); took > 2*lookLimit {
		t.Errorf("took %v", took)
	}
	if o := n.Find("root/a/object"); o == nil || o.State != "running" {
		t.Errorf("object %+v", o)
	}
	if a := n.Find("root/a"); a.OSPid == 0 || a.Kind != "process" {
		t.Errorf("process %+v", a)
	}
	if b := n.Find("root/b"); b.State != "running" || b.OSPid == 0 {
		t.Errorf("mute process %+v", b)
	}
	cancel()
	s.until("the socket is closed", func() bool { _, err := Look(context.Background(), socket("a")); return err != nil })
}
