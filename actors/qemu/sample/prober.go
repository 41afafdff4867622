package sample

import (
	"errors"
	"sync"
	"time"
)

// ErrLate is what becomes of a question that is not answered in time.
var ErrLate = errors.New("no answer in time")

// Prober asks, and has no more than one open question to each of those that it asks. The zero value is ready, and any
// goroutine may use it.
type Prober[T any] struct {
	mu   sync.Mutex
	open map[string]bool
}

type answer[T any] struct {
	value T
	err   error
}

// Ask waits for the answer as long as patience is. While an earlier question to the same one is open it does not ask
// again and does not wait. ask must end when the one who is asked does.
func (p *Prober[T]) Ask(who string, patience time.Duration, ask func() (T, error)) (T, error) {
	var none T
	if !p.begin(who) {
		return none, ErrLate
	}
	came := make(chan answer[T], 1)
	go func() {
		v, err := ask()
		p.end(who)
		came <- answer[T]{v, err} // too late, it is nobody's
	}()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case a := <-came:
		return a.value, a.err
	case <-limit.C:
		return none, ErrLate
	}
}

func (p *Prober[T]) begin(who string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[who] {
		return false
	}
	if p.open == nil {
		p.open = map[string]bool{}
	}
	p.open[who] = true
	return true
}

func (p *Prober[T]) end(who string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, who)
}

// Open is the number of questions that wait for their answer.
func (p *Prober[T]) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}
