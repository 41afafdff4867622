package storage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/call"
	"virtree/actors/internal/disk"
	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

const uuidA = "9ca6cc6b-69fa-4ecf-9a99-69d10c5d28a9"

func poolDoc(name, uuid, path string) string {
	return "<pool type='dir'><name>" + name + "</name><uuid>" + uuid + "</uuid><target><path>" + path + "</path></target></pool>"
}

// definePool defines and starts a pool of a folder.
func definePool(t *testing.T, c *branchtest.Client, path string) protocol.StoragePool {
	t.Helper()
	r, err := branchtest.Do(c, protocol.StoragePoolDefineXML, &protocol.StoragePoolDefineXMLArgs{XML: poolDoc("a", uuidA, path)})
	if err != nil {
		t.Fatal(err)
	}
	startPool(t, c, r.Pool)
	return r.Pool
}

func startPool(t *testing.T, c *branchtest.Client, p protocol.StoragePool) {
	t.Helper()
	if _, err := branchtest.Do(c, protocol.StoragePoolCreate, &protocol.StoragePoolCreateArgs{Pool: p, Flags: virt.StoragePoolCreateWithBuild}); err != nil {
		t.Fatal(err)
	}
}

func makeVolume(t *testing.T, c *branchtest.Client, p protocol.StoragePool, name string) protocol.StorageVol {
	t.Helper()
	r, err := branchtest.Do(c, protocol.StorageVolCreateXML, &protocol.StorageVolCreateXMLArgs{Pool: p, XML: "<volume><name>" + name + "</name><capacity unit='M'>1</capacity><allocation>0</allocation></volume>"})
	if err != nil {
		t.Fatal(err)
	}
	return r.Vol
}

func listVolumes(t *testing.T, c *branchtest.Client, p protocol.StoragePool) string {
	t.Helper()
	r, err := branchtest.Do(c, protocol.StoragePoolListVolumes, &protocol.StoragePoolListVolumesArgs{Pool: p, Maxnames: 1000})
	if err != nil {
		return err.Message
	}
	return strings.Join(r.Names, " ")
}

func event(t *testing.T, c *branchtest.Client) string {
	t.Helper()
	e := c.Event()
	if e.ID == virt.StoragePoolEventIDRefresh {
		return "refresh"
	}
	m := protocol.StoragePoolEventLifecycleMsg{}
	if err := protocol.Unmarshal(append([]byte{0, 0, 0, 0}, e.Payload...), &m); err != nil {
		t.Error(err)
	}
	return fmt.Sprint(m.Event)
}

func TestLifeOfAPool(t *testing.T) {
	env, path := branchtest.Env(t), filepath.Join(t.TempDir(), "pool")
	b := branchtest.Start(t, New(env))
	c := b.Client()
	p := definePool(t, c, path)
	makeVolume(t, c, p, "one")
	for _, want := range []string{"0", "2"} {
		if got := event(t, c); got != want {
			t.Error(got, want)
		}
	}
	if _, err := branchtest.Do(c, protocol.StoragePoolSetAutostart, &protocol.StoragePoolSetAutostartArgs{Pool: p, Autostart: 1}); err != nil {
		t.Error(err)
	}
	s := store{env.Paths}
	for _, f := range []string{s.config("a"), s.state("a")} {
		if st, err := os.Stat(f); err != nil || st.Mode().Perm() != 0o600 {
			t.Error(f, st, err)
		}
	}
	if to, err := os.Readlink(s.link("a")); err != nil || to != s.config("a") {
		t.Error(to, err)
	}
	branchtest.Fails(c, protocol.StoragePoolUndefine, &protocol.StoragePoolUndefineArgs{Pool: p}, from, liberr.OperationInvalid, "Requested operation is not valid: storage pool 'a' is still active")
	b.Stop()

	b = branchtest.Start(t, New(env)) // another process, the same disk: the pool is active as it was
	c = b.Client()
	if got := listVolumes(t, c, p); got != "one" {
		t.Error(got)
	}
	if r, err := branchtest.Do(c, protocol.StoragePoolGetAutostart, &protocol.StoragePoolGetAutostartArgs{Pool: p}); err != nil || r.Autostart != 1 {
		t.Error(r, err)
	}
	if r, err := branchtest.Do(c, protocol.StorageVolLookupByPath, &protocol.StorageVolLookupByPathArgs{Path: path + "//one"}); err != nil || r.Vol.Name != "one" || r.Vol.Pool != "a" {
		t.Error(r, err)
	}
	if _, err := branchtest.Do(c, protocol.StoragePoolDestroy, &protocol.StoragePoolDestroyArgs{Pool: p}); err != nil {
		t.Error(err)
	}
	branchtest.Fails(c, protocol.StorageVolLookupByPath, &protocol.StorageVolLookupByPathArgs{Path: path + "/one"}, from, liberr.NoStorageVol, "")
	if got := listVolumes(t, c, p); got != "Requested operation is not valid: storage pool 'a' is not active" {
		t.Error(got)
	}
	if _, err := branchtest.Do(c, protocol.StoragePoolUndefine, &protocol.StoragePoolUndefineArgs{Pool: p}); err != nil {
		t.Error(err)
	}
	branchtest.Fails(c, protocol.StoragePoolGetInfo, &protocol.StoragePoolGetInfoArgs{Pool: p}, from, liberr.NoStoragePool, "")
	for _, f := range []string{s.config("a"), s.state("a"), s.link("a")} {
		if disk.Exists(f) {
			t.Error(f, "is left behind")
		}
	}
}

func TestATransientPoolIsGoneWhenItStops(t *testing.T) {
	env, path := branchtest.Env(t), t.TempDir()
	c := branchtest.Start(t, New(env)).Client()
	missing := path + "/missing"
	branchtest.Fails(c, protocol.StoragePoolCreateXML, &protocol.StoragePoolCreateXMLArgs{XML: poolDoc("a", uuidA, missing)}, from, liberr.SystemError, "cannot open directory '"+missing+"': No such file or directory")
	branchtest.Fails(c, protocol.StoragePoolLookupByName, &protocol.StoragePoolLookupByNameArgs{Name: "a"}, from, liberr.NoStoragePool, "")
	r, err := branchtest.Do(c, protocol.StoragePoolCreateXML, &protocol.StoragePoolCreateXMLArgs{XML: poolDoc("a", uuidA, path)})
	if err != nil {
		t.Fatal(err)
	}
	branchtest.Fails(c, protocol.StoragePoolDefineXML, &protocol.StoragePoolDefineXMLArgs{XML: poolDoc("b", strings.ReplaceAll(uuidA, "9c", "8c"), path)}, from, liberr.OperationFailed, "operation failed: Storage source conflict with pool: 'a'")
	if _, err := branchtest.Do(c, protocol.StoragePoolDestroy, &protocol.StoragePoolDestroyArgs{Pool: r.Pool}); err != nil {
		t.Error(err)
	}
	branchtest.Fails(c, protocol.StoragePoolLookupByName, &protocol.StoragePoolLookupByNameArgs{Name: "a"}, from, liberr.NoStoragePool, "")
}

// A file that another program makes or removes is in the list without a refresh, shortly after.
func TestListsFollowTheFolder(t *testing.T) {
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	path := t.TempDir()
	p := definePool(t, c, path)
	eventually := func(want string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); listVolumes(t, c, p) != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the list is %q, want %q", listVolumes(t, c, p), want)
			}
		}
	}
	if err := os.WriteFile(path+"/x", []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually("x")
	if err := os.Remove(path + "/x"); err != nil {
		t.Fatal(err)
	}
	eventually("")
}

func TestAnUploadDoesNotStopARefresh(t *testing.T) {
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	p := definePool(t, c, t.TempDir())
	v := makeVolume(t, c, p, "one")
	c.Send(protocol.StorageVolUpload.Procedure, &protocol.StorageVolUploadArgs{Vol: v, Offset: 5, Length: 4})
	up := c.Reply()
	if up.Err != nil || up.Stream == nil || !up.Stream.In || up.Stream.Limit != 4 {
		t.Fatal(up)
	}
	f := os.NewFile(uintptr(up.Stream.FD), "upload")
	defer f.Close()
	if _, err := f.Write([]byte("data")); err != nil {
		t.Error(err)
	}
	if _, err := branchtest.Do(c, protocol.StoragePoolRefresh, &protocol.StoragePoolRefreshArgs{Pool: p}); err != nil {
		t.Error(err)
	}
	branchtest.Fails(c, protocol.StorageVolDelete, &protocol.StorageVolDeleteArgs{Vol: v}, from, liberr.OperationInvalid, "Requested operation is not valid: volume 'one' is still in use.")

	c.Send(protocol.StorageVolDownload.Procedure, &protocol.StorageVolDownloadArgs{Vol: v, Offset: 5})
	down := c.Reply()
	if down.Err != nil || down.Stream == nil || !down.Stream.Out || down.Stream.Limit != -1 {
		t.Fatal(down)
	}
	got := make([]byte, 4)
	if _, err := unix.Read(down.Stream.FD, got); err != nil || string(got) != "data" {
		t.Errorf("%q, %v", got, err)
	}
	call.CloseFDs([]int{down.Stream.FD})
}

func TestManyClientsMakeVolumes(t *testing.T) {
	b := branchtest.Start(t, New(branchtest.Env(t)))
	p := definePool(t, b.Client(), t.TempDir())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c := b.Client()
			for n := range 10 {
				doc := fmt.Sprintf("<volume><name>v%d-%d</name><capacity>4096</capacity></volume>", i, n)
				if _, err := branchtest.Do(c, protocol.StorageVolCreateXML, &protocol.StorageVolCreateXMLArgs{Pool: p, XML: doc}); err != nil {
					t.Error(err)
				}
			}
			if _, err := branchtest.Do(c, protocol.StoragePoolRefresh, &protocol.StoragePoolRefreshArgs{Pool: p}); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if n := len(strings.Fields(listVolumes(t, b.Client(), p))); n != 80 {
		t.Error(n)
	}
}

func TestACloneIsMadeAcrossPools(t *testing.T) {
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	p, path := definePool(t, c, t.TempDir()), t.TempDir()
	v := makeVolume(t, c, p, "one")
	r, err := branchtest.Do(c, protocol.StoragePoolCreateXML, &protocol.StoragePoolCreateXMLArgs{XML: poolDoc("b", strings.ReplaceAll(uuidA, "9c", "8c"), path)})
	if err != nil {
		t.Fatal(err)
	}
	args := &protocol.StorageVolCreateXMLFromArgs{Pool: r.Pool, XML: "<volume><name>two</name></volume>", Clonevol: v}
	two, err := branchtest.Do(c, protocol.StorageVolCreateXMLFrom, args)
	if err != nil || two.Vol.Key != path+"/two" {
		t.Error(two, err)
	}
	branchtest.Fails(c, protocol.StorageVolCreateXMLFrom, args, from, liberr.InternalError, "internal error: storage volume name 'two' already in use.")
	if _, err := branchtest.Do(c, protocol.StorageVolDelete, &protocol.StorageVolDeleteArgs{Vol: v}); err != nil {
		t.Error(err) // given back by both
	}
}

// stuck is a backend on which nothing ever ends.
type stuck struct {
	backend.Backend
	entered chan struct{}
	ended   chan struct{}
}

func (s stuck) Refresh(ctx context.Context, p *def.Pool, known map[string]*def.Volume) (*backend.Content, error) {
	if known == nil {
		return s.Backend.Refresh(ctx, p, known)
	}
	s.entered <- struct{}{}
	<-s.ended
	return nil, ctx.Err()
}

func (s stuck) Look(context.Context, *def.Pool, string) (*def.Volume, error) {
	<-s.ended
	return nil, os.ErrDeadlineExceeded
}

// While a refresh hangs the pool's lists and lookups are answered, and other pools do not notice.
func TestAHungPathHoldsNobodyElse(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(path+"/one", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := stuck{entered: make(chan struct{}), ended: make(chan struct{})}
	k, _ := def.KindNamed("dir")
	s.Backend, _ = backend.For(k)
	b := branchtest.Start(t, newWith(branchtest.Env(t), func(p *def.Pool) (backend.Backend, error) {
		if p.Name == "a" {
			return s, nil
		}
		return s.Backend, nil
	}))
	c := b.Client()
	p := definePool(t, c, path)
	c2 := b.Client()
	c2.Send(protocol.StoragePoolRefresh.Procedure, &protocol.StoragePoolRefreshArgs{Pool: p})
	<-s.entered
	if got := listVolumes(t, c, p); got != "one" {
		t.Error(got)
	}
	if _, err := branchtest.Do(c, protocol.StorageVolLookupByPath, &protocol.StorageVolLookupByPathArgs{Path: path + "/one"}); err != nil {
		t.Error(err)
	}
	r, err := branchtest.Do(c, protocol.StoragePoolCreateXML, &protocol.StoragePoolCreateXMLArgs{XML: poolDoc("b", strings.ReplaceAll(uuidA, "9c", "8c"), t.TempDir())})
	if err != nil {
		t.Fatal(err)
	}
	makeVolume(t, c, r.Pool, "two")
	close(s.ended)
}

func TestPoolsOfLibvirtAreAdopted(t *testing.T) {
	env := branchtest.Env(t)
	s, path := store{env.Paths}, t.TempDir()
	writeFile(t, s.config("a"), "<!--\nwhat libvirt says\n-->\n\n"+poolDoc("a", uuidA, path))
	writeFile(t, s.state("a"), "<!--\nwhat libvirt says\n-->\n\n<poolstate>\n  "+poolDoc("a", uuidA, path)+"\n</poolstate>\n")
	writeFile(t, s.config("broken"), "<pool")
	writeFile(t, s.config("other"), poolDoc("name", uuidA, path))
	c := branchtest.Start(t, New(env)).Client()
	r, err := branchtest.Do(c, protocol.ConnectListAllStoragePools, &protocol.ConnectListAllStoragePoolsArgs{NeedResults: 1, Flags: virt.ConnectListStoragePoolsActive | virt.ConnectListStoragePoolsDir})
	if err != nil || len(r.Pools) != 1 || r.Pools[0].Name != "a" {
		t.Error(r, err)
	}
	x, err := branchtest.Do(c, protocol.StoragePoolGetXMLDesc, &protocol.StoragePoolGetXMLDescArgs{Pool: r.Pools[0], Flags: virt.StorageXMLInactive})
	p, _ := def.ParsePool(poolDoc("a", uuidA, path))
	if err != nil || !strings.HasPrefix(x.XML, strings.Split(p.Format(), "<capacity")[0]) {
		t.Error(cmp.Diff(p.Format(), x.XML), err)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The branch forgets the volumes of a pool that stops, and a pool that starts again is as it is then.
func TestAPoolThatStartsAgainIsSeenAnew(t *testing.T) {
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	path := t.TempDir()
	p := definePool(t, c, path)
	makeVolume(t, c, p, "one")
	makeVolume(t, c, p, "two")
	if _, err := branchtest.Do(c, protocol.StoragePoolDestroy, &protocol.StoragePoolDestroyArgs{Pool: p}); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path + "/one"); err != nil {
		t.Error(err)
	}
	startPool(t, c, p)
	branchtest.Fails(c, protocol.StorageVolLookupByKey, &protocol.StorageVolLookupByKeyArgs{Key: path + "/one"}, from, liberr.NoStorageVol, "Storage volume not found: no storage vol with matching key "+path+"/one")
	if r, err := branchtest.Do(c, protocol.StorageVolLookupByKey, &protocol.StorageVolLookupByKeyArgs{Key: path + "/two"}); err != nil || r.Vol.Name != "two" {
		t.Error(r, err)
	}
}

// A document as large as the protocol allows is read like any other, and beside the work of the actors.
func TestLargeDocuments(t *testing.T) {
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	p := definePool(t, c, t.TempDir())
	padding := strings.Repeat("<x/>", 20000)
	if _, err := branchtest.Do(c, protocol.StoragePoolDefineXML, &protocol.StoragePoolDefineXMLArgs{XML: strings.Replace(poolDoc("b", strings.ReplaceAll(uuidA, "9c", "8c"), "/x"), "<target>", padding+"<target>", 1)}); err != nil {
		t.Error(err)
	}
	v, err := branchtest.Do(c, protocol.StorageVolCreateXML, &protocol.StorageVolCreateXMLArgs{Pool: p, XML: "<volume><name>one</name><capacity>1</capacity>" + padding + "</volume>"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := branchtest.Do(c, protocol.StorageVolCreateXMLFrom, &protocol.StorageVolCreateXMLFromArgs{Pool: p, Clonevol: v.Vol, XML: "<volume><name>two</name>" + padding + "</volume>"}); err != nil {
		t.Error(err)
	}
	branchtest.Fails(c, protocol.StorageVolCreateXML, &protocol.StorageVolCreateXMLArgs{Pool: p, XML: "<volume>" + padding + "</volume>"}, from, liberr.XMLError, "XML error: missing volume name element")
	branchtest.Fails(c, protocol.StoragePoolDefineXML, &protocol.StoragePoolDefineXMLArgs{XML: "<pool>" + padding + "</pool>"}, liberr.FromXML, liberr.XMLError, "")
}
