package secret

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/supervisors/paths"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// kept is a log in memory.
type kept struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (k *kept) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.Write(p)
}

func (k *kept) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.String()
}

// holds tells whether a text has a value in it, plain or as base64.
func holds(text, value string) bool {
	return strings.Contains(text, value) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(value)))
}

// Values of secrets of all uses are set, given out, asked for by a branch and refused: neither the log, which says
// everything it can, nor any file has them; that of an ephemeral secret is in no file in any form.
func TestValuesStandInNoLogAndNoFile(t *testing.T) {
	const value = "a value that is not seen again"
	env, log := branchtest.Env(t), &kept{}
	env.Log = zerolog.New(log).Level(zerolog.TraceLevel)
	b, c := start(t, env)
	answers := make(chan *Value, 1)
	asker := b.Root().Spawn(kit.Func(func(ctx actor.Context) {
		if v, ok := ctx.Message().(*Value); ok {
			answers <- v
		}
	}))
	ids := []string{"5a6a1d0e-0000-4000-8000-0000000000c0", "5a6a1d0e-0000-4000-8000-0000000000c1", "5a6a1d0e-0000-4000-8000-0000000000c2",
		"5a6a1d0e-0000-4000-8000-0000000000c3", "5a6a1d0e-0000-4000-8000-0000000000c4", "5a6a1d0e-0000-4000-8000-0000000000c5"}
	for i, u := range usages {
		attrs, usage := "private='yes'", ""
		if i%2 == 0 {
			attrs = "ephemeral='yes'"
		}
		if i != virt.SecretUsageTypeNone {
			usage = "<usage type='" + u.name + "'><" + u.element + ">/one</" + u.element + "></usage>"
		}
		s := define(t, c, doc(ids[i], attrs, usage))
		if s.UsageType != int32(i) {
			t.Errorf("%s is of the use %d", u.name, s.UsageType)
		}
		set(t, c, s, value)
		want := value
		if i%2 != 0 {
			want = "Invalid secret: secret is private"
		}
		if got := get(t, c, s); got != want {
			t.Errorf("a client reads %q of a secret of use %s", got, u.name)
		}
		b.Root().RequestWithCustomSender(b.PID, &Ask{UUID: s.UUID, UsageType: s.UsageType}, asker)
		if v := <-answers; v.Err != nil || string(v.Value) != value {
			t.Errorf("a branch reads %q, %v", v.Value, v.Err)
		}
		if i != virt.SecretUsageTypeNone { // another use than what it is for
			other := int32(i%(len(usages)-1)) + 1
			b.Root().RequestWithCustomSender(b.PID, &Ask{UUID: s.UUID, UsageType: other}, asker)
			if v := <-answers; v.Err == nil || v.Value != nil {
				t.Errorf("a secret of use %s is given for use %s", u.name, usages[other].name)
			}
		}
	}
	b.Stop()
	if text := log.String(); !strings.Contains(text, ids[0]) || holds(text, value) {
		t.Errorf("the log is\n%s", text)
	}
	files := 0
	_ = filepath.WalkDir(rootOf(env.Paths), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		if holds(string(text), value) {
			t.Errorf("%s has the value", path)
		}
		for i := 0; i < len(ids); i += 2 {
			if strings.Contains(path, ids[i]) {
				t.Errorf("an ephemeral secret has the file %s", path)
			}
		}
		return nil
	})
	if files < 1+2*3 { // the key; a definition and a value of each that is not ephemeral
		t.Errorf("%d files were found", files)
	}
}

// rootOf is the folder below which all paths lie.
func rootOf(p paths.Paths) string {
	return strings.TrimSuffix(p.State(), "/var/lib/libvirt")
}

// The value of a call is wiped where it came in.
func TestASetValueIsWiped(t *testing.T) {
	var zero [6]byte
	args := &protocol.SecretSetValueArgs{Value: []byte("wiped!")}
	env := branchtest.Env(t)
	seal, err := openSealer(env.Paths)
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{env: env, seal: seal, running: &change{}} // the change waits behind another
	raw := args.AppendXDR(nil)
	_ = d.setValue(nil, &call.Request{Call: &call.Call{Args: raw}}, args)
	if !bytes.Equal(args.Value, zero[:]) || bytes.Contains(raw, []byte("wiped!")) {
		t.Errorf("left: %q in %q", args.Value, raw)
	}
}
