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
	open map[string]chan answer[T]
}

type answer[T any] struct {
	value T
	err   error
}

// Ask waits for the answer as long as patience is. While an earlier question to the same one is open it does not ask
// again and does not wait: it takes the answer to that one, if it has come since, and ErrLate else. ask must end when the
// one who is asked does.
func (p *Prober[T]) Ask(who string, patience time.Duration, ask func() (T, error)) (T, error) {
	var none T
	p.mu.Lock()
	came, asked := p.open[who]
	if !asked {
		came = make(chan answer[T], 1)
		if p.open == nil {
			p.open = map[string]chan answer[T]{}
		}
		p.open[who] = came
		go func() {
			v, err := ask()
			came <- answer[T]{v, err}
		}()
	}
	p.mu.Unlock()
	if asked {
		patience = 0
	}
	select {
	case a := <-came:
		p.settled(who)
		return a.value, a.err
	default:
	}
	if patience <= 0 {
		return none, ErrLate
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case a := <-came:
		p.settled(who)
		return a.value, a.err
	case <-limit.C:
		return none, ErrLate
	}
}

func (p *Prober[T]) settled(who string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, who)
}

// Open is the number of questions that wait for their answer.
func (p *Prober[T]) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, c := range p.open {
		if len(c) == 0 {
			n++
		}
	}
	return n
}
