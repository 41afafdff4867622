package remoting

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// A peer that takes long over its answer is asked for signs of life, and gives them, far beyond the time that silence is
// borne. When nobody waits any more, neither side has a timer.
func TestHeartbeatLastsAsLongAsSomebodyWaits(t *testing.T) {
	const period = 10 * time.Millisecond * slowness
	a, b, echoPID := pair(t, func(o *Options) { o.Heartbeat, o.Misses = period, 5 })
	a.mustPong(t, echoPID)
	eventually(t, "a heartbeat without anybody who waits", func() bool { return !a.beating.Load() && !b.beating.Load() })

	release := make(chan struct{})
	b.spawn(t, "slow", func(c actor.Context) {
		if m, ok := c.Message().(*ping); ok {
			<-release
			c.Respond(&pong{Serial: m.Serial})
		}
	})
	asked := a.root.RequestFuture(actor.NewPID(b.Address(), "slow"), &ping{Serial: 1}, patience)
	time.Sleep(20 * period) // the passing of time is what is tested
	if !a.beating.Load() {
		t.Error("somebody waits, and there is no heartbeat")
	}
	close(release)
	if r, err := asked.Result(); err != nil {
		t.Errorf("answer %v, %v", r, err)
	} else if _, ok := r.(*pong); !ok {
		t.Errorf("a slow peer was given up: %v", r)
	}
	eventually(t, "the heartbeat goes on after the answer", func() bool { return !a.beating.Load() && !b.beating.Load() })
}
