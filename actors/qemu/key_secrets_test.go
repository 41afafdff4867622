package qemu

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/uuid"

	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/logd"
	"virtree/actors/secret"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// withSecrets runs the driver beside the real secret driver.
func withSecrets(t *testing.T, conf Config) (g *guests, secrets func(proc *protocol.Procedure, args protocol.Encoder)) {
	t.Helper()
	env := branchtest.Env(t)
	conf.User, conf.Group = "root", "root"
	others := map[string]*actor.PID{}
	env.Branch = func(name string) *actor.PID { return others[name] }
	b := branchtest.Start(t, New(env, conf))
	for name, producer := range map[string]actor.Producer{"logd": logd.New(env, logd.Defaults()), "secret": secret.New(env)} {
		pid := b.Root().Spawn(kit.Props(producer))
		t.Cleanup(func() { _ = b.Root().StopFuture(pid).Wait() })
		others[name] = pid
	}
	return &guests{t: t, c: b.Client(), env: env.Paths.DriverRun("qemu")}, func(proc *protocol.Procedure, args protocol.Encoder) {
		t.Helper()
		m := &call.Call{Proc: proc, Serial: 1, Args: args.AppendXDR(nil), Caller: selfCaller}
		answer, err := b.Root().RequestFuture(others["secret"], m, 20*time.Second).Result()
		if err != nil {
			t.Fatal(err)
		}
		if r := answer.(*call.Reply); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

const (
	keySecret = "11111111-aaaa-4111-8111-111111111111"
	tpmSecret = "22222222-aaaa-4222-8222-222222222222"
)

func secretDoc(id, kind string) *protocol.SecretDefineXMLArgs {
	return &protocol.SecretDefineXMLArgs{XML: "<secret ephemeral='no' private='yes'><uuid>" + id + "</uuid><usage type='" + kind + "'><name>" + kind + "</name></usage></secret>"}
}

func secretValueArgs(id, value string) *protocol.SecretSetValueArgs {
	a := &protocol.SecretSetValueArgs{Value: []byte(value)}
	a.Secret.UUID = protocol.UUID(uuid.MustParse(id))
	return a
}

// certificates makes a CA, and a certificate whose key is encrypted with the passphrase.
func certificates(t *testing.T, pass string) string {
	t.Helper()
	dir := t.TempDir()
	for _, args := range []string{
		"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca-key.pem -out ca-cert.pem",
		"req -newkey rsa:2048 -subj /CN=localhost -passout env:PASS -keyout server-key.pem -out server.csr",
		"x509 -req -in server.csr -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -days 2 -out server-cert.pem",
	} {
		cmd := exec.Command("openssl", strings.Fields(args)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PASS="+pass)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return dir
}

// objects lists what QEMU has below /objects.
func (g *guests) objects(dom protocol.Domain) (names []string) {
	g.t.Helper()
	for _, p := range g.list(dom, "/objects") {
		if p.Type != "string" { // the folder's own kind
			names = append(names, p.Name)
		}
	}
	return names
}

// The key of a certificate is encrypted, and QEMU reads it with the value of a secret: for VNC, for character devices at the
// start and plugged.
func TestKeysOfCertificatesComeFromSecrets(t *testing.T) {
	const pass = "of the key"
	conf := DefaultConfig
	use := tlsUse{On: true, Dir: certificates(t, pass), Secret: keySecret}
	conf.TLS.VNC, conf.TLS.Chardev = use, use
	g, secrets := withSecrets(t, conf)
	secrets(protocol.SecretDefineXML.Procedure, secretDoc(keySecret, "tls"))
	doc := fmt.Sprintf(`<domain type='qemu'><name>tls</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='virtio-serial'/>
<serial type='tcp'><source mode='bind' host='127.0.0.1' service='%d'/><protocol type='raw'/></serial>
<graphics type='vnc' port='-1' autoport='yes'/></devices></domain>`, freePort(t))
	secrets(protocol.SecretSetValue.Procedure, secretValueArgs(keySecret, "another one"))
	if r, err := branchtest.Do(g.c, protocol.DomainCreateXML, &protocol.DomainCreateXMLArgs{XMLDesc: doc, Flags: virt.DomainStartPaused}); err == nil {
		_, _ = branchtest.Do(g.c, protocol.DomainDestroy, &protocol.DomainDestroyArgs{Dom: r.Dom})
		t.Fatal("it starts with a passphrase that is wrong")
	}
	secrets(protocol.SecretSetValue.Procedure, secretValueArgs(keySecret, pass))
	dom := g.start(doc, virt.DomainStartPaused)
	if doc := g.xml(dom, 0); !strings.Contains(doc, "tls='yes'") {
		t.Errorf("the serial port is not encrypted:\n%s", doc)
	}
	before := g.objects(dom)
	for _, want := range []string{"vnc-tls-creds0", "vnc-tls-creds0-secret0", "objcharserial0_tls0", "charserial0-secret0"} {
		if !slices.Contains(before, want) {
			t.Errorf("QEMU has no %s: %v", want, before)
		}
	}
	channel := fmt.Sprintf(`<channel type='tcp'><source mode='bind' host='127.0.0.1' service='%d'/><protocol type='raw'/><target type='virtio' name='org.test.0'/><alias name='ua-line'/></channel>`, freePort(t))
	if err := g.attach(dom, channel); err != nil {
		t.Fatal(err)
	}
	if now := g.objects(dom); !slices.Contains(now, "objcharua-line_tls0") || !slices.Contains(now, "charua-line-secret0") {
		t.Errorf("the channel is not encrypted: %v", now)
	}
}

// The state of a TPM is encrypted with the value of a secret, which no argument shows; with another value it does not open.
func TestATPMIsEncryptedWithASecret(t *testing.T) {
	const pass = "of the vTPM"
	g, secrets := withSecrets(t, DefaultConfig)
	secrets(protocol.SecretDefineXML.Procedure, secretDoc(tpmSecret, "vtpm"))
	secrets(protocol.SecretSetValue.Procedure, secretValueArgs(tpmSecret, pass))
	const id = "33333333-aaaa-4333-8333-333333333333"
	doc := `<domain type='qemu'><name>tpm</name><uuid>` + id + `</uuid><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<tpm model='tpm-crb'><backend type='emulator' version='2.0' persistent_state='yes'><encryption secret='` + tpmSecret + `'/></backend></tpm></devices></domain>`
	dom := g.start(doc, virt.DomainStartPaused)
	pid, err := os.ReadFile(filepath.Join(g.env, "swtpm", "tpm-swtpm.pid"))
	if err != nil {
		t.Fatal(err)
	}
	args, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/cmdline")
	if err != nil || strings.Contains(string(args), pass) || !strings.Contains(string(args), "pwdfd") {
		t.Errorf("swtpm's arguments are %q, %v", args, err)
	}
	root := strings.TrimSuffix(g.env, "/run/libvirt/qemu")
	states, _ := filepath.Glob(filepath.Join(root, "var/lib/libvirt/swtpm", id, "tpm2", "*.permall"))
	if len(states) != 1 {
		t.Fatalf("the TPM's state is in %v", states)
	}
	state, err := os.ReadFile(states[0])
	if err != nil {
		t.Fatal(err)
	}
	const encrypted = 1 // of the flags in the blob's header: version, oldest version, size of the header, flags
	if flags := binary.BigEndian.Uint16(state[4:]); flags&encrypted == 0 {
		t.Errorf("the TPM's state is not encrypted: %x", state[:10])
	}
	if _, err := branchtest.Do(g.c, protocol.DomainDestroy, &protocol.DomainDestroyArgs{Dom: dom}); err != nil {
		t.Fatal(err)
	}
	secrets(protocol.SecretSetValue.Procedure, secretValueArgs(tpmSecret, "another"))
	if r, err := branchtest.Do(g.c, protocol.DomainCreateXML, &protocol.DomainCreateXMLArgs{XMLDesc: doc, Flags: virt.DomainStartPaused}); err == nil {
		_, _ = branchtest.Do(g.c, protocol.DomainDestroy, &protocol.DomainDestroyArgs{Dom: r.Dom})
		t.Error("the TPM's state opens with another passphrase")
	}
}

// property is one of an object of QEMU's.
type property struct{ Name, Type string }

func (g *guests) list(dom protocol.Domain, path string) (out []property) {
	g.t.Helper()
	ret, err := branchtest.Do(g.c, protocol.QemuDomainMonitorCommand, &protocol.QemuDomainMonitorCommandArgs{Dom: dom, Cmd: `{"execute":"qom-list","arguments":{"path":"` + path + `"}}`})
	if err != nil {
		g.t.Fatal(err)
	}
	answer := struct {
		Return *[]property `json:"return"`
	}{&out}
	if err := json.Unmarshal([]byte(ret.Result), &answer); err != nil {
		g.t.Fatal(err)
	}
	return out
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
