package branch

import (
	"strconv"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/supervisors"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Index is what a driver knows of the objects that it manages (domains, networks, pools), and the supervisor of their
// actors: one for each. The driver embeds it and calls its Receive first. Like all of a driver it is touched only
// inside Receive.
type Index[E Entry] struct {
	*supervisors.Children
	from   liberr.Domain
	kind   string
	system *lateSystem

	ByUUID map[protocol.UUID]E
	ByName map[string]E // the driver may enter names of its own, as one that a rename has reserved
	child  map[string]E
}

// Entry is a pointer to a structure that embeds Object and says what a driver answers of an object without asking it.
type Entry interface {
	comparable
	object() *Object
}

// Object is where an object is reached.
type Object struct {
	PID     *actor.PID // its actor, or what answers in its place
	Pending bool       // made for a definition that is not stored yet: nobody may see it
	child   string     // its name among the branch's children
}

func (o *Object) object() *Object { return o }

// NewIndex makes the empty index of objects of a kind ("domain"), whose errors are of the domain from.
func NewIndex[E Entry](env *Env, from liberr.Domain, kind string) *Index[E] {
	x := &Index[E]{
		from: from, kind: kind, system: &lateSystem{},
		ByUUID: map[protocol.UUID]E{}, ByName: map[string]E{}, child: map[string]E{},
	}
	x.Children = supervisors.NewChildren(supervisors.Config{
		Log: env.Log, Observer: x.system, Refuse: kit.Refuse, Domain: from, Props: kit.PropsOptions(), Changed: x.changed,
	})
	return x
}

// Receive takes what concerns supervision; it reports whether the message was for it alone.
func (x *Index[E]) Receive(ctx actor.Context) bool {
	if _, ok := ctx.Message().(*actor.Started); ok {
		x.system.Observer = kit.Observe(ctx.ActorSystem())
	}
	return x.Handle(ctx)
}

// Manage enters an object and starts its actor, which produce makes anew after each failure.
func (x *Index[E]) Manage(ctx actor.Context, e E, name string, uuid protocol.UUID, produce actor.Producer) error {
	child := uuid.String()
	for n := 2; x.taken(child); n++ { // a predecessor is still on its way out
		child = uuid.String() + "." + strconv.Itoa(n)
	}
	o := e.object()
	o.child = child
	x.child[child] = e
	pid, err := x.Start(ctx, supervisors.Child{Name: child, Props: kit.Props(produce, kit.Kind(x.kind))})
	if err != nil {
		delete(x.child, child)
		return liberr.New(x.from, liberr.InternalError, "cannot manage %s '%s'", x.kind, name).WithCause(err)
	}
	o.PID = pid
	x.ByUUID[uuid], x.ByName[name] = e, e
	return nil
}

func (x *Index[E]) taken(child string) bool {
	var none E
	_, state, _ := x.Lookup(child)
	return x.child[child] != none || state != supervisors.Gone && state != 0
}

// changed keeps the way to an object up to date: its actor may have been replaced, or somebody answers in its place.
func (x *Index[E]) changed(_ actor.Context, c supervisors.Change) {
	var none E
	if e := x.child[c.Name]; e != none && c.PID != nil {
		e.object().PID = c.PID
	}
}

// Find returns the object of a UUID, nil if there is none that may be seen.
func (x *Index[E]) Find(uuid protocol.UUID) E { return visible(x.ByUUID[uuid]) }

// FindName returns the object of a name, nil if there is none that may be seen.
func (x *Index[E]) FindName(name string) E { return visible(x.ByName[name]) }

func visible[E Entry](e E) (found E) {
	if e != found && !e.object().Pending {
		return e
	}
	return found
}

// Visible returns all objects that may be seen and fit, in no order.
func (x *Index[E]) Visible(fits func(E) bool) []E {
	all := make([]E, 0, len(x.ByUUID))
	for _, e := range x.ByUUID {
		if !e.object().Pending && fits(e) {
			all = append(all, e)
		}
	}
	return all
}

// Forget takes an object out and ends its actor; it returns nil if there is none.
func (x *Index[E]) Forget(ctx actor.Context, uuid protocol.UUID) E {
	e := x.ByUUID[uuid]
	var none E
	if e == none {
		return none
	}
	delete(x.ByUUID, uuid)
	for name, other := range x.ByName {
		if other == e {
			delete(x.ByName, name)
		}
	}
	delete(x.child, e.object().child)
	x.Stop(ctx, e.object().child)
	return e
}

// Forward passes a call on to an object, or answers it with the error.
func (x *Index[E]) Forward(ctx actor.Context, c *call.Call, e E, err error) {
	if err != nil {
		call.CloseFDs(c.FDs)
		call.NewRequest(ctx, c).Fail(err)
		return
	}
	ctx.Forward(e.object().PID)
}

// lateSystem sees into the actor system, which is not there yet when the branch is made.
type lateSystem struct{ supervisors.Observer }
