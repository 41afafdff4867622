package supervisors

import (
	"testing"
	"testing/synctest"
	"time"
)

func over(i *Idle) bool {
	synctest.Wait()
	select {
	case <-i.Expired():
		return true
	default:
		return false
	}
}

func TestIdle(t *testing.T) {
	t.Run("a daemon without clients leaves after its timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := NewIdle(120 * time.Second)
			time.Sleep(119 * time.Second)
			if over(i) {
				t.Error("too early")
			}
			time.Sleep(time.Second)
			if !over(i) {
				t.Error("stays")
			}
		})
	})
	t.Run("a client or an inhibitor keeps it, and the count starts anew behind the last one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := NewIdle(time.Minute)
			client, domain := i.Hold("client"), i.Hold("domain a")
			again := i.Hold("client")
			time.Sleep(time.Hour)
			if h := i.Holds(); over(i) || h["client"] != 2 || h["domain a"] != 1 {
				t.Errorf("holds %v", h)
			}
			client()
			client() // twice is once
			again()
			time.Sleep(time.Hour)
			if over(i) {
				t.Error("left a running domain")
			}
			domain()
			time.Sleep(59 * time.Second)
			i.Hold("client")() // a visitor for a moment
			time.Sleep(59 * time.Second)
			if over(i) || len(i.Holds()) != 0 {
				t.Error("the visitor did not count")
			}
			time.Sleep(time.Second)
			if !over(i) {
				t.Error("stays")
			}
		})
	})
	t.Run("the timeout changes while running, 0 is never", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := NewIdle(0)
			time.Sleep(100 * time.Hour)
			if over(i) {
				t.Error("0 is not never")
			}
			i.SetTimeout(time.Minute)
			time.Sleep(30 * time.Second)
			i.SetTimeout(0)
			time.Sleep(time.Hour)
			if over(i) {
				t.Error("switched off, but left")
			}
			i.SetTimeout(time.Second)
			time.Sleep(time.Second)
			if !over(i) || i.Timeout() != time.Second {
				t.Error("stays")
			}
			i.SetTimeout(time.Hour) // too late
			i.Hold("client")()
			if !over(i) {
				t.Error("came back")
			}
		})
	})
}
