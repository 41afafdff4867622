package mailbox

import (
	"testing"

	"github.com/asynkron/protoactor-go/actor"
)

// One operation is one hop: a token passes from one of two to the other. These stand at the start of the table that
// bench/cost makes.

//go:noinline
func pass(token *ping) *ping { return token }

func BenchmarkCostHop(b *testing.B) {
	b.Run("a_function_call", func(b *testing.B) {
		b.ReportAllocs()
		token := &ping{}
		for b.Loop() {
			token = pass(token)
		}
	})
	b.Run("channel_between_goroutines", func(b *testing.B) {
		b.ReportAllocs()
		there, back := make(chan *ping), make(chan *ping)
		go func() {
			for token := range there {
				back <- token
			}
			close(back)
		}()
		token := &ping{}
		for range b.N / 2 {
			there <- token
			token = <-back
		}
		close(there)
		<-back
	})
	both(b, "mailbox", func(b *testing.B, system *actor.ActorSystem, opts ...actor.PropsOption) {
		left, done := b.N, make(chan struct{})
		token := &ping{} // one actor at a time has it, so left needs no guard
		var one, two *actor.PID
		receive := func(to **actor.PID) actor.ReceiveFunc {
			return func(c actor.Context) {
				if token, ok := c.Message().(*ping); ok {
					if left--; left > 0 {
						c.Send(*to, token)
					} else if left == 0 {
						close(done)
					}
				}
			}
		}
		one = system.Root.Spawn(actor.PropsFromFunc(receive(&two), opts...))
		two = system.Root.Spawn(actor.PropsFromFunc(receive(&one), opts...))
		b.ResetTimer()
		system.Root.Send(one, token)
		<-done
	})
}
