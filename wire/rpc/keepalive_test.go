package rpc

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestKeepalive(t *testing.T) {
	// Each step is "seconds[+traffic] action": at that time, with traffic at that
	// second or not, Tick answers the action.
	cases := []struct {
		name     string
		interval int
		count    int
		steps    string
	}{
		{"an idle peer is pinged count times, then given up", 5, 3, "4 wait, 5 ping, 9 wait, 10 ping, 15 ping, 19 wait, 20 dead"},
		{"any packet resets interval and count", 5, 2, "5 ping, 10 ping, 12+12 wait, 15 wait, 17 ping, 22 ping, 27 dead"},
		{"a packet just before the end saves it", 5, 1, "5 ping, 10+9 wait, 14 ping, 19 dead"},
		{"a busy peer is never pinged", 5, 1, "5+4 wait, 9+8 wait, 13+12 wait, 17+17 wait"},
		{"count 0 gives up without a ping", 5, 0, "4 wait, 5 dead"},
		{"a late tick pings once, not once per interval", 5, 5, "60 ping, 61 wait, 65 ping"},
		{"old traffic resets only once", 5, 1, "3+3 wait, 8+3 ping, 13+3 dead"},
		{"interval -1 never pings", -1, 5, "5 wait, 1000 wait"},
		{"interval 0 never pings", 0, 5, "5 wait, 1000 wait"},
	}
	names := map[KeepaliveAction]string{KeepaliveWait: "wait", KeepalivePing: "ping", KeepaliveDead: "dead"}
	start := time.Unix(1000, 0)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			k := NewKeepalive(time.Duration(c.interval)*time.Second, c.count, start)
			last := start
			for step := range strings.SplitSeq(c.steps, ", ") {
				var at, traffic int
				var want string
				if n, _ := fmt.Sscanf(step, "%d+%d %s", &at, &traffic, &want); n == 3 {
					last = start.Add(time.Duration(traffic) * time.Second)
				} else {
					fmt.Sscanf(step, "%d %s", &at, &want)
				}
				if got := names[k.Tick(start.Add(time.Duration(at)*time.Second), last)]; got != want {
					t.Fatalf("at %q: %s", step, got)
				}
			}
		})
	}
}

// A silent peer, ticked exactly at Next, is given up after (count+1) intervals.
func TestKeepaliveTimeToDeath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.IntRange(1, 100).Draw(t, "interval")) * time.Second
		count := rapid.IntRange(0, 20).Draw(t, "count")
		start := time.Unix(0, 0)
		k := NewKeepalive(interval, count, start)
		now, pings := start, 0
		for {
			now, _ = k.Next()
			switch k.Tick(now, start) {
			case KeepalivePing:
				pings++
				continue
			case KeepaliveWait:
				t.Fatal("Next came too early")
			}
			break
		}
		if now.Sub(start) != time.Duration(count+1)*interval || pings != count {
			t.Fatalf("dead after %v and %d pings", now.Sub(start), pings)
		}
	})
}
