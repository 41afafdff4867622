package secret

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

const id2 = "5a6a1d0e-0000-4000-8000-0000000000b2"

func start(t *testing.T, env *branch.Env) (*branchtest.Branch, *branchtest.Client) {
	b := branchtest.Start(t, New(env))
	return b, b.Client()
}

func doc(id, attrs, usage string) string {
	return "<secret " + attrs + "><uuid>" + id + "</uuid>" + usage + "</secret>"
}

func ceph(name string) string { return `<usage type="ceph"><name>` + name + `</name></usage>` }

func define(t *testing.T, c *branchtest.Client, xml string) protocol.Secret {
	t.Helper()
	r, err := branchtest.Do(c, protocol.SecretDefineXML, &protocol.SecretDefineXMLArgs{XML: xml})
	if err != nil {
		t.Errorf("define: %v", err)
	}
	return r.Secret
}

func refuse(t *testing.T, c *branchtest.Client, xml, message string) {
	t.Helper()
	branchtest.Fails(c, protocol.SecretDefineXML, &protocol.SecretDefineXMLArgs{XML: xml}, from, liberr.InternalError, message)
}

func set(t *testing.T, c *branchtest.Client, s protocol.Secret, v string) {
	t.Helper()
	if _, err := branchtest.Do(c, protocol.SecretSetValue, &protocol.SecretSetValueArgs{Secret: s, Value: []byte(v)}); err != nil {
		t.Errorf("set: %v", err)
	}
}

func get(t *testing.T, c *branchtest.Client, s protocol.Secret) string {
	t.Helper()
	r, err := branchtest.Do(c, protocol.SecretGetValue, &protocol.SecretGetValueArgs{Secret: s})
	if err != nil {
		return err.Message
	}
	return string(r.Value)
}

func files(t *testing.T, env *branch.Env) (names []string) {
	t.Helper()
	es, _ := os.ReadDir(env.Paths.DriverConfig("secrets"))
	for _, e := range es {
		fi, _ := e.Info()
		if fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), fi.Mode())
		}
		names = append(names, e.Name())
	}
	return names
}

func TestLifeOfASecret(t *testing.T) {
	env := branchtest.Env(t)
	b, c := start(t, env)
	s := define(t, c, doc(id1, "", ceph("one")))
	if s.UsageType != virt.SecretUsageTypeCeph || s.UsageID != "one" || s.UUID.String() != id1 {
		t.Error(s)
	}
	if got := get(t, c, s); got != "Secret not found: secret '"+id1+"' does not have a value" {
		t.Error(got)
	}
	set(t, c, s, "hello\x00x")
	if got := get(t, c, s); got != "hello\x00x" {
		t.Errorf("%q", got)
	}
	if got := fmt.Sprint(files(t, env)); got != "["+id1+".value "+id1+".xml]" {
		t.Error(got)
	}
	text, _ := os.ReadFile(filepath.Join(env.Paths.DriverConfig("secrets"), id1+".value"))
	if bytes.Contains(text, []byte("hello")) || bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString([]byte("hello\x00x")))) {
		t.Error("the value is in the clear")
	}
	b.Stop()

	b, c = start(t, env) // another process, the same disk
	x, err := branchtest.Do(c, protocol.SecretGetXMLDesc, &protocol.SecretGetXMLDescArgs{Secret: s})
	if want := "<secret ephemeral='no' private='no'>\n  <uuid>" + id1 + "</uuid>\n  <usage type='ceph'>\n    <name>one</name>\n  </usage>\n</secret>\n"; err != nil || x.XML != want {
		t.Error(x, err)
	}
	if got := get(t, c, s); got != "hello\x00x" {
		t.Errorf("%q", got)
	}
	if r, err := branchtest.Do(c, protocol.SecretLookupByUsage, &protocol.SecretLookupByUsageArgs{UsageType: 2, UsageID: "one"}); err != nil || r.Secret != s {
		t.Error(r, err)
	}
	if _, err := branchtest.Do(c, protocol.SecretUndefine, &protocol.SecretUndefineArgs{Secret: s}); err != nil {
		t.Error(err)
	}
	if got := files(t, env); len(got) != 0 {
		t.Error(got)
	}
	branchtest.Fails(c, protocol.SecretLookupByUUID, &protocol.SecretLookupByUUIDArgs{UUID: s.UUID}, from, liberr.NoSecret, "Secret not found: no secret with matching uuid '"+id1+"'")
	branchtest.Fails(c, protocol.SecretUndefine, &protocol.SecretUndefineArgs{Secret: s}, from, liberr.NoSecret, "Secret not found: no secret with matching uuid '"+id1+"'")
	branchtest.Fails(c, protocol.SecretLookupByUsage, &protocol.SecretLookupByUsageArgs{UsageType: 1, UsageID: "/x"}, from, liberr.NoSecret, "Secret not found: no secret with matching usage '/x'")
	b.Stop()
}

// The refusals were recorded from libvirtd 9.0.0.
func TestRedefine(t *testing.T) {
	env := branchtest.Env(t)
	_, c := start(t, env)
	define(t, c, doc(id1, "", ceph("one")))
	refuse(t, c, "<secret>"+ceph("one")+"</secret>", "internal error: a secret with UUID "+id1+" already defined for use with one")
	refuse(t, c, doc(id1, "", ceph("two")), "internal error: a secret with UUID "+id1+" is already defined for use with one")
	refuse(t, c, doc(id1, "", ""), "internal error: a secret with UUID "+id1+" is already defined for use with one")
	define(t, c, doc(id2, "", ""))
	refuse(t, c, doc(id2, "", ceph("x")), "internal error: a secret with UUID "+id2+" is already defined for use with (null)")
	define(t, c, doc(id1, "", `<usage type="tls"><name>one</name></usage>`))
	s := define(t, c, doc(id1, "", ceph("one")))
	set(t, c, s, "v")

	define(t, c, doc(id1, "ephemeral='yes'", ceph("one")))
	if got := fmt.Sprint(files(t, env)); got != "["+id2+".xml]" || get(t, c, s) != "v" {
		t.Error("made ephemeral: ", got, get(t, c, s))
	}
	set(t, c, s, "w")
	define(t, c, doc(id1, "", ceph("one")))
	if got := fmt.Sprint(files(t, env)); got != "["+id1+".value "+id1+".xml "+id2+".xml]" || get(t, c, s) != "w" {
		t.Error("made persistent: ", got, get(t, c, s))
	}
	define(t, c, doc(id1, "private='yes'", ceph("one")))
	branchtest.Fails(c, protocol.SecretGetValue, &protocol.SecretGetValueArgs{Secret: s}, from, liberr.InvalidSecret, "Invalid secret: secret is private")
	refuse(t, c, doc(id1, "", ceph("one")), "internal error: cannot change private flag on existing secret")
	branchtest.Fails(c, protocol.SecretSetValue, &protocol.SecretSetValueArgs{Secret: s}, from, liberr.InvalidArg, "value in virSecretSetValue must not be NULL")
}

func TestListsAndFilters(t *testing.T) {
	_, c := start(t, branchtest.Env(t))
	define(t, c, doc(id2, "ephemeral='yes'", ""))
	define(t, c, doc(id1, "private='yes'", ""))
	for flags, want := range map[uint32]uint32{0: 2, 1: 1, 2: 1, 3: 2, 4: 1, 8: 1, 15: 2, 1 | 4: 0, 2 | 4: 1} {
		r, err := branchtest.Do(c, protocol.ConnectListAllSecrets, &protocol.ConnectListAllSecretsArgs{NeedResults: 1, Flags: flags})
		if err != nil || r.Ret != want || len(r.Secrets) != int(want) {
			t.Errorf("flags %d: %v %v, want %d", flags, r, err, want)
		}
	}
	branchtest.Fails(c, protocol.ConnectListAllSecrets, &protocol.ConnectListAllSecretsArgs{Flags: 16}, from, liberr.InvalidArg, "")
	if r, err := branchtest.Do(c, protocol.ConnectListSecrets, &protocol.ConnectListSecretsArgs{Maxuuids: 1}); err != nil || fmt.Sprint(r.Uuids) != "["+id1+"]" {
		t.Error(r, err)
	}
	if r, err := branchtest.Do(c, protocol.ConnectNumOfSecrets, &protocol.Void{}); err != nil || r.Num != 2 {
		t.Error(r, err)
	}
	branchtest.Fails(c, protocol.ConnectListSecrets, &protocol.ConnectListSecretsArgs{Maxuuids: -1}, liberr.FromRPC, liberr.RPC, "maxuuids must be non-negative")
	branchtest.Fails(c, protocol.ConnectListSecrets, &protocol.ConnectListSecretsArgs{Maxuuids: 100000}, liberr.FromRPC, liberr.RPC, "maxuuids > REMOTE_SECRET_LIST_MAX")
}

func TestEvents(t *testing.T) {
	b, c := start(t, branchtest.Env(t))
	other := b.Client()
	s := define(t, c, doc(id1, "", ""))
	set(t, c, s, "v")
	_, _ = branchtest.Do(c, protocol.SecretUndefine, &protocol.SecretUndefineArgs{Secret: s})
	var m protocol.SecretEventLifecycleMsg
	for i, want := range []int32{virt.SecretEventDefined, -1, virt.SecretEventUndefined} {
		e := other.Event()
		if e.Object != "secret" || e.UUID != s.UUID {
			t.Error(e)
		}
		if want < 0 {
			if e.ID != virt.SecretEventIDValueChanged {
				t.Error(i, e)
			}
			continue
		}
		if err := protocol.Unmarshal(append(make([]byte, callbackID), e.Payload...), &m); err != nil || e.ID != virt.SecretEventIDLifecycle || m.Event != want || m.Secret != s {
			t.Error(i, e, m, err)
		}
	}
}

// libvirt's files are read, its newer value counts, and Export writes them.
func TestSwitchingToAndFro(t *testing.T) {
	env := branchtest.Env(t)
	dir := env.Paths.DriverConfig("secrets")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, age time.Duration) {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(p, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write(id1+".xml", doc(id1, "", ceph("one")), time.Hour)
	write(id1+".base64", "aGVsbG8=", time.Hour)
	write(id2+".xml", doc(id1, "", ""), time.Hour) // not what its name says
	write("junk.xml", "<<", time.Hour)
	b, c := start(t, env)
	s := protocol.Secret{UUID: must(parseUUID(id1))}
	if got := get(t, c, s); got != "hello" {
		t.Error(got)
	}
	if n, _ := branchtest.Do(c, protocol.ConnectNumOfSecrets, &protocol.Void{}); n.Num != 1 {
		t.Error(n)
	}
	set(t, c, s, "ours")
	if _, err := os.Stat(filepath.Join(dir, id1+".base64")); err == nil {
		t.Error("the plain value is still there")
	}
	b.Stop()

	if n, err := Export(env.Paths); n != 1 || err != nil {
		t.Error(n, err)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, id1+".base64")); string(text) != base64.StdEncoding.EncodeToString([]byte("ours")) {
		t.Errorf("exported %q", text)
	}
	write(id1+".base64", base64.StdEncoding.EncodeToString([]byte("theirs")), -time.Hour)
	b, c = start(t, env)
	if got := get(t, c, s); got != "theirs" {
		t.Error(got)
	}
	b.Stop()
}

func TestAValueIsBoundToItsSecretAndKey(t *testing.T) {
	env := branchtest.Env(t)
	b, c := start(t, env)
	set(t, c, define(t, c, doc(id1, "", "")), "one")
	define(t, c, doc(id2, "", ""))
	b.Stop()
	dir := env.Paths.DriverConfig("secrets")
	text, _ := os.ReadFile(filepath.Join(dir, id1+".value"))
	if err := os.WriteFile(filepath.Join(dir, id2+".value"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	b, c = start(t, env)
	if got := get(t, c, protocol.Secret{UUID: must(parseUUID(id2))}); got == "one" {
		t.Error("a value was taken for another secret's")
	}
	b.Stop()
	if err := os.WriteFile(filepath.Join(env.Paths.State(), "secrets", keyName), make([]byte, keySize), 0o600); err != nil {
		t.Fatal(err)
	}
	_, c = start(t, env)
	if got := get(t, c, protocol.Secret{UUID: must(parseUUID(id1))}); got != "Secret not found: secret '"+id1+"' does not have a value" {
		t.Error(got)
	}
}

func TestTheTreeReadsPrivateValues(t *testing.T) {
	b, c := start(t, branchtest.Env(t))
	s := define(t, c, doc(id1, "private='yes'", ceph("one")))
	set(t, c, s, "v")
	answers := make(chan *Value, 1)
	asker := b.Root().Spawn(kit.Func(func(ctx actor.Context) {
		if v, ok := ctx.Message().(*Value); ok {
			answers <- v
		}
	}))
	for _, a := range []*Ask{{Serial: 7, UUID: s.UUID}, {Serial: 7, ByUsage: true, UsageType: 2, UsageID: "one"}} {
		b.Root().RequestWithCustomSender(b.PID, a, asker)
		if v := <-answers; v.Err != nil || string(v.Value) != "v" || v.Serial != 7 {
			t.Error(v)
		}
	}
	b.Root().RequestWithCustomSender(b.PID, &Ask{}, asker)
	if v := <-answers; v.Err == nil || v.Err.Code != liberr.NoSecret {
		t.Error(v)
	}
}

// Many clients change secrets at once; each call is answered, and the disk holds what was answered last.
func TestManyChangesAtOnce(t *testing.T) {
	env := branchtest.Env(t)
	b, c := start(t, env)
	s := define(t, c, doc(id1, "", ""))
	const n = 50
	for i := range n {
		c.Send(protocol.SecretSetValue.Procedure, &protocol.SecretSetValueArgs{Secret: s, Value: fmt.Appendf(nil, "v%d", i)})
	}
	for range n {
		if r := c.Reply(); r.Err != nil {
			t.Error(r.Err)
		}
	}
	b.Stop()
	_, c = start(t, env)
	if got := get(t, c, s); got != fmt.Sprintf("v%d", n-1) {
		t.Error(got)
	}
}

// A folder that cannot be written fails the call and changes nothing.
func TestAFullDisk(t *testing.T) {
	env := branchtest.Env(t)
	if err := os.MkdirAll(filepath.Dir(env.Paths.DriverConfig("secrets")), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(env.Paths.DriverConfig("secrets"), nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	_, c := start(t, env)
	branchtest.Fails(c, protocol.SecretDefineXML, &protocol.SecretDefineXMLArgs{XML: doc(id1, "", "")}, from, liberr.SystemError, "cannot write the secret: Not a directory")
	branchtest.Fails(c, protocol.SecretLookupByUUID, &protocol.SecretLookupByUUIDArgs{UUID: must(parseUUID(id1))}, from, liberr.NoSecret, "")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestValuesTravel(t *testing.T) {
	for _, v := range []*Value{{Serial: 3, Value: []byte("v")}, {Serial: 4, Err: liberr.New(from, liberr.NoSecret, "x")}} {
		b, err := v.AppendRemoting(nil)
		var got Value
		if err == nil {
			err = got.DecodeRemoting(b)
		}
		if err != nil || got.Serial != v.Serial || string(got.Value) != string(v.Value) || (got.Err == nil) != (v.Err == nil) {
			t.Errorf("%+v arrives as %+v, %v", v, got, err)
		}
	}
	if v, ok := (&Ask{Serial: 5}).Refuse(liberr.New(from, liberr.InternalError, "x")).(*Value); !ok || v.Serial != 5 || v.Err == nil {
		t.Error(v)
	}
}
