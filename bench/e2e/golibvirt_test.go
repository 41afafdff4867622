package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"github.com/rogpeppe/go-internal/testscript"

	"virtree/bench/internal/lab"
)

// connectGo opens a connection of the pure Go client.
func connectGo(t *lab.Target) (*libvirt.Libvirt, error) {
	_, socket, _ := strings.Cut(t.URI(), "?socket=")
	l := libvirt.NewWithDialer(dialers.NewLocal(dialers.WithSocket(socket), dialers.WithLocalTimeout(5*time.Second)))
	if err := l.ConnectToURI(libvirt.QEMUSystem); err != nil {
		return nil, err
	}
	return l, nil
}

// cmdGoLibvirt runs one of the small programs below: a client that shares no code with
// libvirt.
func cmdGoLibvirt(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 1)
	_, t := tree(ts)
	l, err := connectGo(t)
	ts.Check(err)
	defer l.Disconnect()
	switch args[0] {
	case "lifecycle":
		goLifecycle(ts, l, args[1])
	default:
		ts.Fatalf("golibvirt lifecycle FILE")
	}
}

// goLifecycle takes one guest through its life while it listens to events.
func goLifecycle(ts *testscript.TestScript, l *libvirt.Libvirt, file string) {
	xml, err := os.ReadFile(ts.MkAbs(file))
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	events, err := l.LifecycleEvents(ctx)
	ts.Check(err)
	d, err := l.DomainDefineXML(string(xml))
	ts.Check(err)
	version, err := l.ConnectGetLibVersion()
	ts.Check(err)
	if version != 9000000 {
		ts.Fatalf("library version %d", version)
	}
	state := func(want libvirt.DomainState) {
		got, _, err := l.DomainGetState(d, 0)
		ts.Check(err)
		if libvirt.DomainState(got) != want {
			ts.Fatalf("state %d, not %d", got, want)
		}
	}
	ts.Check(l.DomainCreate(d))
	d, err = l.DomainLookupByName(d.Name)
	ts.Check(err)
	if d.ID <= 0 {
		ts.Fatalf("a running domain has id %d", d.ID)
	}
	state(libvirt.DomainRunning)
	ts.Check(l.DomainSuspend(d))
	state(libvirt.DomainPaused)
	ts.Check(l.DomainResume(d))
	text, err := l.DomainGetXMLDesc(d, 0)
	ts.Check(err)
	if !strings.Contains(text, "<name>"+d.Name+"</name>") {
		ts.Fatalf("XML of another domain:\n%s", text)
	}
	all, n, err := l.ConnectListAllDomains(1, libvirt.ConnectListDomainsActive)
	ts.Check(err)
	if n != 1 || len(all) != 1 {
		ts.Fatalf("%d domains are active, %d listed", n, len(all))
	}
	ts.Check(l.DomainDestroy(d))
	ts.Check(l.DomainUndefine(d))
	if _, err := l.DomainLookupByName(d.Name); !libvirt.IsNotFound(err) {
		ts.Fatalf("lookup of an undefined domain: %v", err)
	}
	for e := range events {
		fmt.Fprintf(ts.Stdout(), "event %d/%d\n", e.Event, e.Detail)
		if libvirt.DomainEventType(e.Event) == libvirt.DomainEventUndefined {
			return
		}
	}
	ts.Fatalf("the event stream ended before the domain was undefined")
}

// churn is a client that defines domains without pause and connects again whenever the
// daemon goes away. What the daemon acknowledged must be there at the end.
type churn struct {
	cancel       context.CancelFunc
	wg           sync.WaitGroup
	mu           sync.Mutex
	acknowledged []string
	reconnects   int
}

func (c *churn) run(ctx context.Context, t *lab.Target) {
	defer c.wg.Done()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for n := 0; ctx.Err() == nil; {
		l, err := connectGo(t)
		if err != nil {
			select { // the daemon is away
			case <-pause.C:
			case <-ctx.Done():
			}
			continue
		}
		c.mu.Lock()
		c.reconnects++
		c.mu.Unlock()
		for ctx.Err() == nil {
			name := fmt.Sprintf("churn-%05d", n)
			n++
			if _, err := l.DomainDefineXML(lab.BareXML(name, "")); err != nil {
				break
			}
			c.mu.Lock()
			c.acknowledged = append(c.acknowledged, name)
			c.mu.Unlock()
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
		}
		l.Disconnect()
	}
}

func (c *churn) stop() {
	c.cancel()
	c.wg.Wait()
}

func cmdChurn(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 1)
	w, t := tree(ts)
	switch args[0] {
	case "start":
		ctx, cancel := context.WithCancel(context.Background())
		w.churn = &churn{cancel: cancel}
		w.churn.wg.Add(1)
		go w.churn.run(ctx, t)
		if !lab.Await(ctx, func() bool { return w.churn.count() >= 5 }) {
			ts.Fatalf("no definition was acknowledged")
		}
	case "stop":
		c := w.churn
		before := c.count()
		// It must have found its way back to the daemon before it is judged.
		if !lab.Await(context.Background(), func() bool { return c.count() >= before+5 }) {
			ts.Fatalf("the client did not get back to work: %d definitions then, %d now", before, c.count())
		}
		c.stop()
		w.churn = nil
		here := map[string]bool{}
		for _, n := range lab.Lines(t.Virsh(context.Background(), "list", "--all", "--name").Stdout) {
			here[n] = true
		}
		var lost []string
		for _, n := range c.acknowledged {
			if _, err := os.Stat(filepath.Join(t.Dir, "etc/libvirt/qemu", n+".xml")); err != nil || !here[n] {
				lost = append(lost, n)
			}
		}
		ts.Logf("%d definitions acknowledged over %d connections", len(c.acknowledged), c.reconnects)
		if len(lost) > 0 {
			ts.Fatalf("acknowledged and lost: %v", lost)
		}
	default:
		ts.Fatalf("churn start|stop")
	}
}

func (c *churn) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acknowledged)
}
