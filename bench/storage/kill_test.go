package storage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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

// SIGKILL while volumes are made, resized, wiped and uploaded to, and values of secrets are set: what was acknowledged is
// there, what was not is whole or not there, and nothing half-made stays behind. In one process everything is killed, split
// the two branches.
func TestKilledWhileItWorks(t *testing.T) {
	for _, kind := range []lab.Kind{lab.Single, lab.Split} {
		t.Run(string(kind), func(t *testing.T) { killed(t, kind) })
	}
}

// kill ends what works, and returns when its successor answers.
func (h *host) kill(t *testing.T) {
	t.Helper()
	if h.Kind == lab.Single {
		h.must(t, h.Main.Signal(syscall.SIGKILL))
		<-h.Main.Done
		h.must(t, h.Start(h.ctx))
		return
	}
	for _, daemon := range []string{"virtstoraged", "virtsecretd"} {
		pid, err := h.Branch(daemon)
		h.must(t, err)
		h.must(t, syscall.Kill(pid, syscall.SIGKILL))
		if !lab.Await(h.ctx, func() bool { now, err := h.Branch(daemon); return err == nil && now != pid }) {
			t.Fatalf("%s does not come back", daemon)
		}
	}
}

// answers waits until the successors serve calls.
func (h *host) answers(t *testing.T) {
	t.Helper()
	h.c = h.dial(t)
	var err error
	if !lab.Await(h.ctx, func() bool {
		_, err = rpc.Do(h.ctx, h.c, protocol.ConnectNumOfStoragePools, nil)
		if err == nil {
			_, err = rpc.Do(h.ctx, h.c, protocol.ConnectNumOfSecrets, nil)
		}
		return err == nil
	}) {
		t.Fatal(err)
	}
}

// values is what one client was told of a secret's value: one of them is there.
type values struct {
	secret      protocol.Secret
	told, asked string
}

// setValues sets a secret's value until that fails: long ones and short ones, so that half of one shows.
func (h *host) setValues(c *rpc.Client, v *values, over *atomic.Bool) {
	for i := 0; !over.Load(); i++ {
		v.asked = strings.Repeat(fmt.Sprintf("%06d.", i), 1+i%2*1000)
		if _, err := rpc.Do(h.ctx, c, protocol.SecretSetValue, &protocol.SecretSetValueArgs{Secret: v.secret, Value: []byte(v.asked)}); err != nil {
			return
		}
		v.told = v.asked
	}
}

func (h *host) compareValue(t *testing.T, v *values) {
	t.Helper()
	r, err := rpc.Do(h.ctx, h.c, protocol.SecretGetValue, &protocol.SecretGetValueArgs{Secret: v.secret})
	if v.told == "" && err != nil {
		return // it never had one
	}
	h.must(t, err)
	if got := string(r.Value); got != v.told && got != v.asked {
		t.Errorf("the secret's value is %.20q (%d bytes), acknowledged was %.20q, asked for %.20q", got, len(got), v.told, v.asked)
	}
	files, err := os.ReadDir(filepath.Join(h.Dir, "etc/libvirt/secrets"))
	h.must(t, err)
	for _, f := range files {
		if ext := filepath.Ext(f.Name()); ext != ".xml" && ext != ".value" {
			t.Errorf("%s was left behind", f.Name())
		}
	}
}

func killed(t *testing.T, kind lab.Kind) {
	h := open(t, kind)
	dir := t.TempDir()
	p := h.pool(t, dir)
	secret, err := rpc.Do(h.ctx, h.c, protocol.SecretDefineXML, &protocol.SecretDefineXMLArgs{XML: "<secret><usage type='volume'><volume>/v</volume></usage></secret>"})
	h.must(t, err)
	big := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(big, make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for round := range 4 {
		var books []*ledger
		var done sync.WaitGroup
		var over atomic.Bool // who happened to ask nothing in that moment would go on with the successor
		work := func(f func(c *rpc.Client, l *ledger, name string) error) {
			l := &ledger{sizes: map[string]uint64{}}
			books = append(books, l)
			c, who := h.dial(t), len(books)
			done.Add(1)
			go func() {
				defer done.Done()
				for i := 0; !over.Load() && f(c, l, fmt.Sprintf("v%d-%d-%d", round, who, i)) == nil; i++ {
				}
			}()
		}
		value := &values{secret: secret.Secret}
		setter := h.dial(t)
		done.Add(1)
		go func() {
			defer done.Done()
			h.setValues(setter, value, &over)
		}()
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
		h.kill(t)
		over.Store(true)
		done.Wait()
		h.answers(t)
		h.compare(t, p, dir, books)
		h.compareValue(t, value)
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
