// Package await lets tests wait: for what comes by a channel, and for facts that no message announces. All waits end the test
// when they are in vain.
package await

import (
	"testing"
	"time"
)

// Patience is how long a test waits for what must come. It is generous: the machine may have other work.
const Patience = 20 * time.Second

const interval = 2 * time.Millisecond

// True waits until a condition holds.
func True(t testing.TB, what string, ok func() bool) {
	t.Helper()
	Within(t, what, Patience, ok)
}

// Within waits until a condition holds, for so long.
func Within(t testing.TB, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for end := time.Now().Add(limit); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// From waits for what comes by a channel.
func From[T any](t testing.TB, ch <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(Patience):
		t.Fatalf("waited too long for %s", what)
	}
	return v
}
