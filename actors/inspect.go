package actors

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/fault"
	"virtree/actors/internal/kit"
	"virtree/supervisors"
	"virtree/wire/remoting"
)

// The inspector is the actor of every process of the tree that tells what runs in it, to `virtree tree` and its like. It
// stands outside the tree, so that it answers when branches do not, and it asks nobody: what it shows is published by
// mailboxes and supervisors.
//
//	Describe --> look (a job) --> Described     all that ask meanwhile share one look
//	Metrics  --> page (a job) --> MetricsText   likewise; see inspect_metrics_http.go for scrapes
//	Troubles -------------------> TroubleList
//	MakeFault, Release ---------> Outcome

// InspectorName is the id of the inspector in each process.
const InspectorName = "inspect"

// Messages of the inspector; they cross process borders.
type (
	// Describe asks for the picture of the process.
	Describe struct{}
	// Described is its answer: a Process as JSON.
	Described struct{ Process []byte }
	// Troubles asks for what went wrong lately. Process.Troubles says whether that has changed.
	Troubles struct{}
	// TroubleList is its answer: a []supervisors.Trouble as JSON, oldest first.
	TroubleList struct{ Troubles []byte }
	// Metrics asks for the figures of the process.
	Metrics struct{}
	// MetricsText is its answer, in the Prometheus text format.
	MetricsText struct{ Text []byte }
	// MakeFault asks for trouble in one actor; see package fault for the kinds.
	MakeFault struct {
		ID    string // of the actor
		Kind  string
		For   time.Duration
		Times int
	}
	// Release asks to try an actor again that was quarantined.
	Release struct{ ID string }
	// Outcome answers MakeFault and Release.
	Outcome struct {
		Refused bool   // the process was not started with --allow-faults
		Error   string // empty: done
	}
)

func init() {
	remoting.Register("inspect.Describe", 1, (*Describe)(nil))
	remoting.Register("inspect.Described", 1, (*Described)(nil))
	remoting.Register("inspect.Troubles", 1, (*Troubles)(nil))
	remoting.Register("inspect.TroubleList", 1, (*TroubleList)(nil))
	remoting.Register("inspect.Metrics", 1, (*Metrics)(nil))
	remoting.Register("inspect.MetricsText", 1, (*MetricsText)(nil))
	remoting.Register("inspect.MakeFault", 1, (*MakeFault)(nil))
	remoting.Register("inspect.Release", 1, (*Release)(nil))
	remoting.Register("inspect.Outcome", 1, (*Outcome)(nil))
}

// Urgent: who looks does not queue behind those who looked before.
func (*Describe) Urgent() bool { return true }

// Urgent as Describe is.
func (*Troubles) Urgent() bool { return true }

// inspector belongs to its Receive but for look and figures, which its jobs may use.
type inspector struct {
	look    lookout
	faults  bool
	log     zerolog.Logger
	figures *figures
	askers  map[string][]*actor.PID // who waits for a job under way, by its name
}

// lookLimit is far more than a look takes; a process that is out of descriptors or memory must not pile them up.
const lookLimit = 10 * time.Second

// startInspector lets others look into this process.
func (d *daemon) startInspector() error {
	look := lookout{system: d.system, clients: &d.clients, daemon: d.kind.daemon, tree: d.tree, node: d.node, observer: kit.Observe(d.system), faults: d.opts.Faults}
	if d.opts.Split {
		look.daemon = "virtree"
	}
	figures := newFigures() // they count from the start of the process, whatever happens to the actor
	figures.sources = &d.sources
	d.enterFigures()
	_, err := d.system.Root.SpawnNamed(kit.Props(func() actor.Actor {
		return &inspector{look: look, faults: d.opts.Faults, log: d.log, figures: figures, askers: map[string][]*actor.PID{}}
	}, kit.Kind("inspector")), InspectorName)
	d.scraper = newScraper(d, look, figures)
	return err
}

// Receive is the inspector's table of contents.
func (i *inspector) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *Describe:
		i.see(ctx, lookJob)
	case *Troubles:
		ctx.Respond(troubleList(ctx.ActorSystem()))
	case *Metrics:
		i.see(ctx, pageJob)
	case *kit.Done[any]:
		i.saw(ctx, m)
	case *MakeFault:
		i.makeFault(ctx, m)
	case *Release:
		ctx.Respond(i.release(ctx, m.ID))
	case *actor.Started:
	case *actor.Stopping, *actor.Restarting:
		kit.CancelJobs(ctx)
	default:
		kit.Unhandled(ctx, m)
	}
}

func troubleList(system *actor.ActorSystem) any {
	all, _ := supervisors.Troubles(system)
	b, err := json.Marshal(all)
	if err != nil {
		return &Outcome{Error: err.Error()}
	}
	return &TroubleList{b}
}

// The inspector's jobs. What takes time, and a page may, is none of Receive's.
const (
	lookJob = "look" // for who wants the picture
	pageJob = "page" // for who wants the figures
)

// see adds somebody to those who wait for a job's answer, and starts the job if it does not run.
func (i *inspector) see(ctx actor.Context, job string) {
	i.askers[job] = append(i.askers[job], ctx.Sender())
	if len(i.askers[job]) > 1 {
		return
	}
	kit.Job[any]{Name: job, Timeout: lookLimit, Run: func(context.Context, *kit.Undo) (any, error) {
		if job == pageJob {
			text, err := i.figures.text(i.look.process())
			return &MetricsText{text}, err
		}
		b, err := json.Marshal(i.look.process())
		return &Described{b}, err
	}}.Start(ctx)
}

// saw answers all who waited for a job.
func (i *inspector) saw(ctx actor.Context, m *kit.Done[any]) {
	answer := m.Value
	if m.Err != nil {
		answer = &Outcome{Error: m.Err.Error()}
	}
	for _, who := range i.askers[m.Name] {
		if who != nil {
			ctx.Send(who, answer)
		}
	}
	delete(i.askers, m.Name)
}

// makeFault does as told when it may. A flood takes a moment to send, hence the goroutine; its answer is a message.
func (i *inspector) makeFault(ctx actor.Context, m *MakeFault) {
	who, system := ctx.Sender(), ctx.ActorSystem()
	if !i.faults {
		ctx.Respond(&Outcome{Refused: true, Error: i.look.daemon + " was not started with --allow-faults"})
		return
	}
	i.log.Warn().Str("actor", m.ID).Str("fault", m.Kind).Dur("for", m.For).Int("times", m.Times).Msg("fault injected on request")
	go func() {
		out := &Outcome{}
		if err := fault.Inject(system, m.ID, fault.Order{Kind: m.Kind, For: m.For, Times: m.Times}); err != nil {
			out.Error = err.Error()
		}
		if who != nil {
			system.Root.Send(who, out)
		}
	}()
}

// release sends word to the supervisor of a quarantined actor. That it was heard shows in the next picture.
func (i *inspector) release(ctx actor.Context, id string) *Outcome {
	node := i.look.tree.Collect().Find(id)
	if node == nil {
		return &Outcome{Error: fmt.Sprintf("there is no actor %q", id)}
	}
	if node.State != "quarantined" {
		return &Outcome{Error: fmt.Sprintf("%s is not quarantined, but %s", id, node.State)}
	}
	cut := strings.LastIndexByte(id, '/')
	if cut < 0 {
		return &Outcome{Error: fmt.Sprintf("%s has no supervisor", id)}
	}
	parent, name := id[:cut], withoutLives(id[cut+1:])
	if parent == supervisors.RootName {
		i.look.tree.Wake(name) // also starts the process of a branch again
	} else {
		ctx.Send(actor.NewPID(ctx.ActorSystem().Address(), parent), &supervisors.Release{Name: name})
	}
	return &Outcome{}
}
