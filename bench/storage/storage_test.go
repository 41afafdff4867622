package storage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"virtree/bench/internal/lab"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

func TestMain(m *testing.M) {
	lab.Enter()
	os.Exit(m.Run())
}

const (
	volumes = 10000
	rounds  = 11
	// What is promised, as ratios to libvirtd's times.
	refreshRatio = 1.0 / 5
	listRatio    = 1.0 / 2
	// A list takes as long beside a refresh as without: both want processors, of which there may be two.
	besideRatio = 1.5
)

// host is one daemon and a connection to it.
type host struct {
	*lab.Target
	c   *rpc.Client
	ctx context.Context
}

func open(t *testing.T, kind lab.Kind) *host {
	t.Helper()
	if why := lab.Missing(kind); why != "" {
		t.Skip(why)
	}
	target, err := lab.Open(t.Context(), kind, lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	h := &host{Target: target, ctx: t.Context()}
	h.c = h.dial(t)
	return h
}

func (h *host) dial(t *testing.T) *rpc.Client {
	t.Helper()
	c, err := rpc.Dial(h.ctx, "unix", h.Socket("libvirt-sock"), nil)
	h.must(t, err)
	t.Cleanup(func() { c.Close() })
	h.must(t, c.Connect(h.ctx, "qemu:///system", false))
	return c
}

func (h *host) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", h.Kind, err)
	}
}

func (h *host) pool(t *testing.T, dir string) protocol.StoragePool { return h.named(t, "many", dir) }

// named starts a pool of a folder.
func (h *host) named(t *testing.T, name, dir string) protocol.StoragePool {
	t.Helper()
	doc := "<pool type='dir'><name>" + name + "</name><target><path>" + dir + "</path></target></pool>"
	r, err := rpc.Do(h.ctx, h.c, protocol.StoragePoolCreateXML, &protocol.StoragePoolCreateXMLArgs{XML: doc})
	h.must(t, err)
	return r.Pool
}

// folder makes one of many images: raw ones, some of qcow2, some upon others.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{{"base.qcow2", "64M"}, {"-b", "base.qcow2", "-F", "qcow2", "overlay.qcow2"}} {
		out, err := exec.Command("qemu-img", append([]string{"create", "-q", "-f", "qcow2"}, inside(dir, args)...)...).CombinedOutput()
		if err != nil {
			t.Skipf("qemu-img: %v: %s", err, out)
		}
	}
	header := map[string][]byte{}
	for _, n := range []string{"base.qcow2", "overlay.qcow2"} {
		b, err := os.ReadFile(filepath.Join(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		header[n] = b[:min(len(b), 4096)]
	}
	for i := range volumes - 2 {
		path := filepath.Join(dir, fmt.Sprintf("disk-%05d", i))
		var data []byte
		switch i % 10 {
		case 0:
			data = header["base.qcow2"]
		case 1:
			data = header["overlay.qcow2"]
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// inside puts the last image of qemu-img's arguments into the folder.
func inside(dir string, args []string) []string {
	out := slices.Clone(args)
	for i, a := range out {
		if filepath.Ext(a) == ".qcow2" && (i == 0 || out[i-1] != "-b") {
			out[i] = filepath.Join(dir, a)
		}
	}
	return out
}

func (h *host) refresh(t *testing.T, p protocol.StoragePool) func() time.Duration {
	return func() time.Duration {
		return lab.Took(func() {
			_, err := rpc.Do(h.ctx, h.c, protocol.StoragePoolRefresh, &protocol.StoragePoolRefreshArgs{Pool: p})
			h.must(t, err)
		})
	}
}

func (h *host) list(t *testing.T, c *rpc.Client, p protocol.StoragePool) func() time.Duration {
	return func() time.Duration {
		return lab.Took(func() {
			r, err := rpc.Do(h.ctx, c, protocol.StoragePoolListAllVolumes, &protocol.StoragePoolListAllVolumesArgs{Pool: p, NeedResults: 1})
			h.must(t, err)
			if len(r.Vols) != volumes {
				t.Errorf("%s lists %d volumes", h.Kind, len(r.Vols))
			}
		})
	}
}

// kept measures a promise that seems broken again, twice: for a while a machine may have other work.
func kept(promised float64, measure func() float64) float64 {
	ratio := measure()
	for again := 0; ratio > promised && again < 2; again++ {
		ratio = min(ratio, measure())
	}
	return ratio
}

// A pool of 10,000 volumes is refreshed and listed faster than by libvirtd, and a list does not wait for a refresh.
func TestAPoolOfManyVolumes(t *testing.T) {
	dir := folder(t)
	reference := open(t, lab.Reference)
	theirs := reference.pool(t, dir)
	for _, kind := range []lab.Kind{lab.Single, lab.Split} {
		h := open(t, kind)
		p := h.pool(t, dir)
		refresh := kept(refreshRatio, func() float64 {
			ratio, a, b := lab.Paired(rounds, h.refresh(t, p), reference.refresh(t, theirs))
			t.Logf("%s: refresh of %d volumes %v (libvirtd %v, ratio %.3f)", kind, volumes, a, b, ratio)
			return ratio
		})
		if refresh > refreshRatio {
			t.Errorf("%s: a refresh takes %.3f times as long as libvirtd's, promised is %.3f", kind, refresh, refreshRatio)
		}
		list := kept(listRatio, func() float64 {
			ratio, a, b := lab.Paired(rounds, h.list(t, h.c, p), reference.list(t, reference.c, theirs))
			t.Logf("%s: list of them %v (libvirtd %v, ratio %.3f)", kind, a, b, ratio)
			return ratio
		})
		if list > listRatio {
			t.Errorf("%s: a list takes %.3f times as long as libvirtd's, promised is %.3f", kind, list, listRatio)
		}
		beside := kept(besideRatio, func() float64 {
			ratio, busy, quiet := h.listBeside(t, p)
			t.Logf("%s: list beside refreshes %v, without %v, ratio %.2f", kind, busy, quiet, ratio)
			return ratio
		})
		if beside > besideRatio {
			t.Errorf("%s: a list takes %.2f times as long beside a refresh as without, promised is %.1f", kind, beside, besideRatio)
		}
	}
}

// listBeside lists while refreshes run one after the other and while none runs, in turns.
func (h *host) listBeside(t *testing.T, p protocol.StoragePool) (ratio float64, busy, quiet time.Duration) {
	other := h.dial(t)
	refresh := func() error {
		_, err := rpc.Do(h.ctx, other, protocol.StoragePoolRefresh, &protocol.StoragePoolRefreshArgs{Pool: p})
		return err
	}
	several := func() time.Duration {
		var all []float64
		for range 9 {
			all = append(all, float64(h.list(t, h.c, p)()))
		}
		return time.Duration(lab.Median(all))
	}
	return lab.Paired(rounds, func() time.Duration {
		ctx, stop := context.WithCancel(h.ctx)
		ended := make(chan error)
		go func() {
			var err error
			for ctx.Err() == nil && err == nil {
				err = refresh()
			}
			ended <- err
		}()
		took := several()
		stop()
		h.must(t, <-ended)
		return took
	}, several)
}

// Many clients make volumes at the same time, and all are there afterwards.
func TestManyClientsMakeVolumes(t *testing.T) {
	const clients, all = 16, 1000
	for _, kind := range []lab.Kind{lab.Reference, lab.Single, lab.Split} {
		h := open(t, kind)
		p := h.pool(t, t.TempDir())
		next := make(chan int, all)
		for i := range all {
			next <- i
		}
		close(next)
		failed := make(chan error, all)
		d := lab.Took(func() {
			var wg sync.WaitGroup
			for range clients {
				c := h.dial(t)
				wg.Add(1)
				go func() {
					defer wg.Done()
					for i := range next {
						doc := fmt.Sprintf("<volume><name>v%04d</name><capacity unit='M'>1</capacity><allocation>0</allocation></volume>", i)
						if _, err := rpc.Do(h.ctx, c, protocol.StorageVolCreateXML, &protocol.StorageVolCreateXMLArgs{Pool: p, XML: doc}); err != nil {
							failed <- err
						}
					}
				}()
			}
			wg.Wait()
		})
		close(failed)
		var errs []error
		for err := range failed {
			errs = append(errs, err)
		}
		r, err := rpc.Do(h.ctx, h.c, protocol.StoragePoolNumOfVolumes, &protocol.StoragePoolNumOfVolumesArgs{Pool: p})
		h.must(t, err)
		t.Logf("%s: %d volumes by %d clients in %v, %d errors", kind, all, clients, d, len(errs))
		if kind != lab.Reference && (len(errs) > 0 || r.Num != all) {
			t.Errorf("%s: %d volumes, first errors %v", kind, r.Num, errs[:min(3, len(errs))])
		}
	}
}
