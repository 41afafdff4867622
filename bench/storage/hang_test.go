package storage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"virtree/actors/storage/storagetest/hangfs"
	"virtree/bench/internal/lab"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

const (
	// hangRatio is how much longer the slowest hundredth of calls on other pools may take while one pool hangs.
	hangRatio = 2.0

	healthyPools = 4
	stuckClients = 8 // of the pool that hangs; each waits for several answers at a time
	chunks       = 7 // the median of their figures is taken: one of them may have been hit by the machine
	perChunk     = 600
)

// A path that hangs costs its own pool only: calls on other pools, and lists of all of them, take as long as before, however
// many clients wait for the one that hangs. Its lists are answered, and it can be stopped.
func TestAPoolThatHangs(t *testing.T) {
	for _, kind := range []lab.Kind{lab.Single, lab.Split} {
		t.Run(string(kind), func(t *testing.T) {
			path := t.TempDir()
			fs, err := hangfs.Mount(path) // before the daemon's namespace is made, which gets a copy of the mount
			if err != nil {
				t.Skip(err)
			}
			h := open(t, kind)
			t.Cleanup(fs.Close) // before the daemon's end: what is held cannot even be killed
			hung := h.named(t, "hung", path)
			one := protocol.StorageVol{Pool: "hung", Name: "one"}
			calls := h.healthy(t)
			h.measure(t, calls) // unmeasured: everything was needed once
			p50, p99 := h.measure(t, calls)

			fs.Hang()
			ctx, stop := context.WithCancel(h.ctx)
			var waiting sync.WaitGroup
			for range stuckClients {
				c := h.dial(t)
				for _, touch := range []func() error{
					func() error {
						return touch(ctx, c, protocol.StoragePoolRefresh, &protocol.StoragePoolRefreshArgs{Pool: hung})
					},
					func() error {
						return touch(ctx, c, protocol.StorageVolGetInfo, &protocol.StorageVolGetInfoArgs{Vol: one})
					},
					func() error {
						return touch(ctx, c, protocol.StorageVolGetXMLDesc, &protocol.StorageVolGetXMLDescArgs{Vol: one})
					},
					func() error {
						return touch(ctx, c, protocol.StorageVolDownload, &protocol.StorageVolDownloadArgs{Vol: one})
					},
				} {
					waiting.Add(1)
					go func() {
						defer waiting.Done()
						for ctx.Err() == nil && touch() == nil {
							t.Error("a call on storage that hangs went well")
						}
					}()
				}
			}
			if !lab.Await(ctx, func() bool { return fs.Held() > 0 }) {
				t.Fatal("nobody touches what hangs")
			}
			ratio := kept(hangRatio, func() float64 {
				slow50, slow99 := h.measure(t, calls)
				ratio := float64(slow99) / float64(p99)
				t.Logf("%s: calls on other pools: p50 %v, p99 %v; while one hangs %v, %v; ratios %.2f, %.2f (%d requests held)",
					kind, p50, p99, slow50, slow99, float64(slow50)/float64(p50), ratio, fs.Held())
				return ratio
			})
			if ratio > hangRatio {
				t.Errorf("p99 is %.1f times what it was while a pool hangs: promised are %.1f", ratio, hangRatio)
			}

			took := lab.Took(func() {
				r, err := rpc.Do(h.ctx, h.c, protocol.StoragePoolListAllVolumes, &protocol.StoragePoolListAllVolumesArgs{Pool: hung, NeedResults: 1})
				h.must(t, err)
				if len(r.Vols) != 1 {
					t.Errorf("the pool that hangs lists %d volumes", len(r.Vols))
				}
			})
			if took > time.Second {
				t.Errorf("the list of the pool that hangs took %v", took)
			}
			soon, cancel := context.WithTimeout(h.ctx, 20*time.Second)
			defer cancel()
			_, err = rpc.Do(soon, h.c, protocol.StoragePoolDestroy, &protocol.StoragePoolDestroyArgs{Pool: hung})
			h.must(t, err)
			stop()
			waiting.Wait()
		})
	}
}

func touch[A, R any, PA interface {
	*A
	protocol.Encoder
}, PR interface {
	*R
	protocol.Decodable
}](ctx context.Context, c *rpc.Client, p protocol.Proc[A, R], args PA) error {
	_, err := rpc.Do[A, R, PA, PR](ctx, c, p, args)
	return err
}

// healthy starts pools that do not hang, and returns the calls on them.
func (h *host) healthy(t *testing.T) (calls []func() error) {
	t.Helper()
	for i := range healthyPools {
		dir := t.TempDir()
		for j := range 20 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("v%02d", j)), make([]byte, 4096), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		name := fmt.Sprintf("well%d", i)
		p := h.named(t, name, dir)
		v := protocol.StorageVol{Pool: name, Name: "v07", Key: filepath.Join(dir, "v07")}
		calls = append(calls,
			func() error {
				return touch(h.ctx, h.c, protocol.ConnectListAllStoragePools, &protocol.ConnectListAllStoragePoolsArgs{NeedResults: 1})
			},
			func() error {
				return touch(h.ctx, h.c, protocol.StoragePoolGetInfo, &protocol.StoragePoolGetInfoArgs{Pool: p})
			},
			func() error {
				return touch(h.ctx, h.c, protocol.StoragePoolListAllVolumes, &protocol.StoragePoolListAllVolumesArgs{Pool: p, NeedResults: 1})
			},
			func() error {
				return touch(h.ctx, h.c, protocol.StorageVolLookupByPath, &protocol.StorageVolLookupByPathArgs{Path: v.Key})
			},
			func() error {
				return touch(h.ctx, h.c, protocol.StorageVolGetInfo, &protocol.StorageVolGetInfoArgs{Vol: v})
			},
			func() error {
				return touch(h.ctx, h.c, protocol.StorageVolGetXMLDesc, &protocol.StorageVolGetXMLDescArgs{Vol: v})
			},
			func() error {
				return touch(h.ctx, h.c, protocol.StoragePoolRefresh, &protocol.StoragePoolRefreshArgs{Pool: p})
			},
		)
	}
	return calls
}

// measure makes the calls one after the other, many times, and returns the medians of the chunks' figures.
func (h *host) measure(t *testing.T, calls []func() error) (p50, p99 time.Duration) {
	t.Helper()
	var halves, ends []float64
	for range chunks {
		var all []time.Duration
		for i := range perChunk {
			all = append(all, lab.Took(func() { h.must(t, calls[i%len(calls)]()) }))
		}
		slices.Sort(all)
		halves, ends = append(halves, float64(all[len(all)/2])), append(ends, float64(all[len(all)*99/100]))
	}
	return time.Duration(lab.Median(halves)), time.Duration(lab.Median(ends))
}
