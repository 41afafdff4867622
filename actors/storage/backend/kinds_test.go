package backend_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"virtree/actors/internal/kit"
	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/actors/storage/storagetest"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

func poolOf(t *testing.T, doc string) *def.Pool {
	t.Helper()
	p, err := def.ParsePool(doc)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func on(t *testing.T, h *backend.Host, p *def.Pool) backend.Backend {
	t.Helper()
	b, err := h.For(p.Kind)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func program(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
}

// partitioned makes a disk of a file.
func partitioned(t *testing.T) string {
	t.Helper()
	program(t, "parted")
	device := loopDevice(t)
	if err := exec.Command("losetup", "-d", device).Run(); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "-fP", "--show", image).Output()
	if err != nil {
		t.Skip("no loop devices: ", err)
	}
	device = strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", device).Run() })
	return device
}

func newDisk(t *testing.T, format string) *def.Pool {
	t.Helper()
	return poolOf(t, "<pool type='disk'><name>p</name><source><device path='"+partitioned(t)+"'/><format type='"+format+"'/></source><target><path>/dev</path></target></pool>")
}

func partitionName(p *def.Pool, n int) string {
	return fmt.Sprintf("%sp%d", filepath.Base(p.Source.Device()), n+1)
}

// The real parted, on loop devices.
func TestDisk(t *testing.T) {
	traits := storagetest.Traits{NotFiles: true, NoResize: true, Name: partitionName}
	storagetest.With(t, traits, func(t *testing.T) (backend.Backend, *def.Pool) {
		p := newDisk(t, "gpt")
		return on(t, &backend.Host{}, p), p
	})
}

func TestADiskIsLabelledOnce(t *testing.T) {
	p := newDisk(t, "gpt")
	b := on(t, &backend.Host{}, p)
	if err := b.Start(t.Context(), p); !errors.Is(err, liberr.StorageProbeFailed) || !strings.HasSuffix(err.Error(), "is unrecognized, requires build") {
		t.Error(err)
	}
	for _, c := range []struct {
		flags uint32
		code  error
	}{{0, nil}, {0, liberr.StoragePoolBuilt}, {virt.StoragePoolBuildNoOverwrite, liberr.StoragePoolBuilt}, {virt.StoragePoolBuildOverwrite, nil}, {3 << 1, liberr.InvalidArg}} {
		if err := b.Build(t.Context(), p, c.flags); !errors.Is(err, c.code) {
			t.Error(c.flags, err)
		}
	}
	c, err := b.Refresh(t.Context(), p, nil)
	if err != nil || len(c.Space.Free) != 1 || c.Space.Free[0].Start != 17408 || c.Space.Capacity != c.Space.Free[0].End {
		t.Errorf("%+v, %v", c, err)
	}
	dos := *p
	dos.Source.Format = "dos"
	if err := b.Start(t.Context(), &dos); !errors.Is(err, liberr.StorageProbeFailed) {
		t.Error(err)
	}
	if err := b.Delete(t.Context(), p, 0); err != nil {
		t.Error(err)
	}
	if err := b.Start(t.Context(), p); !errors.Is(err, liberr.StorageProbeFailed) {
		t.Error(err)
	}
}

// The figures were taken from libvirtd 9.0.0, on a disk of 100 MiB with 401 cylinders.
func TestPartitionsOfADOSLabelEndWithCylinders(t *testing.T) {
	p := newDisk(t, "dos")
	b := on(t, &backend.Host{}, p)
	if err := b.Build(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	make := func(n int, format string, mib uint64) error {
		v := &def.Volume{Name: partitionName(p, n-1), Format: format, Capacity: mib << 20, Allocation: mib << 20, Permissions: def.NoPermissions}
		if err := b.Place(p, v); err != nil {
			return err
		}
		return b.Create(t.Context(), &kit.Undo{}, p, v, 0)
	}
	for _, c := range []struct {
		number int
		format string
		mib    uint64
		want   string
	}{
		{2, "none", 5, "expected '" + partitionName(p, 0) + "'"}, {1, "none", 10, ""}, {2, "extended", 30, ""}, {3, "extended", 5, "extended partition already exists"},
		{3, "none", 5, ""}, {4, "linux-swap", 2, ""}, {5, "none", 5, ""}, {6, "none", 5, ""}, {7, "none", 500, "no large enough free extent"},
	} {
		if err := make(c.number, c.format, c.mib); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasSuffix(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	r, err := b.Refresh(t.Context(), p, nil)
	if err != nil || len(r.Volumes) != 6 {
		t.Fatal(r, err)
	}
	first, extended := r.Volumes[partitionName(p, 0)], r.Volumes[partitionName(p, 1)]
	if first.Extents[0].Start != 1024 || first.Capacity != 10704896 || extended.Extents[0].Start != 10705920 || extended.Allocation != 0 {
		t.Errorf("%+v, %+v", first, extended)
	}
	if s := r.Space; s.Allocation+s.Available > s.Capacity {
		t.Errorf("%+v", s)
	}
	for _, n := range []int{5, 1, 0} { // a logical one, the extended one, a primary one
		if err := b.Remove(t.Context(), p, &def.Volume{Name: partitionName(p, n)}, 0); err != nil {
			t.Error(err)
		}
	}
}

func TestLogical(t *testing.T) {
	storagetest.With(t, storagetest.Traits{NotFiles: true, NoResize: true, Unit: 4 << 20}, func(t *testing.T) (backend.Backend, *def.Pool) {
		host, _ := storagetest.LVM(t)
		p := poolOf(t, "<pool type='logical'><name>p</name><source><name>vg</name><device path='/dev/sdx'/></source></pool>")
		return on(t, host, p), p
	})
}

// A group is real also where the kernel has no device-mapper, and so no volumes.
func TestAVolumeGroup(t *testing.T) {
	program(t, "vgcreate")
	device := loopDevice(t)
	name := fmt.Sprintf("virtree-test-%d", os.Getpid())
	p := poolOf(t, "<pool type='logical'><name>p</name><source><name>"+name+"</name><device path='"+device+"'/></source></pool>")
	b := on(t, &backend.Host{}, p)
	if err := b.Start(t.Context(), p); !errors.Is(err, liberr.ConfigUnsupported) || !strings.HasSuffix(err.Error(), "cannot find logical volume group name '"+name+"'") {
		t.Error(err)
	}
	if err := b.Build(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Delete(t.Context(), p, 0); err != nil {
			t.Error(err)
		}
	}()
	if err := b.Build(t.Context(), p, 0); !errors.Is(err, liberr.StoragePoolBuilt) {
		t.Error(err)
	}
	if err := b.Start(t.Context(), p); err != nil {
		t.Error(err)
	}
	c, err := b.Refresh(t.Context(), p, nil)
	if err != nil || c.Space.Capacity == 0 || c.Space.Available != c.Space.Capacity {
		t.Errorf("%+v, %v", c, err)
	}
	found, err := b.(backend.Finder).FindSources(t.Context(), nil)
	if err != nil || !slices.ContainsFunc(found, func(s def.Source) bool { return s.Name == name && s.Device() == device }) {
		t.Errorf("%+v, %v", found, err)
	}
	if err := b.Stop(t.Context(), p); err != nil {
		t.Error(err)
	}
}

func TestZFS(t *testing.T) {
	storagetest.With(t, storagetest.Traits{NotFiles: true, NoResize: true, NoClone: true, NoWipe: false}, func(t *testing.T) (backend.Backend, *def.Pool) {
		host, _ := storagetest.ZFS(t)
		p := poolOf(t, "<pool type='zfs'><name>p</name><source><name>tank</name><device path='/dev/sdx'/></source></pool>")
		return on(t, host, p), p
	})
}

const rbdDoc = "<pool type='rbd' xmlns:rbd='http://libvirt.org/schemas/storagepool/rbd/1.0'><name>p</name><source><host name='10.0.0.1' port='6789'/><host name='fd00::1'/><name>images</name>" +
	"<auth type='ceph' username='adm'><secret usage='key'/></auth></source><rbd:config_opts><rbd:option name='client_mount_timeout' value='45'/></rbd:config_opts></pool>"

// The key of a cluster must not be seen in the arguments of a program.
func TestRBD(t *testing.T) {
	storagetest.With(t, storagetest.Traits{NotFiles: true, Always: true, NoData: true}, func(t *testing.T) (backend.Backend, *def.Pool) {
		host, _ := storagetest.Ceph(t, func(tool string, args []string, input string) {
			line := strings.Join(args, " ")
			if strings.Contains(line, "s3cret") || input != "s3cret" || !strings.Contains(line, "--mon-host 10.0.0.1:6789,[fd00::1] --client-mount-timeout 45 --id adm --keyfile /dev/stdin") {
				t.Errorf("%s %q", line, input)
			}
		})
		host.Secret = secretOf("s3cret")
		p := poolOf(t, rbdDoc)
		return on(t, host, p), p
	})
}

func TestRBDSaysHowMuchOfAnImageIsThere(t *testing.T) {
	host, _ := storagetest.Ceph(t, func(string, []string, string) {})
	host.Secret = secretOf("x")
	p := poolOf(t, rbdDoc)
	b := on(t, host, p)
	v := &def.Volume{Name: "one", Format: "raw", Capacity: 2 << 20, Permissions: def.NoPermissions}
	if err := errors.Join(b.Place(p, v), b.Create(t.Context(), &kit.Undo{}, p, v, 0)); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Look(t.Context(), p, "one"); err != nil || got.Allocation != 1<<20 || got.Path != "images/one" || got.Type != virt.StorageVolNetwork {
		t.Errorf("%+v, %v", got, err)
	}
	p.Refresh = "capacity"
	if got, err := b.Look(t.Context(), p, "one"); err != nil || got.Allocation != 2<<20 {
		t.Errorf("%+v, %v", got, err)
	}
	host.Secret = nil
	if err := b.Wipe(t.Context(), p, v, 0); !errors.Is(err, liberr.NoSecret) {
		t.Error(err)
	}
}

func TestSCSI(t *testing.T) {
	traits := storagetest.Traits{NotFiles: true, Always: true, NoCreate: true, NoRemove: true, NoResize: true, NoClone: true, Given: []string{"unit:0:0:0", "unit:0:0:1"}}
	storagetest.With(t, traits, func(t *testing.T) (backend.Backend, *def.Pool) {
		host, _ := storagetest.SCSI(t, false)
		p := poolOf(t, "<pool type='scsi'><name>p</name><source><adapter name='scsi_host7'/></source><target><path>/dev/disk/by-path</path></target></pool>")
		return on(t, host, p), p
	})
	host, _ := storagetest.SCSI(t, false)
	p := poolOf(t, "<pool type='scsi'><name>p</name><source><adapter name='host9'/></source><target><path>/dev</path></target></pool>")
	if err := on(t, host, p).Start(t.Context(), p); err == nil || !strings.HasSuffix(err.Error(), "Could not open '/sys/class/scsi_host/host9/scan' to trigger host scan: No such file or directory") {
		t.Error(err)
	}
}

const iscsiDoc = "<pool type='iscsi'><name>p</name><source><host name='10.0.0.1'/><device path='iqn.2013-06.com.x:t'/><initiator><iqn name='iqn.2013-06.com.x:i'/></initiator>" +
	"<auth type='chap' username='u'><secret usage='x'/></auth></source><target><path>/dev/disk/by-path</path></target></pool>"

func TestISCSI(t *testing.T) {
	traits := storagetest.Traits{NotFiles: true, NoCreate: true, NoRemove: true, NoResize: true, NoClone: true, Given: []string{"unit:0:0:0", "unit:0:0:1"}}
	storagetest.With(t, traits, func(t *testing.T) (backend.Backend, *def.Pool) {
		host, _ := storagetest.SCSI(t, true)
		host.Secret = secretOf("s3cret")
		p := poolOf(t, iscsiDoc)
		return on(t, host, p), p
	})
	host, tools := storagetest.SCSI(t, true)
	host.Secret = secretOf("s3cret")
	p := poolOf(t, strings.Replace(iscsiDoc, ":t'", ":refused'", 1))
	err := on(t, host, p).Start(t.Context(), p)
	if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "authorization failure") {
		t.Error(err)
	}
	if calls := strings.Join(tools.Calls(), "\n"); !strings.Contains(calls, "--portal 10.0.0.1:3260,1 --targetname iqn.2013-06.com.x:refused") || !strings.Contains(calls, "iface.initiatorname --value iqn.2013-06.com.x:i") {
		t.Error(calls)
	}
	at := 0
	for _, want := range []string{"--op new", "auth.authmethod --value CHAP", "auth.username --value u", "auth.password --value s3cret", "--login"} {
		calls := tools.Calls()[at:]
		i := slices.IndexFunc(calls, func(c string) bool { return strings.Contains(c, "--mode node") && strings.HasSuffix(c, want) })
		if i < 0 {
			t.Fatalf("no %s in its turn: %q", want, calls)
		}
		at += i + 1
	}
	host.Secret = nil // nobody to ask
	if err := on(t, host, p).Start(t.Context(), p); !errors.Is(err, liberr.NoSecret) || err.Error() != "Secret not found: no secret with matching usage 'x'" {
		t.Error(err)
	}
	found, err := on(t, host, p).(backend.Finder).FindSources(t.Context(), &def.Source{Hosts: []def.Host{{Name: "10.0.0.1"}}})
	if err != nil || len(found) != 2 || found[1].Device() != "iqn.2013-06.com.x:other" || found[0].Hosts[0].Port != 3260 {
		t.Error(found, err)
	}
}

const directDoc = "<pool type='iscsi-direct'><name>p</name><source><host name='10.0.0.1' port='3261'/><device path='iqn.2013-06.com.x:t'/><initiator><iqn name='iqn.2013-06.com.x:i'/></initiator>" +
	"<auth type='chap' username='u'><secret usage='x'/></auth></source></pool>"

// What the tools say was recorded from libiscsi 1.19 and tgtd, names and sizes of volumes from libvirtd 9.0.0.
func TestISCSIDirect(t *testing.T) {
	programs := map[string]storagetest.Program{
		"iscsi-ls":             func([]string, string) (string, error) { return "", nil }, // run by the shell
		"iscsi-readcapacity16": func([]string, string) (string, error) { return "", nil },
		"sh": func(args []string, input string) (string, error) {
			line := strings.Join(args, " ")
			if input != "u\ns3cret\n" || strings.Contains(line, "s3cret") || !strings.Contains(line, "-i iqn.2013-06.com.x:i") {
				t.Errorf("%q %q", line, input)
			}
			if args[3] == "/usr/sbin/iscsi-ls" {
				return "Target:iqn.2013-06.com.x:other Portal:10.0.0.1:3261,1\nLun:9    Type:DIRECT_ACCESS (Size:7M)\nTarget:iqn.2013-06.com.x:t Portal:10.0.0.1:3261,1\n" +
					"Lun:1    Type:DIRECT_ACCESS (Size:7M)\nLun:2    Type:DIRECT_ACCESS (Size:4M)\n", nil
			}
			return "RETURNED LOGICAL BLOCK ADDRESS:16383\nLOGICAL BLOCK LENGTH IN BYTES:512\nP_TYPE:0 PROT_EN:0\nTotal size:8388608\n", nil
		},
	}
	newPool := func(t *testing.T) (backend.Backend, *def.Pool) {
		host, _ := storagetest.NewHost(t, programs)
		host.Secret = secretOf("s3cret")
		p := poolOf(t, directDoc)
		return on(t, host, p), p
	}
	storagetest.With(t, storagetest.Traits{NotFiles: true, Always: true, NoCreate: true, NoRemove: true, NoResize: true, NoClone: true, NoWipe: true, NoData: true,
		Given: []string{"unit:0:0:1", "unit:0:0:2"}}, newPool)
	b, p := newPool(t)
	v, err := b.Look(t.Context(), p, "unit:0:0:1")
	if err != nil || v.Path != "ip-10.0.0.1:3261-iscsi-iqn.2013-06.com.x:t-lun-1" || v.Capacity != 8388096 || v.Type != virt.StorageVolNetwork {
		t.Errorf("%+v, %v", v, err)
	}
	found, err := b.(backend.Finder).FindSources(t.Context(), &p.Source)
	if err != nil || len(found) != 2 || found[1].Device() != "iqn.2013-06.com.x:t" {
		t.Error(found, err)
	}
	if _, err := b.(backend.Finder).FindSources(t.Context(), &def.Source{Hosts: p.Source.Hosts}); err == nil || err.Error() != "unsupported configuration: missing initiator IQN" {
		t.Error(err)
	}
}

func TestMultipath(t *testing.T) {
	traits := storagetest.Traits{NotFiles: true, Always: true, NoCreate: true, NoRemove: true, NoResize: true, NoClone: true, Given: []string{"dm-0", "dm-2"}}
	doc := "<pool type='mpath'><name>p</name><target><path>/dev/mapper</path></target></pool>"
	storagetest.With(t, traits, func(t *testing.T) (backend.Backend, *def.Pool) {
		host, _ := storagetest.Multipath(t)
		p := poolOf(t, doc)
		return on(t, host, p), p
	})
	host, _ := storagetest.NewHost(t, nil) // without device-mapper there are none
	p := poolOf(t, doc)
	if c, err := on(t, host, p).Refresh(t.Context(), p, nil); err != nil || len(c.Volumes) != 0 {
		t.Error(c, err)
	}
}

// mounts stands for mount and umount: what is mounted is a folder that a link leads to.
func mounts(t *testing.T, source string) (*backend.Host, *storagetest.Tools) {
	host, tools := storagetest.NewHost(t, nil)
	up := map[string]string{}
	table := func() error {
		text := ""
		for at, what := range up {
			text += what + " " + at + " fuse rw 0 0\n"
		}
		return tools.File("/proc/self/mounts", text)
	}
	tools.Programs = map[string]storagetest.Program{
		"mount": func(args []string, _ string) (string, error) {
			what, at := args[len(args)-2], args[len(args)-1]
			up[at] = what
			if err := os.Remove(at); err != nil {
				return "", err
			}
			return "", errors.Join(os.Symlink(source, at), table())
		},
		"umount": func(args []string, _ string) (string, error) {
			at := args[len(args)-1]
			delete(up, at)
			return "", errors.Join(os.Remove(at), os.Mkdir(at, 0o755), table())
		},
	}
	if err := table(); err != nil {
		t.Fatal(err)
	}
	return host, tools
}

func TestGluster(t *testing.T) {
	traits := storagetest.Traits{NotFiles: true, NoCreate: true, NoResize: true, NoClone: true, NoWipe: true, NoData: true, Given: []string{"one", "two"}}
	newPool := func(t *testing.T) (backend.Backend, *def.Pool) {
		source := t.TempDir()
		for _, n := range []string{"one", "two"} {
			if err := os.MkdirAll(source+"/sub", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(source+"/sub/"+n, make([]byte, 4096), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		host, _ := mounts(t, source)
		p := poolOf(t, "<pool type='gluster'><name>p</name><source><host name='h'/><name>vol</name><dir path='/sub'/></source></pool>")
		return on(t, host, p), p
	}
	storagetest.With(t, traits, newPool)
	b, p := newPool(t)
	if err := b.Start(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	v, err := b.Look(t.Context(), p, "one")
	if err != nil || v.Path != "gluster://h/vol/sub/one" || v.Key != v.Path || v.Type != virt.StorageVolNetwork {
		t.Errorf("%+v, %v", v, err)
	}
	if err := b.Remove(t.Context(), p, v, 0); err != nil {
		t.Error(err)
	}
	if v, err := b.Look(t.Context(), p, "one"); v != nil || err != nil {
		t.Error(v, err)
	}
	_, err = b.(backend.Finder).FindSources(t.Context(), &def.Source{Hosts: []def.Host{{Name: "h"}}})
	if err == nil || err.Error() != "internal error: 'gluster' command line tool not found" {
		t.Error(err)
	}
}

// A server's folder and a cluster's, as the conformance test has them; the mount is not real.
func TestMountedFolders(t *testing.T) {
	for kind, source := range map[string]string{
		"netfs":    "<source><host name='h'/><dir path='/e'/><format type='nfs'/></source>",
		"vstorage": "<source><name>cluster</name></source>",
	} {
		t.Run(kind, func(t *testing.T) {
			storagetest.With(t, storagetest.Traits{Always: true, NoSpace: true}, func(t *testing.T) (backend.Backend, *def.Pool) {
				host, tools := mounts(t, t.TempDir())
				tools.Programs["vstorage-mount"] = func(args []string, _ string) (string, error) { // -c NAME PATH ...
					return tools.Programs["mount"]([]string{"vstorage://" + args[1], args[2]}, "")
				}
				p := poolOf(t, "<pool type='"+kind+"'><name>p</name>"+source+"<target><path>"+t.TempDir()+"/pool</path></target></pool>")
				return on(t, host, p), p
			})
		})
	}
}

func TestSourcesOfAServer(t *testing.T) {
	host, _ := storagetest.NewHost(t, map[string]storagetest.Program{
		"showmount": func(args []string, _ string) (string, error) { return "/srv/a 10.0.0.0/8\n/srv/b *\n", nil },
		"gluster": func([]string, string) (string, error) {
			return "<cliOutput><volInfo><volumes><volume><name>vol</name></volume><count>1</count></volumes></volInfo></cliOutput>", nil
		},
		"vstorage": func([]string, string) (string, error) { return "cluster 10.0.0.1\n", nil },
	})
	at := &def.Source{Hosts: []def.Host{{Name: "h"}}}
	for kind, want := range map[string]string{
		"netfs": "<sources>\n  <source>\n    <host name='h'/>\n    <dir path='/srv/a'/>\n    <format type='nfs'/>\n  </source>\n  <source>\n    <host name='h'/>\n    <dir path='/srv/b'/>\n    <format type='nfs'/>\n  </source>\n" +
			"  <source>\n    <host name='h'/>\n    <dir path='vol'/>\n    <format type='glusterfs'/>\n  </source>\n</sources>\n",
		"gluster":  "<sources>\n  <source>\n    <host name='h'/>\n    <dir path='/'/>\n    <name>vol</name>\n  </source>\n</sources>\n",
		"vstorage": "<sources>\n  <source>\n    <name>cluster</name>\n  </source>\n</sources>\n",
	} {
		k, _ := def.KindNamed(kind)
		b, err := host.For(k)
		if err != nil {
			t.Fatal(err)
		}
		found, err := b.(backend.Finder).FindSources(t.Context(), at)
		if got := def.Sources(k, found); got != want || err != nil {
			t.Errorf("%s: %v\n%s", kind, err, got)
		}
	}
}

// What needs a program that is not there says which.
func TestMissingProgramsAreNamed(t *testing.T) {
	host, _ := storagetest.NewHost(t, nil)
	if err := os.MkdirAll(host.Root+"/dev", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(host.Root+"/dev/sda", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(host.Root+"/proc/self", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(host.Root+"/proc/self/mounts", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	host.Secret = secretOf("x")
	const target = "<target><path>/dev</path></target>"
	for doc, want := range map[string]string{
		"<pool type='disk'><name>p</name><source><device path='/dev/sda'/></source>" + target + "</pool>": "parted",
		"<pool type='logical'><name>p</name></pool>":                                                      "vgscan",
		iscsiDoc:                                 "iscsiadm",
		rbdDoc:                                   "ceph",
		"<pool type='zfs'><name>p</name></pool>": "zpool",
		"<pool type='vstorage'><name>p</name>" + target + "</pool>":                                               "vstorage-mount",
		"<pool type='netfs'><name>p</name><source><host name='h'/><dir path='/x'/></source>" + target + "</pool>": "mount",
	} {
		p := poolOf(t, doc)
		b := on(t, host, p)
		err := b.Start(t.Context(), p)
		if err == nil { // the first that is needed is needed later
			_, err = b.Refresh(t.Context(), p, nil)
		}
		if err == nil || err.Error() != "Cannot find '"+want+"' in path: No such file or directory" {
			t.Errorf("%s: %v", p.Kind.Name, err)
		}
		if tool, known := host.Missing(p.Kind); tool == "" || !known {
			t.Errorf("%s misses %q", p.Kind.Name, tool)
		}
	}
}

func secretOf(value string) func(context.Context, backend.SecretName) ([]byte, error) {
	return func(context.Context, backend.SecretName) ([]byte, error) { return []byte(value), nil }
}
