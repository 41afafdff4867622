package kit

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/extensions"

	"virtree/supervisors"
)

// jobRegistry lists the running jobs of an actor system, for the tree's picture and for CancelJobs.
type jobRegistry struct {
	mu      sync.Mutex
	live    map[*Running]struct{}
	hold    func(why string) (release func())
	release func() // not nil exactly while hold was called
}

var jobsID = extensions.NextExtensionID()

func (*jobRegistry) ExtensionID() extensions.ExtensionID { return jobsID }

// jobsOf returns the registry that NewSystem attached.
func jobsOf(system *actor.ActorSystem) *jobRegistry {
	r, ok := system.Extensions.Get(jobsID).(*jobRegistry)
	if !ok {
		panic("kit: the actor system was not made by kit.NewSystem")
	}
	return r
}

// HoldForJobs calls hold when a job runs in the system, and what it returned when none does any more: for a process
// that must not take itself for idle meanwhile. It is called before the first actor is spawned.
func HoldForJobs(system *actor.ActorSystem, hold func(why string) (release func())) {
	jobsOf(system).hold = hold
}

func (r *jobRegistry) add(j *Running) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[j] = struct{}{}
	if r.hold != nil && r.release == nil {
		r.release = r.hold("jobs")
	}
}

func (r *jobRegistry) remove(j *Running) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, j)
	if r.release != nil && len(r.live) == 0 {
		r.release()
		r.release = nil
	}
}

func (r *jobRegistry) of(owner string) (jobs []*Running) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for j := range r.live {
		if j.owner == owner {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

func (r *jobRegistry) all() []supervisors.JobInfo {
	r.mu.Lock()
	jobs := make([]supervisors.JobInfo, 0, len(r.live))
	for j := range r.live {
		jobs = append(jobs, supervisors.JobInfo{Owner: j.owner, Name: j.Name, Since: time.Since(j.Since), Lost: j.lost.Load()})
	}
	r.mu.Unlock()
	slices.SortFunc(jobs, func(a, b supervisors.JobInfo) int {
		return strings.Compare(a.Owner+"\x00"+a.Name, b.Owner+"\x00"+b.Name)
	})
	return jobs
}
