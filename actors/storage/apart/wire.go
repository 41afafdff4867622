package apart

import (
	"encoding/gob"
	"errors"

	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
)

// method is what a worker is asked to do.
type method int

const (
	cancel method = iota // what the call with this ID does
	active
	start
	stop
	build
	remove // the pool
	refresh
	look
	space
	tidy
	create
	clone
	removeVolume
	resize
	wipe
	open
)

// request is a call. Pool comes without its kind, which is named: kinds are tables of the program.
type request struct {
	ID             uint64
	Method         method
	Kind           string
	Run            string // backend.Host's
	Pool           *def.Pool
	Name           string
	Volume, Source *def.Volume
	Known          map[string]*def.Volume
	Flags          uint32
	Size           uint64
	Write          bool
}

// answer ends a call.
type answer struct {
	ID      uint64
	Err     *failure
	Yes     bool
	Content *backend.Content
	Same    []string // volumes of the refresh that are as they were
	Volume  *def.Volume
	Space   backend.Space
	File    bool // a descriptor comes over the other socket
}

// failure is a libvirt error on its way.
type failure struct {
	Error liberr.Error
	Cause string
}

func init() { gob.Register(backend.Identity{}) }

func wireError(err error) *failure {
	if err == nil {
		return nil
	}
	e := *liberr.From(liberr.FromStorage, err)
	f := &failure{}
	if e.Cause != nil {
		f.Cause = e.Cause.Error()
	}
	e.Cause = nil
	f.Error = e
	return f
}

func (f *failure) err() error {
	if f == nil {
		return nil
	}
	e := f.Error
	if f.Cause != "" {
		e.Cause = errors.New(f.Cause)
	}
	return &e
}

// withoutKind is a pool as it travels.
func withoutKind(p *def.Pool) *def.Pool {
	c := *p
	c.Kind = nil
	return &c
}
