package protocol

import (
	"errors"
	"fmt"
)

// Why a packet's header names nothing known.
var (
	ErrProgram   = errors.New("unknown program")
	ErrVersion   = errors.New("unknown program version")
	ErrProcedure = errors.New("unknown procedure")
)

// table holds one program's procedures by number.
type table struct {
	version uint32
	procs   []*Procedure
}

// tables and events are filled by the init functions of the generated files and constant afterwards.
var (
	tables = map[uint32]*table{}
	events = map[string][]EventID{}
)

func register(program, version uint32, procs ...*Procedure) {
	t := &table{version: version}
	for _, p := range procs {
		for int(p.Number) >= len(t.procs) {
			t.procs = append(t.procs, nil)
		}
		t.procs[p.Number] = p
	}
	tables[program] = t
}

func registerEvents(ids ...EventID) {
	for _, e := range ids {
		events[e.Object] = append(events[e.Object], e)
	}
}

// Lookup returns the descriptor for a packet header, or ErrProgram, ErrVersion, ErrProcedure.
func Lookup(program, version uint32, number int32) (*Procedure, error) {
	t := tables[program]
	switch {
	case t == nil:
		return nil, fmt.Errorf("%w %#x", ErrProgram, program)
	case t.version != version:
		return nil, fmt.Errorf("%w %d of %#x", ErrVersion, version, program)
	case number < 0 || int(number) >= len(t.procs) || t.procs[number] == nil:
		return nil, fmt.Errorf("%w: %d", ErrProcedure, number)
	}
	return t.procs[number], nil
}

// Procedures returns all descriptors of a program, by number.
func Procedures(program uint32) []*Procedure {
	var out []*Procedure
	if t := tables[program]; t != nil {
		for _, p := range t.procs {
			if p != nil {
				out = append(out, p)
			}
		}
	}
	return out
}

// LookupEvent returns the event with this id of an object kind (domain, network, storage_pool,
// node_device, secret).
func LookupEvent(object string, id int32) (EventID, bool) {
	for _, e := range events[object] {
		if e.ID == id {
			return e, true
		}
	}
	return EventID{}, false
}
