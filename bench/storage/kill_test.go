package storage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"virtree/bench/internal/lab"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
	"virtree/wire/virt"
)

// ledger is what one client was told, and what it asked for last without an answer.
type ledger struct {
	sizes  map[string]uint64 // of volumes that are there
	asked  string            // whose fate is open: it may be there or not, with one size or the other
	bigger uint64
}

// SIGKILL while volumes are made, resized, wiped and uploaded to: what was acknowledged is there, what was not is whole or
// not there, and nothing half-made stays behind.
func TestKilledWhileItWorks(t *testing.T) {
	h := open(t, lab.Single)
	dir := t.TempDir()
	p := h.pool(t, dir)
	big := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(big, make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for round := range 4 {
		var books []*ledger
		var done sync.WaitGroup
		work := func(f func(c *rpc.Client, l *ledger, name string) error) {
			l := &ledger{sizes: map[string]uint64{}}
			books = append(books, l)
			c, who := h.dial(t), len(books)
			done.Add(1)
			go func() {
				defer done.Done()
				for i := 0; f(c, l, fmt.Sprintf("v%d-%d-%d", round, who, i)) == nil; i++ {
				}
			}()
		}
		for _, format := range []string{"raw", "qcow2"} {
			work(func(c *rpc.Client, l *ledger, name string) error { return h.create(c, p, l, name, format, 1<<20) })
		}
		work(func(c *rpc.Client, l *ledger, name string) error { // 16 MiB are long enough to be hit
			if err := h.create(c, p, l, name, "raw", 16<<20); err != nil {
				return err
			}
			l.asked, l.bigger = name, 24<<20
			v := protocol.StorageVol{Pool: p.Name, Name: name}
			if _, err := rpc.Do(h.ctx, c, protocol.StorageVolResize, &protocol.StorageVolResizeArgs{Vol: v, Capacity: 24 << 20, Flags: virt.StorageVolResizeAllocate}); err != nil {
				return err
			}
			l.sizes[name] = 24 << 20
			_, err := rpc.Do(h.ctx, c, protocol.StorageVolWipe, &protocol.StorageVolWipeArgs{Vol: v})
			return err
		})
		work(func(c *rpc.Client, l *ledger, name string) error {
			if err := h.create(c, p, l, name, "raw", 64<<20); err != nil {
				return err
			}
			out, err := exec.Command("virsh", "-c", h.URI(), "vol-upload", "--pool", p.Name, name, big).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
		time.Sleep(time.Duration(200+rand.IntN(400)) * time.Millisecond) // somewhere in the middle: that is the test
		h.must(t, h.Main.Signal(syscall.SIGKILL))
		<-h.Main.Done
		done.Wait()
		h.must(t, h.Start(h.ctx))
		h.c = h.dial(t)
		h.compare(t, p, dir, books)
	}
}

func (h *host) create(c *rpc.Client, p protocol.StoragePool, l *ledger, name, format string, size uint64) error {
	l.asked, l.bigger = name, size
	doc := fmt.Sprintf("<volume><name>%s</name><capacity>%d</capacity><target><format type='%s'/></target></volume>", name, size, format)
	_, err := rpc.Do(h.ctx, c, protocol.StorageVolCreateXML, &protocol.StorageVolCreateXMLArgs{Pool: p, XML: doc})
	if err == nil {
		l.sizes[name], l.asked = size, ""
	}
	return err
}

func (h *host) compare(t *testing.T, p protocol.StoragePool, dir string, books []*ledger) {
	t.Helper()
	r, err := rpc.Do(h.ctx, h.c, protocol.StoragePoolListAllVolumes, &protocol.StoragePoolListAllVolumesArgs{Pool: p, NeedResults: 1})
	h.must(t, err)
	there := map[string]uint64{}
	for _, v := range r.Vols {
		i, err := rpc.Do(h.ctx, h.c, protocol.StorageVolGetInfo, &protocol.StorageVolGetInfoArgs{Vol: v})
		h.must(t, err)
		there[v.Name] = i.Capacity
	}
	acknowledged := 0
	for _, l := range books {
		for name, size := range l.sizes {
			acknowledged++
			if got := there[name]; got != size && (name != l.asked || got != l.bigger) {
				t.Errorf("%s has %d bytes, %d were acknowledged", name, got, size)
			}
		}
		if size, is := there[l.asked]; is && l.sizes[l.asked] == 0 && size != l.bigger {
			t.Errorf("%s is half-made: %d bytes of %d", l.asked, size, l.bigger)
		}
	}
	if acknowledged == 0 {
		t.Error("nothing was acknowledged before the end")
	}
	t.Logf("%d volumes acknowledged, %d there", acknowledged, len(there))
	files, err := os.ReadDir(dir)
	h.must(t, err)
	for _, f := range files {
		if _, known := there[f.Name()]; !known || strings.HasPrefix(f.Name(), ".") {
			t.Errorf("%s was left behind", f.Name())
		}
	}
	for name := range there {
		if strings.Contains(name, "-2-") { // those of qcow2
			if out, err := exec.Command("qemu-img", "check", "-q", filepath.Join(dir, name)).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", name, err, out)
			}
		}
	}
	for name := range there {
		_, err := rpc.Do(h.ctx, h.c, protocol.StorageVolDelete, &protocol.StorageVolDeleteArgs{Vol: protocol.StorageVol{Pool: p.Name, Name: name}})
		h.must(t, err)
	}
}
