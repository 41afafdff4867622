package qemu

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/supervisors/paths"
	"virtree/wire/protocol"
)

// BenchmarkCostDomain is the birth of an inactive domain's actor from its stored definition, up to the answer to a first
// call, and the memory that it keeps, its definition included.
func BenchmarkCostDomain(b *testing.B) {
	b.Run("actor_from_a_stored_definition", func(b *testing.B) {
		system := kit.NewSystem("", zerolog.Nop())
		drv := newShared(&branch.Env{Paths: paths.System(b.TempDir()), Log: zerolog.Nop(), Hold: func(string) func() { return func() {} }}, Config{})
		drv.system = system
		answers := make(chan *call.Reply)
		parent := system.Root.Spawn(kit.Func(func(c actor.Context) {
			if r, ok := c.Message().(*call.Reply); ok {
				answers <- r
			}
		}))
		caller := &call.Caller{}
		spawn := func(i int) {
			var uuid protocol.UUID
			binary.BigEndian.PutUint64(uuid[:], uint64(i))
			name := fmt.Sprintf("cost-%d", i)
			xml := fmt.Sprintf("<domain type='qemu'><name>%s</name><uuid>%s</uuid><memory unit='KiB'>16384</memory>"+
				"<os><type arch='x86_64' machine='pc'>hvm</type></os></domain>", name, uuid)
			pid := system.Root.Spawn(kit.Props(func() actor.Actor { return newDomain(drv, parent, uuid, name, &seed{config: xml}) }, kit.Kind("domain")))
			args := protocol.DomainHasManagedSaveImageArgs{Dom: protocol.Domain{Name: name, UUID: uuid, ID: -1}}
			system.Root.RequestWithCustomSender(pid, &call.Call{Proc: protocol.DomainHasManagedSaveImage.Procedure, Serial: 1, Args: args.AppendXDR(nil), Caller: caller}, parent)
			select {
			case r := <-answers:
				if r.Err != nil {
					b.Fatal(r.Err)
				}
			case <-time.After(20 * time.Second):
				b.Fatal("no answer")
			}
		}
		spawn(0)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.ReportAllocs()
		b.ResetTimer()
		for i := range b.N {
			spawn(i + 1)
		}
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(int64(after.HeapInuse)-int64(before.HeapInuse))/float64(b.N), "kept-B")
		runtime.KeepAlive(system)
	})
}
