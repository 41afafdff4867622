package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
	"virtree/wire/xdr"
)

const diskSecret = "44444444-aaaa-4444-8444-444444444444"

// tool runs a program of QEMU's.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	for attempt := 1; ; attempt++ {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err == nil {
			return string(out)
		}
		if attempt == slowAttempts || !strings.Contains(string(out), slowClock) {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
	}
}

// blockJob waits until a job on the disk is in a state.
func (g *guests) blockJob(state int32) {
	g.t.Helper()
	for {
		e := g.c.Event()
		if e.Object == "" {
			g.t.Fatalf("no block job came to state %d", state)
		}
		if e.Object != "domain" || e.ID != virt.DomainEventIDBlockJob2 {
			continue
		}
		var dom protocol.Domain
		d := xdr.NewDecoder(e.Payload)
		dom.DecodeXDR(&d)
		_, _ = d.String(1<<16), d.Int32()
		if now := d.Int32(); now == state {
			return
		} else if now != virt.DomainBlockJobReady {
			g.t.Fatalf("the block job came to state %d instead of %d", now, state)
		}
	}
}

// hmp has QEMU do something of its own.
func (g *guests) hmp(dom protocol.Domain, command string) string {
	g.t.Helper()
	ret, err := branchtest.Do(g.c, protocol.QemuDomainMonitorCommand, &protocol.QemuDomainMonitorCommandArgs{Dom: dom, Cmd: command, Flags: virt.DomainQemuMonitorCommandHmp})
	if err != nil {
		g.t.Fatal(err)
	}
	return ret.Result
}

// Snapshots, commits, pulls and copies with images that are encrypted: what is made is encrypted, opens with the secret, has
// the data, and the secret is taken out of QEMU with its image.
func TestEncryptedImagesOfARunningGuest(t *testing.T) {
	const pass = "of the disk"
	g, secrets := withSecrets(t, DefaultConfig)
	secrets(protocol.SecretDefineXML.Procedure, &protocol.SecretDefineXMLArgs{XML: "<secret ephemeral='no' private='yes'><uuid>" + diskSecret + "</uuid><usage type='volume'><volume>/disk</volume></usage></secret>"})
	secrets(protocol.SecretSetValue.Procedure, secretValueArgs(diskSecret, pass))
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	qemuIMG := func(args ...string) string {
		t.Helper()
		return tool(t, "qemu-img", args...)
	}
	qemuIMG("create", "-q", "-f", "luks", "--object", "secret,id=s,data="+pass, "-o", "key-secret=s,iter-time=10", at("base"), "1M")
	const key = "<encryption format='luks'><secret type='passphrase' uuid='" + diskSecret + "'/></encryption>"
	dom := g.start(fmt.Sprintf(`<domain type='qemu'><name>keys</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file'><driver name='qemu' type='raw'/><source file='%s'>%s</source><target dev='vda' bus='virtio'/></disk></devices></domain>`, at("base"), key), virt.DomainStartPaused)
	before := g.objects(dom)
	write := func(pattern string) { // as the guest would
		t.Helper()
		if out := g.hmp(dom, fmt.Sprintf(`qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "write -P %s 0 64k"`, pattern)); out != "" { // what went well goes to QEMU's log
			t.Fatal(out)
		}
	}
	write("0x11")

	snapshot := fmt.Sprintf(`<domainsnapshot><name>s1</name><disks><disk name='vda' snapshot='external'><driver type='qcow2'/><source file='%s'>%s</source></disk></disks></domainsnapshot>`, at("top"), key)
	if _, err := branchtest.Do(g.c, protocol.DomainSnapshotCreateXML, &protocol.DomainSnapshotCreateXMLArgs{Dom: dom, XMLDesc: snapshot, Flags: virt.DomainSnapshotCreateDiskOnly | virt.DomainSnapshotCreateNoMetadata}); err != nil {
		t.Fatal(err)
	}
	if info := qemuIMG("info", "-U", at("top")); !strings.Contains(info, "encrypted: yes") || !strings.Contains(info, "backing file format: luks") {
		t.Errorf("the image above is\n%s", info)
	}
	if doc := g.xml(dom, 0); strings.Count(doc, diskSecret) != 2 {
		t.Errorf("not every image of the chain has its key:\n%s", doc)
	}
	if now := g.objects(dom); len(now) != len(before)+1 {
		t.Errorf("QEMU's objects are %v, and were %v", now, before)
	}
	write("0x22")
	if _, err := branchtest.Do(g.c, protocol.DomainBlockCommit, &protocol.DomainBlockCommitArgs{Dom: dom, Disk: "vda", Flags: virt.DomainBlockCommitActive}); err != nil {
		t.Fatal(err)
	}
	g.blockJob(virt.DomainBlockJobReady)
	pivot := &protocol.DomainBlockJobAbortArgs{Dom: dom, Path: "vda", Flags: virt.DomainBlockJobAbortPivot}
	if _, err := branchtest.Do(g.c, protocol.DomainBlockJobAbort, pivot); err != nil {
		t.Fatal(err)
	}
	g.blockJob(virt.DomainBlockJobCompleted)
	if now := g.objects(dom); !slices.Equal(now, before) {
		t.Errorf("QEMU's objects are %v after the commit, and were %v", now, before)
	}

	// The second one is there already, for the sake of time: keys take long to derive.
	qemuIMG("create", "-q", "-f", "qcow2", "--object", "secret,id=s,data="+pass, "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", at("copy2"), "1M")
	copies := []struct {
		name, format, want string
		flags              uint32
	}{{"copy", "raw", "LUKS\xba\xbe", 0}, {"copy2", "qcow2", "QFI\xfb", virt.DomainBlockCopyReuseExt}}
	for _, c := range copies {
		dest := fmt.Sprintf(`<disk type='file'><driver type='%s'/><source file='%s'>%s</source></disk>`, c.format, at(c.name), key)
		if _, err := branchtest.Do(g.c, protocol.DomainBlockCopy, &protocol.DomainBlockCopyArgs{Dom: dom, Path: "vda", Destxml: dest, Flags: virt.DomainBlockCopyTransientJob | c.flags}); err != nil {
			t.Fatal(err)
		}
		g.blockJob(virt.DomainBlockJobReady)
		if _, err := branchtest.Do(g.c, protocol.DomainBlockJobAbort, pivot); err != nil {
			t.Fatal(err)
		}
		g.blockJob(virt.DomainBlockJobCompleted)
		head := make([]byte, 6)
		if f, err := os.Open(at(c.name)); err != nil {
			t.Fatal(err)
		} else {
			_, _ = f.Read(head)
			_ = f.Close()
		}
		if !bytes.HasPrefix(head, []byte(c.want)) {
			t.Errorf("the copy begins with %q", head)
		}
		if now := g.objects(dom); len(now) != len(before) {
			t.Errorf("QEMU's objects are %v after the copy, and were %v", now, before)
		}
	}
	if _, err := branchtest.Do(g.c, protocol.DomainDestroy, &protocol.DomainDestroyArgs{Dom: dom}); err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{"driver=luks,key-secret=s,file.filename=" + at("copy"), "driver=qcow2,encrypt.key-secret=s,file.filename=" + at("copy2")} {
		out, err := exec.Command("qemu-io", "--object", "secret,id=s,data="+pass, "--image-opts", image, "-c", "read -P 0x22 0 64k").CombinedOutput()
		if err != nil || strings.Contains(string(out), "failed") {
			t.Errorf("%s: %v: %s", image, err, out)
		}
	}
}

// A snapshot of a domain that is off puts encrypted images above a plain and an encrypted one; the domain starts with them,
// and a pull moves the content of the image below into the encrypted one above and takes the other's secret out of QEMU.
func TestEncryptedImagesOfADomainThatIsOff(t *testing.T) {
	const pass = "of the other disk"
	g, secrets := withSecrets(t, DefaultConfig)
	secrets(protocol.SecretDefineXML.Procedure, &protocol.SecretDefineXMLArgs{XML: "<secret ephemeral='no' private='yes'><uuid>" + diskSecret + "</uuid><usage type='volume'><volume>/disk</volume></usage></secret>"})
	secrets(protocol.SecretSetValue.Procedure, secretValueArgs(diskSecret, pass))
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	tool := func(name string, args ...string) string {
		t.Helper()
		return tool(t, name, args...)
	}
	tool("qemu-img", "create", "-q", "-f", "luks", "--object", "secret,id=s,data="+pass, "-o", "key-secret=s,iter-time=10", at("base"), "3M")
	tool("qemu-io", "--object", "secret,id=s,data="+pass, "--image-opts", "driver=luks,key-secret=s,file.filename="+at("base"), "-c", "write -P 0x11 0 64k")
	tool("qemu-img", "create", "-q", "-f", "raw", at("plain"), "2M")
	const key = "<encryption format='luks'><secret type='passphrase' uuid='" + diskSecret + "'/></encryption>"
	def, err := branchtest.Do(g.c, protocol.DomainDefineXML, &protocol.DomainDefineXMLArgs{XML: fmt.Sprintf(`<domain type='qemu'><name>keys</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file'><driver name='qemu' type='raw'/><source file='%s'>%s</source><target dev='vda' bus='virtio'/></disk>
<disk type='file'><driver name='qemu' type='raw'/><source file='%s'/><target dev='vdb' bus='virtio'/></disk></devices></domain>`, at("base"), key, at("plain"))})
	if err != nil {
		t.Fatal(err)
	}
	dom := def.Dom
	snapshot := fmt.Sprintf(`<domainsnapshot><name>s1</name><disks><disk name='vda' snapshot='external'><source file='%s'>%s</source></disk>
<disk name='vdb' snapshot='external'><source file='%s'>%s</source></disk></disks></domainsnapshot>`, at("top"), key, at("plain-top"), key)
	put := &protocol.DomainSnapshotCreateXMLArgs{Dom: dom, XMLDesc: snapshot, Flags: virt.DomainSnapshotCreateDiskOnly | virt.DomainSnapshotCreateNoMetadata}

	// Without a value nothing is made, and nothing half-made stays.
	wrong := *put
	wrong.XMLDesc = strings.Replace(snapshot, diskSecret, keySecret, 1)
	if _, err := branchtest.Do(g.c, protocol.DomainSnapshotCreateXML, &wrong); err == nil || !errors.Is(err, liberr.NoSecret) {
		t.Errorf("without a secret: %v", err)
	}
	for _, name := range []string{"top", "plain-top"} {
		if _, err := os.Lstat(at(name)); err == nil {
			t.Errorf("%s was made without its secret", name)
		}
	}
	if _, err := branchtest.Do(g.c, protocol.DomainSnapshotCreateXML, put); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"top": "backing file format: luks", "plain-top": "backing file format: raw"} {
		info := tool("qemu-img", "info", at(name))
		if !strings.Contains(info, "encrypted: yes") || !strings.Contains(info, want) || strings.Contains(info, pass) {
			t.Errorf("the image above is\n%s", info)
		}
	}
	if _, err := branchtest.Do(g.c, protocol.DomainCreateWithFlags, &protocol.DomainCreateWithFlagsArgs{Dom: dom, Flags: virt.DomainStartPaused}); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = branchtest.Do(g.c, protocol.DomainDestroy, &protocol.DomainDestroyArgs{Dom: dom}) }()
	before := g.objects(dom)
	if out := g.hmp(dom, `qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "write -P 0x22 64k 64k"`); out != "" {
		t.Fatal(out)
	}
	if _, err := branchtest.Do(g.c, protocol.DomainBlockPull, &protocol.DomainBlockPullArgs{Dom: dom, Path: "vda"}); err != nil {
		t.Fatal(err)
	}
	g.blockJob(virt.DomainBlockJobCompleted)
	if now := g.objects(dom); len(now) != len(before)-1 {
		t.Errorf("QEMU's objects are %v after the pull, and were %v", now, before)
	}
	for what, doc := range map[string]string{"live": g.xml(dom, 0), "stored": g.xml(dom, virt.DomainXMLInactive)} {
		if strings.Contains(doc, at("base")) || !strings.Contains(doc, at("top")) || strings.Count(doc, diskSecret) != 2 {
			t.Errorf("the %s document after the pull:\n%s", what, doc)
		}
	}
	if _, err := branchtest.Do(g.c, protocol.DomainDestroy, &protocol.DomainDestroyArgs{Dom: dom}); err != nil {
		t.Fatal(err)
	}
	if info := tool("qemu-img", "info", at("top")); strings.Contains(info, "backing file") || !strings.Contains(info, "encrypted: yes") {
		t.Errorf("the image after the pull is\n%s", info)
	}
	out := tool("qemu-io", "--object", "secret,id=s,data="+pass, "--image-opts", "driver=qcow2,encrypt.key-secret=s,file.filename="+at("top"), "-c", "read -P 0x11 0 64k", "-c", "read -P 0x22 64k 64k")
	if strings.Contains(out, "failed") {
		t.Errorf("the content after the pull: %s", out)
	}
}
