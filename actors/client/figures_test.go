package client

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"virtree/actors/internal/call"
	"virtree/actors/internal/metrics"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// page is what a scrape would show.
func (w *world) page() string {
	p := metrics.NewPage("testd")
	WriteFigures(p, []*Figures{w.conf.Figures()})
	return string(p.Bytes())
}

// figure is the value of a sample, 0 of one that is not there.
func (w *world) figure(sample string) int {
	_, rest, _ := strings.Cut(w.page(), sample+" ")
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.Atoi(line)
	return n
}

// settled is the value once all that clients were answered is counted, which comes right after the answer.
func (w *world) settled(sample string) int {
	w.t.Helper()
	for _, c := range w.members().Clients {
		w.info(c.PID)
	}
	return w.figure(sample)
}

// shows waits for lines of the page: an answer is on its way before it is counted.
func (w *world) shows(lines ...string) {
	w.t.Helper()
	for _, l := range lines {
		eventually(w.t, l, func() bool { return strings.Contains(w.page(), l+"\n") })
	}
}

func TestCallsAreCountedByClassAndOutcome(t *testing.T) {
	w := start(t, nil)
	c := w.open()
	ctx := w.soon()
	const lookups = `class="lookup",daemon="testd",driver="hypervisor"`
	const good = `virtree_calls_total{` + lookups + `,result="ok",server="virtqemud"}`
	ro := w.dial(w.ro)
	if err := ro.Connect(w.soon(), "qemu:///system", true); err != nil {
		t.Fatal(err)
	}
	before := w.settled(good) // a client that opens a connection asks a few things
	for range 3 {
		if err := lookup(ctx, c, "web"); err != nil {
			t.Fatal(err)
		}
	}
	if err := lookup(ctx, c, "error"); err == nil {
		t.Fatal("no error")
	}
	if _, err := rpc.Do(ctx, ro, protocol.DomainDestroy, &protocol.DomainDestroyArgs{}); err == nil {
		t.Fatal("destroyed on a read-only connection")
	}
	go func() { _ = lookup(ctx, c, "hold") }()
	eventually(t, "three lookups more", func() bool { return w.figure(good) == before+3 })
	w.shows(
		`virtree_calls_total{`+lookups+`,result="not_found",server="virtqemud"} 1`,
		`virtree_calls_total{class="lifecycle",daemon="testd",driver="hypervisor",result="denied",server="virtqemud"} 1`,
		fmt.Sprintf(`virtree_call_duration_seconds_count{%s,server="virtqemud"} %d`, lookups, before+4),
		`virtree_calls_in_flight{daemon="testd",server="virtqemud"} 1`,
		`virtree_clients{daemon="testd",server="virtqemud",transport="unix"} 1`,
		`virtree_clients{daemon="testd",server="virtqemud",transport="unix-ro"} 1`,
	)
	_ = c.Close()
	w.shows(
		`virtree_calls_unanswered_total{daemon="testd",server="virtqemud"} 1`,
		`virtree_calls_in_flight{daemon="testd",server="virtqemud"} 0`,
		`virtree_clients{daemon="testd",server="virtqemud",transport="unix"} 0`,
		`virtree_client_connections_total{daemon="testd",server="virtqemud",transport="unix"} 1`,
	)
}

func TestACallThatTakesLongCountsAsLong(t *testing.T) {
	w := start(t, nil)
	c := w.open()
	ctx := w.soon()
	const labels = `class="lookup",daemon="testd",driver="hypervisor",server="virtqemud"`
	count, began, done := w.settled(`virtree_call_duration_seconds_count{`+labels+`}`), time.Now(), make(chan error, 1)
	over := func() int {
		return w.figure(`virtree_call_duration_seconds_bucket{`+labels+`,le="+Inf"}`) - w.figure(`virtree_call_duration_seconds_bucket{`+labels+`,le="0.001"}`)
	}
	slow0 := over()
	go func() { done <- lookup(ctx, c, "hold") }()
	eventually(t, "the call is in flight", func() bool { return w.members().Calls.Load() == 1 })
	eventually(t, "5 ms have passed", func() bool { return time.Since(began) > 5*time.Millisecond })
	w.sys.Root.Send(w.pid("qemu"), &release{1})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.shows(fmt.Sprintf(`virtree_call_duration_seconds_count{%s} %d`, labels, count+1))
	if over() != slow0+1 {
		t.Errorf("a slow call is among the fast ones:\n%s", w.page())
	}
}

func TestEveryProcedureHasASeriesAndThereAreFew(t *testing.T) {
	if len(allSeries) > 64 {
		t.Errorf("%d series", len(allSeries))
	}
	for _, ps := range programs {
		for _, p := range protocol.Procedures(ps.program) {
			if got := allSeries[seriesOf(p.Program, p.Number)]; got != (series{p.Driver, classOf(p)}) {
				t.Errorf("%s is counted as %v", p.Name, got)
			}
		}
	}
	for name, class := range map[*protocol.Procedure]string{
		protocol.DomainLookupByName.Procedure: "lookup", protocol.DomainCreate.Procedure: "lifecycle", protocol.DomainDestroyFlags.Procedure: "lifecycle",
		protocol.DomainMemoryStats.Procedure: "query", protocol.DomainDefineXML.Procedure: "modify", protocol.DomainOpenConsole.Procedure: "stream",
		protocol.ConnectDomainEventCallbackRegisterAny.Procedure: "event", protocol.ConnectOpen.Procedure: "connection", protocol.NetworkCreate.Procedure: "lifecycle",
	} {
		if got := classOf(name); got != class {
			t.Errorf("%s: class %s, want %s", name.Name, got, class)
		}
	}
	for _, bad := range []rpc.Header{{}, {Program: protocol.RemoteProgram, Proc: -1}, {Program: protocol.RemoteProgram, Proc: 1 << 20}} {
		if allSeries[seriesOf(bad.Program, bad.Proc)].driver != "unknown" {
			t.Errorf("%v has a series", bad)
		}
	}
}

func TestOutcomesOfErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "ok"}, {failure(&call.Reply{}), "ok"}, {errors.New("x"), "error"}, {liberr.New(liberr.FromQemu, liberr.InternalError, "x"), "error"},
		{liberr.New(liberr.FromQemu, liberr.OperationTimeout, "x"), "timeout"}, {fmt.Errorf("y: %w", liberr.New(liberr.FromQemu, liberr.NoDomain, "x")), "not_found"},
		{call.Unsupported(protocol.DomainCreate.Procedure), "unsupported"}, {readOnlyError(protocol.DomainCreate.Procedure), "denied"},
	} {
		if got := resultNames[resultOf(c.err)]; got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

func TestCountingACallAllocatesNothing(t *testing.T) {
	w := start(t, nil)
	f := w.conf.Figures()
	var err error = liberr.New(liberr.FromQemu, liberr.NoDomain, "x")
	proc := protocol.DomainLookupByName
	f.served(proc.Program, proc.Number, time.Now(), nil)
	if n := testing.AllocsPerRun(100, func() { f.served(proc.Program, proc.Number, time.Now(), nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { f.served(proc.Program, proc.Number, time.Now(), err) }); n > 1 {
		t.Errorf("%v allocations for an error", n)
	}
}
