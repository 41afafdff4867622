package mailbox

import (
	"slices"
	"strings"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/extensions"
)

// Registry lists the live mailboxes of one actor system. Attach it before the first spawn.
type Registry struct {
	mu   sync.Mutex
	live map[*Mailbox]struct{}
}

var extensionID = extensions.NextExtensionID()

// ExtensionID implements protoactor's extensions.Extension.
func (r *Registry) ExtensionID() extensions.ExtensionID { return extensionID }

// Attach gives a system its registry, or returns the one it has.
func Attach(system *actor.ActorSystem) *Registry {
	if r := RegistryOf(system); r != nil {
		return r
	}
	r := &Registry{live: make(map[*Mailbox]struct{})}
	system.Extensions.Register(r)
	return r
}

// RegistryOf returns the registry of a system, nil when none was attached.
func RegistryOf(system *actor.ActorSystem) *Registry {
	r, _ := system.Extensions.Get(extensionID).(*Registry)
	return r
}

func (m *Mailbox) register() {
	if m.system == nil {
		return
	}
	if r := RegistryOf(m.system); r != nil {
		r.mu.Lock()
		r.live[m] = struct{}{}
		r.mu.Unlock()
	}
}

func (m *Mailbox) unregister() {
	if r := RegistryOf(m.system); r != nil {
		r.mu.Lock()
		delete(r.live, m)
		r.mu.Unlock()
	}
}

// Len is the number of live actors.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.live)
}

// All returns the live mailboxes in no order. What it returns may stop at any moment; its Stats stay readable.
func (r *Registry) All() []*Mailbox {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Mailbox, 0, len(r.live))
	for m := range r.live {
		all = append(all, m)
	}
	return all
}

// Busy appends to into the mailboxes whose actors are in a message, in no order.
func (r *Registry) Busy(into []*Mailbox) []*Mailbox {
	r.mu.Lock()
	defer r.mu.Unlock()
	for m := range r.live {
		m.mu.Lock()
		if m.current != nil {
			into = append(into, m)
		}
		m.mu.Unlock()
	}
	return into
}

// Sorted returns the live mailboxes by id: parents before their children.
func (r *Registry) Sorted() []*Mailbox {
	all := r.All()
	slices.SortFunc(all, func(a, b *Mailbox) int { return strings.Compare(a.self.Id, b.self.Id) })
	return all
}

// Find returns the mailbox of a live actor by its id ("root/qemu").
func (r *Registry) Find(id string) *Mailbox {
	r.mu.Lock()
	defer r.mu.Unlock()
	for m := range r.live {
		if m.self.Id == id {
			return m
		}
	}
	return nil
}

// Below returns the mailboxes of all actors under id, at any depth.
func (r *Registry) Below(id string) []*Mailbox {
	all := r.All()
	return slices.DeleteFunc(all, func(m *Mailbox) bool { return !below(m.self.Id, id) })
}
