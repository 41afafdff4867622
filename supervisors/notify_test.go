package supervisors

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestNotifierSpeaksToTheServiceManager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hear := func() string {
		t.Helper()
		buf := make([]byte, 4096)
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	n := Notifier{zerolog.Nop()}
	n.Ready("nobody listens") // no NOTIFY_SOCKET: says nothing, does not fail

	t.Setenv("NOTIFY_SOCKET", path)
	n.Ready("serving")
	if got := hear(); got != "READY=1\nSTATUS=serving" {
		t.Errorf("ready: %q", got)
	}
	n.Reloading()
	if got := hear(); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
		t.Errorf("reloading: %q", got)
	}
	n.Stopping()
	if got := hear(); got != "STOPPING=1" {
		t.Errorf("stopping: %q", got)
	}

	n.Watchdog(t.Context(), func(context.Context) error { t.Error("asked without a watchdog"); return nil })
	t.Setenv("WATCHDOG_USEC", "20000")
	ctx, cancel := context.WithCancel(t.Context())
	var sick atomic.Bool
	var checks atomic.Int32
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.Watchdog(ctx, func(context.Context) error {
			checks.Add(1)
			if sick.Load() {
				return errors.New("sick")
			}
			return nil
		})
	}()
	for range 3 {
		if got := hear(); got != "WATCHDOG=1" {
			t.Errorf("watchdog: %q", got)
		}
	}
	sick.Store(true)
	seen := checks.Load()
	for end := time.Now().Add(patience); checks.Load() < seen+3; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no more checks")
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	fed := 0
	for {
		if _, err := conn.Read(make([]byte, 100)); err != nil {
			break
		}
		fed++
	}
	if fed > 2 { // what was on its way
		t.Errorf("fed %d times although sick", fed)
	}
	cancel()
	<-ended
}
