package qemu

import (
	"context"
	"testing"
	"time"
)

// full takes all turns, so that the next one has to wait.
func full(a adoptions) (done []func()) {
	for range cap(a) {
		done = append(done, a.take(context.Background(), nil))
	}
	return done
}

func TestAdoptionsTakeTurns(t *testing.T) {
	a := newAdoptions()
	done := full(a)
	taken := make(chan func())
	go func() { taken <- a.take(context.Background(), nil) }()
	if len(a) != cap(a) {
		t.Fatalf("%d of %d turns are taken", len(a), cap(a))
	}
	done[0]()
	select {
	case last := <-taken:
		last()
	case <-time.After(20 * time.Second):
		t.Fatal("a turn that was over is nobody's")
	}
	for _, f := range done[1:] {
		f()
	}
	if len(a) != 0 {
		t.Errorf("%d turns are taken after all are over", len(a))
	}
}

func TestAdoptionThatSomebodyWaitsForNeedsNoTurn(t *testing.T) {
	a := make(adoptions) // none is ever free
	hurry := make(chan struct{})
	taken := make(chan func())
	go func() { taken <- a.take(context.Background(), hurry) }()
	select {
	case <-taken:
		t.Fatal("a turn that there is not")
	case <-time.After(2 * adoptionTurn):
	}
	close(hurry)
	select {
	case done := <-taken:
		done()
	case <-time.After(20 * time.Second):
		t.Fatal("the caller waits for the others")
	}
	a.take(context.Background(), hurry)() // a call that came before
}

func TestSilentQEMULosesItsTurn(t *testing.T) {
	a := newAdoptions()
	silent := full(a)
	taken := make(chan func())
	go func() { taken <- a.take(context.Background(), nil) }()
	select {
	case done := <-taken:
		done()
	case <-time.After(20 * time.Second):
		t.Fatal("guests wait for others' silent QEMUs")
	}
	for _, done := range silent {
		done() // later than its turn: it must not take somebody else's
	}
	for limit := time.Now().Add(20 * time.Second); len(a) != 0 && time.Now().Before(limit); { // a clock may be at it right now
		time.Sleep(time.Millisecond)
	}
	if len(a) != 0 {
		t.Errorf("%d turns are taken after all are over", len(a))
	}
}

// The definition, which is most of a status file, is left to domxml; what is around it is read whatever stands in it.
func TestStatusIsReadAroundTheDefinition(t *testing.T) {
	const text = `<!-- mine -->
<domstatus state='running' reason='booted' pid='12' since='7'>
  <monitor path='/m' type='unix'/>
  <nodename index='3'/>
  <domain type='qemu' id='1'>
    <name>a</name>
    <monitor path='/other'/>
  </domain>
  <agentTimeout>5</agentTimeout>
</domstatus>
`
	s, err := parseStatus(text)
	if err != nil {
		t.Fatal(err)
	}
	if s.PID != 12 || s.Since != 7 || s.Monitor.Path != "/m" || s.Nodes.Index != 3 || s.AgentTimeout == nil || *s.AgentTimeout != 5 {
		t.Errorf("read %+v", s)
	}
	if d := domainText(text); d[:8] != "<domain " || d[len(d)-9:] != "</domain>" {
		t.Errorf("the definition is %q", d)
	}
}
