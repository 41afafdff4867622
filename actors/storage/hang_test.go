package storage

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"virtree/actors/internal/branchtest"
	"virtree/actors/storage/apart"
	"virtree/actors/storage/storagetest"
	"virtree/wire/protocol"
)

func TestMain(m *testing.M) {
	if apart.Main(os.Args) {
		return
	}
	os.Exit(m.Run())
}

// A server that is gone costs its own pool and nothing else: that pool's lists are answered, other pools do not notice, and
// the pool can be stopped.
func TestAFileSystemThatHangs(t *testing.T) {
	h := storagetest.NewHanging(t)
	b := branchtest.Start(t, New(branchtest.Env(t)))
	c := b.Client()
	r, err := branchtest.Do(c, protocol.StoragePoolCreateXML, &protocol.StoragePoolCreateXMLArgs{XML: poolDoc("hung", strings.ReplaceAll(uuidA, "9c", "8c"), h.Path)})
	if err != nil {
		t.Fatal(err)
	}
	hung := r.Pool
	other := definePool(t, c, t.TempDir())
	v := makeVolume(t, c, other, "two")
	if got := listVolumes(t, c, hung); got != "one" {
		t.Fatal(got)
	}
	before := worst(t, c, v)

	h.Hang()
	waiting, queued := b.Client(), b.Client()
	for _, w := range []*branchtest.Client{waiting, queued} {
		w.Send(protocol.StoragePoolRefresh.Procedure, &protocol.StoragePoolRefreshArgs{Pool: hung})
	}
	looking := b.Client()
	looking.Send(protocol.StorageVolGetInfo.Procedure, &protocol.StorageVolGetInfoArgs{Vol: protocol.StorageVol{Pool: "hung", Name: "one"}})
	began := time.Now()
	if got := listVolumes(t, c, hung); got != "one" {
		t.Error(got)
	}
	if took := time.Since(began); took > time.Second {
		t.Error("the list took", took)
	}
	after := worst(t, c, v)
	if after > 2*before+5*time.Millisecond { // which is noise, on a machine that does other things
		t.Errorf("calls on the other pool take %v, and took %v", after, before)
	}
	t.Logf("p99 on the other pool: %v before, %v while it hangs", before, after)

	if _, err := branchtest.Do(c, protocol.StoragePoolDestroy, &protocol.StoragePoolDestroyArgs{Pool: hung}); err != nil {
		t.Error(err)
	}
	for _, w := range []*branchtest.Client{waiting, queued, looking} {
		if r := w.Reply(); r.Err == nil {
			t.Error("a call on storage that hangs went well")
		}
	}
	if _, err := branchtest.Do(c, protocol.StoragePoolLookupByName, &protocol.StoragePoolLookupByNameArgs{Name: "hung"}); err == nil {
		t.Error("it is still there")
	}
}

// worst is the 99th of 100 times that a look at a volume takes.
func worst(t *testing.T, c *branchtest.Client, v protocol.StorageVol) time.Duration {
	t.Helper()
	var all []time.Duration
	for range 300 {
		began := time.Now()
		if _, err := branchtest.Do(c, protocol.StorageVolGetXMLDesc, &protocol.StorageVolGetXMLDescArgs{Vol: v}); err != nil {
			t.Fatal(err)
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}
