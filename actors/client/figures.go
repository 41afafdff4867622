package client

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"virtree/actors/internal/metrics"
	"virtree/sockets"
	"virtree/wire/liberr"
	"virtree/wire/meter"
	"virtree/wire/protocol"
)

// Figures count what a server's clients do. Its clients' actors write them as they work, and a scrape reads them: all is
// atomic, and a call costs two readings of the clock and three additions.
//
// Calls are told apart by the driver that serves them and by class, of which there are a few dozen pairs, and not by
// procedure, of which there are 500.
type Figures struct {
	server      string
	inFlight    *atomic.Int64
	calls       []atomic.Pointer[callFigures] // by series; nil until the first such call
	unanswered  atomic.Uint64
	clients     [transports]atomic.Int64
	connections [transports]atomic.Uint64
	events      atomic.Uint64
	dropped     atomic.Uint64
}

type callFigures struct {
	took    meter.Histogram
	results [results]atomic.Uint64
}

const transports = int(sockets.TLS) + 1

// newFigures makes the figures of a server.
func newFigures(server string, inFlight *atomic.Int64) *Figures {
	return &Figures{server: server, inFlight: inFlight, calls: make([]atomic.Pointer[callFigures], len(allSeries))}
}

// served counts a call that was answered: err is what the client was told, nil a result.
func (f *Figures) served(program uint32, number int32, since time.Time, err error) {
	at := &f.calls[seriesOf(program, number)]
	c := at.Load()
	if c == nil {
		at.CompareAndSwap(nil, &callFigures{})
		c = at.Load()
	}
	c.took.Observe(time.Since(since))
	c.results[resultOf(err)].Add(1)
}

// The outcomes of calls, as far as an operator wants them apart.
const (
	resultOK = iota
	resultNotFound
	resultDenied
	resultUnsupported
	resultTimeout
	resultError
	results
)

var resultNames = [results]string{"ok", "not_found", "denied", "unsupported", "timeout", "error"}

func resultOf(err error) int {
	if err == nil {
		return resultOK
	}
	var e *liberr.Error
	if !errors.As(err, &e) {
		return resultError
	}
	switch e.Code {
	case liberr.NoDomain, liberr.NoNetwork, liberr.NoStoragePool, liberr.NoStorageVol, liberr.NoNodeDevice, liberr.NoInterface,
		liberr.NoNwfilter, liberr.NoNwfilterBinding, liberr.NoSecret, liberr.NoNetworkPort, liberr.NoDomainSnapshot,
		liberr.NoDomainCheckpoint, liberr.NoDomainBackup, liberr.NoDomainMetadata, liberr.NoServer, liberr.NoClient:
		return resultNotFound
	case liberr.OperationDenied, liberr.AccessDenied, liberr.AuthFailed, liberr.AuthCancelled, liberr.AuthUnavailable:
		return resultDenied
	case liberr.NoSupportCode, liberr.ArgumentUnsupported, liberr.OperationUnsupported, liberr.ConfigUnsupported:
		return resultUnsupported
	case liberr.OperationTimeout, liberr.AgentUnresponsive:
		return resultTimeout
	}
	return resultError
}

// series is what calls are counted by.
type series struct{ driver, class string }

var (
	allSeries []series
	programs  []programSeries // the one of nearly all calls first
)

// programSeries says by a procedure's number which series it belongs to.
type programSeries struct {
	program  uint32
	byNumber []uint8
}

func init() {
	allSeries = []series{{"unknown", "unknown"}} // what a header names that is no procedure
	for _, program := range []uint32{protocol.RemoteProgram, protocol.QemuProgram, protocol.LxcProgram, protocol.AdminProgram, protocol.LogProgram, protocol.LockProgram} {
		ps := programSeries{program: program}
		for _, p := range protocol.Procedures(program) {
			s := series{p.Driver, classOf(p)}
			i := slices.Index(allSeries, s)
			if i < 0 {
				i = len(allSeries)
				allSeries = append(allSeries, s)
			}
			for len(ps.byNumber) <= int(p.Number) {
				ps.byNumber = append(ps.byNumber, 0)
			}
			ps.byNumber[p.Number] = uint8(i)
		}
		programs = append(programs, ps)
	}
}

func seriesOf(program uint32, number int32) uint8 {
	for i := range programs {
		if p := &programs[i]; p.program == program && number >= 0 && int(number) < len(p.byNumber) {
			return p.byNumber[number]
		}
	}
	return 0
}

// lifePermissions are those of calls that start, stop, move or save a guest or another object.
var lifePermissions = []string{"start", "stop", "suspend", "reset", "init_control", "pm_control", "hibernate", "migrate", "core_dump"}

// classOf sorts a procedure by what its caller may expect of it.
func classOf(p *protocol.Procedure) string {
	switch {
	case strings.Contains(p.Name, "EVENT_REGISTER"), strings.Contains(p.Name, "EVENT_DEREGISTER"), strings.Contains(p.Name, "CALLBACK_"):
		return "event" // subscribe to events
	case p.Driver == "connection" || p.NoAuth:
		return "connection" // open, close, authenticate
	case p.Kind.Stream():
		return "stream" // until the stream is open
	case slices.ContainsFunc(p.ACL, func(r protocol.ACLRule) bool { return slices.Contains(lifePermissions, r.Perm) }):
		return "lifecycle"
	case p.ReadOnly == protocol.ReadOnlyRefused:
		return "modify"
	case p.Priority:
		return "lookup" // answered from what is known, whatever guests do
	}
	return "query" // may ask a guest or the host
}

var transportNames = [transports]string{"unix", "unix-ro", "unix-admin", "tcp", "tls"}

// WriteFigures writes what the clients of a process's servers did.
func WriteFigures(p *metrics.Page, servers []*Figures) {
	each := func(name string, kind metrics.Kind, help string, write func(f *Figures)) {
		p.Family(name, kind, help)
		for _, f := range servers {
			write(f)
		}
	}
	bySeries := func(f *Figures, write func(s series, c *callFigures)) {
		for i := range f.calls {
			if c := f.calls[i].Load(); c != nil {
				write(allSeries[i], c)
			}
		}
	}
	each("virtree_calls_total", metrics.Counter, "Calls that were answered, by the driver and the class of the procedure, and by outcome.", func(f *Figures) {
		bySeries(f, func(s series, c *callFigures) {
			for r := range c.results {
				if n := c.results[r].Load(); n > 0 {
					p.Count(n, "class", s.class, "driver", s.driver, "result", resultNames[r], "server", f.server)
				}
			}
		})
	})
	each("virtree_call_duration_seconds", metrics.Histogram, "From the arrival of a call to its answer.", func(f *Figures) {
		bySeries(f, func(s series, c *callFigures) {
			p.Durations(c.took.Read(), "class", s.class, "driver", s.driver, "server", f.server)
		})
	})
	each("virtree_calls_in_flight", metrics.Gauge, "Calls that drivers work on for clients.", func(f *Figures) {
		p.Value(float64(f.inFlight.Load()), "server", f.server)
	})
	each("virtree_calls_unanswered_total", metrics.Counter, "Calls whose client was gone before the answer.", func(f *Figures) {
		p.Count(f.unanswered.Load(), "server", f.server)
	})
	byTransport := func(f *Figures, write func(i int, transport string)) {
		for i, name := range transportNames {
			if f.connections[i].Load() > 0 {
				write(i, name)
			}
		}
	}
	each("virtree_clients", metrics.Gauge, "Connected clients.", func(f *Figures) {
		byTransport(f, func(i int, t string) { p.Value(float64(f.clients[i].Load()), "server", f.server, "transport", t) })
	})
	each("virtree_client_connections_total", metrics.Counter, "Clients that were let in.", func(f *Figures) {
		byTransport(f, func(i int, t string) { p.Count(f.connections[i].Load(), "server", f.server, "transport", t) })
	})
	each("virtree_client_events_total", metrics.Counter, "Events that were sent to clients, one for each callback.", func(f *Figures) {
		p.Count(f.events.Load(), "server", f.server)
	})
	each("virtree_client_events_dropped_total", metrics.Counter, "Events that a client did not read in time, which ended its connection.", func(f *Figures) {
		p.Count(f.dropped.Load(), "server", f.server)
	})
}

// joined and left count clients by the way they came.
func (f *Figures) joined(k sockets.Kind) {
	i := min(max(int(k), 0), transports-1)
	f.clients[i].Add(1)
	f.connections[i].Add(1)
}

func (f *Figures) left(k sockets.Kind) { f.clients[min(max(int(k), 0), transports-1)].Add(-1) }

// none forgets the clients of a server that was restarted, which took them along.
func (f *Figures) none() {
	for i := range f.clients {
		f.clients[i].Store(0)
	}
}
