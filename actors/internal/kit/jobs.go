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
	mu   sync.Mutex
	live map[*Running]struct{}
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

func (r *jobRegistry) add(j *Running) {
	r.mu.Lock()
	r.live[j] = struct{}{}
	r.mu.Unlock()
}

func (r *jobRegistry) remove(j *Running) {
	r.mu.Lock()
	delete(r.live, j)
	r.mu.Unlock()
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
