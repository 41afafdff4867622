package remoting

import (
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// Registry knows the message types that may cross a socket, by name and version. The position of
// a type is its number on every link, so types are registered before Start, from init functions as a rule.
type Registry struct {
	mu     sync.Mutex
	types  atomic.Pointer[[]*messageType] // append-only, replaced under mu
	byType sync.Map                       // reflect.Type -> *messageType
	byName map[string]*messageType        // under mu
}

type messageType struct {
	id      uint64 // position in Registry.types
	name    string
	version int
	goType  reflect.Type // what actors see: *T or T
	elem    reflect.Type // T
	pointer bool
	binary  bool // Appender and Decoder
}

var defaultRegistry = NewRegistry()

// NewRegistry makes a registry that knows only the framework's own messages. The daemons use the package-level
// Register; a registry of its own is for a process that plays two peers.
func NewRegistry() *Registry {
	r := &Registry{byName: map[string]*messageType{}}
	r.types.Store(&[]*messageType{})
	r.Register("remoting.Failure", 1, (*Failure)(nil))
	r.Register("actor.PoisonPill", 1, (*actor.PoisonPill)(nil))
	r.Register("actor.Touch", 1, (*actor.Touch)(nil))
	r.Register("actor.Touched", 1, (*actor.Touched)(nil))
	r.Register("actor.DeadLetterResponse", 1, (*actor.DeadLetterResponse)(nil))
	return r
}

// Register adds a message type to the registry that Start uses when the options name no other.
func Register(name string, version int, prototype any) {
	defaultRegistry.Register(name, version, prototype)
}

// Register adds a message type. The prototype's type is the one that actors send and receive, a pointer
// like (*Call)(nil) as a rule. The version goes up when the encoding changes: two peers with different
// versions of a type refuse that type's messages, and nothing else. Registering a name or a type twice
// is a mistake of the program, and panics.
func (r *Registry) Register(name string, version int, prototype any) {
	goType := reflect.TypeOf(prototype)
	if goType == nil || name == "" {
		panic("remoting: Register needs a name and a typed prototype")
	}
	t := &messageType{name: name, version: version, goType: goType, elem: goType}
	if goType.Kind() == reflect.Pointer {
		t.pointer, t.elem = true, goType.Elem()
	}
	_, appends := reflect.New(t.elem).Interface().(Appender)
	_, decodes := reflect.New(t.elem).Interface().(Decoder)
	if appends != decodes {
		panic(fmt.Sprintf("remoting: %s has only one of AppendRemoting and DecodeRemoting", goType))
	}
	t.binary = appends

	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.byType.Load(goType); taken || r.byName[name] != nil {
		panic(fmt.Sprintf("remoting: %q (%s) is registered twice", name, goType))
	}
	old := *r.types.Load()
	t.id = uint64(len(old))
	types := append(old[:len(old):len(old)], t)
	r.types.Store(&types)
	r.byName[name] = t
	r.byType.Store(goType, t)
}

func (r *Registry) lookup(msg any) *messageType {
	t, ok := r.byType.Load(reflect.TypeOf(msg))
	if !ok {
		return nil
	}
	return t.(*messageType)
}

// peerType is what a number in a peer's frames stands for. Either local is set, or refusal.
type peerType struct {
	local   *messageType
	refusal *Failure
}

// typeName is one entry of a hello.
type typeName struct {
	_msgpack struct{} `msgpack:",as_array"` //lint:ignore U1000 read by the library through reflection
	Name     string
	Version  int
}

func (r *Registry) names() []typeName {
	types := *r.types.Load()
	names := make([]typeName, len(types))
	for i, t := range types {
		names[i] = typeName{Name: t.name, Version: t.version}
	}
	return names
}

// match translates a peer's list of types into ours.
func (r *Registry) match(names []typeName) []peerType {
	r.mu.Lock()
	defer r.mu.Unlock()
	matched := make([]peerType, len(names))
	for i, n := range names {
		switch t := r.byName[n.Name]; {
		case t == nil:
			matched[i].refusal = failure(UnknownType, "message type %q is unknown to the peer", n.Name)
		case t.version != n.Version:
			matched[i].refusal = failure(TypeVersion, "message type %q has version %d here and %d at the peer", n.Name, n.Version, t.version)
		default:
			matched[i].local = t
		}
	}
	return matched
}
