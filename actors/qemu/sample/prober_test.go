package sample

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

const soon = 20 * time.Second

func TestOneWhoDoesNotAnswerIsAskedOnce(t *testing.T) {
	var p Prober[int]
	asked := make(chan chan int, 10)
	ask := func() (int, error) {
		c := make(chan int)
		asked <- c
		return <-c, nil
	}
	if _, err := p.Ask("a", time.Millisecond, ask); err != ErrLate {
		t.Fatal(err)
	}
	answer := <-asked
	for range 3 {
		if _, err := p.Ask("a", soon, ask); err != ErrLate { // at once: soon would be noticed
			t.Fatal(err)
		}
	}
	if len(asked) != 0 || p.Open() != 1 {
		t.Fatalf("asked %d times more, %d open", len(asked), p.Open())
	}
	if v, err := p.Ask("b", soon, func() (int, error) { return 7, nil }); v != 7 || err != nil {
		t.Errorf("another one: %d, %v", v, err)
	}
	answer <- 5
	for end := time.Now().Add(soon); p.Open() > 0; {
		if time.Now().After(end) {
			t.Fatal("the answer does not arrive")
		}
	}
	if v, err := p.Ask("a", soon, func() (int, error) { return 6, nil }); v != 6 || err != nil {
		t.Errorf("the next question: %d, %v", v, err)
	}
	broken := errors.New("broken")
	if _, err := p.Ask("a", soon, func() (int, error) { return 0, broken }); err != broken {
		t.Errorf("and its error: %v", err)
	}
}

func TestManyAreAskedAtOnce(t *testing.T) {
	var p Prober[int]
	var n atomic.Int64
	done := make(chan error, 64)
	for i := range 64 {
		go func() {
			_, err := p.Ask(string(rune('a'+i%8)), soon, func() (int, error) { n.Add(1); return 0, nil })
			if err == ErrLate { // another goroutine's question was open
				err = nil
			}
			done <- err
		}()
	}
	for range 64 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n.Load() < 8 {
		t.Errorf("%d questions", n.Load())
	}
}
