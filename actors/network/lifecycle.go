package network

import (
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// life is whether a network is defined and whether it is active. Nothing is left when it is neither.
//
//	          define                start
//	(nothing) ------> persistent  ------->  persistent, active
//	   |  ^                ^      <-------       |   ^
//	   |  | undefine       |      destroy        |   | define
//	   |  +----------------+                     v   |
//	   |  destroy                     undefine   |   |
//	   +---------> active <----------------------+   |
//	     create       +------------------------------+
type life struct{ persistent, active bool }

// order is what somebody asks of a network.
type order uint8

const (
	orderDefine order = iota
	orderUndefine
	orderCreate // give it a transient definition and start it
	orderStart
	orderDestroy
)

// on is the state machine: what an order makes of a life and the event that clients hear of it; or why it is refused.
func (l life) on(o order, name string) (life, int32, error) {
	switch o {
	case orderDefine:
		l.persistent = true
		return l, virt.NetworkEventDefined, nil
	case orderUndefine:
		if !l.persistent {
			return l, 0, liberr.New(from, liberr.OperationInvalid, "can't undefine transient network")
		}
		l.persistent = false
		return l, virt.NetworkEventUndefined, nil
	case orderCreate:
		if l.active {
			return l, 0, liberr.New(from, liberr.OperationInvalid, "network is already active as '%s'", name)
		}
		l.active = true
		return l, virt.NetworkEventStarted, nil
	case orderStart:
		if l.active {
			return l, 0, liberr.New(from, liberr.OperationInvalid, "network is already active")
		}
		l.active = true
		return l, virt.NetworkEventStarted, nil
	}
	if !l.active {
		return l, 0, liberr.New(from, liberr.OperationInvalid, "network '%s' is not active", name)
	}
	l.active = false
	return l, virt.NetworkEventStopped, nil
}
