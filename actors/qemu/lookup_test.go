package qemu

import (
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Lists are in the order of names, whatever came, went or was renamed since the last one.
func TestListsFollowNames(t *testing.T) {
	system := kit.NewSystem("", zerolog.Nop())
	done := make(chan struct{})
	system.Root.Spawn(kit.Func(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Started); !ok {
			return
		}
		defer close(done)
		dr := &driver{
			shared: &shared{env: &branch.Env{}}, byID: map[int32]*entry{},
			Index: branch.NewIndex[*entry](&branch.Env{}, liberr.FromQemu, "domain"),
		}
		dr.Index.Receive(ctx)
		id := func(n byte) protocol.UUID { return protocol.UUID{n} }
		enter := func(n byte, name string) {
			e := &entry{Summary: Summary{Name: name, UUID: id(n), ID: -1}}
			dr.order = nil
			if err := dr.Manage(ctx, e, name, id(n), func() actor.Actor { return actor.ReceiveFunc(func(actor.Context) {}) }); err != nil {
				t.Error(err)
			}
		}
		want := func(when string, names ...string) {
			t.Helper()
			var got []string
			for _, e := range dr.selected(func(*entry) bool { return true }) {
				got = append(got, e.Name)
			}
			if diff := cmp.Diff(names, got); diff != "" {
				t.Errorf("%s: %s", when, diff)
			}
		}
		enter(1, "c")
		enter(2, "a")
		enter(3, "b")
		want("defined", "a", "b", "c")
		dr.forget(ctx, id(3))
		want("undefined", "a", "c")
		dr.ByName["0"] = dr.ByUUID[id(1)]
		dr.renamed(&renamed{UUID: id(1), Old: "c", New: "0", OK: true})
		want("renamed", "0", "a")
		dr.update(Summary{Name: "z", UUID: id(2), ID: -1})
		want("news under another name", "0", "z")
		dr.ByUUID[id(2)].Pending = true
		want("not yet to be seen", "0")
	}))
	<-done
}
