package polkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/godbus/dbus/v5"

	"virtree/wire/liberr"
)

// Actions of the sockets.
const (
	Manage  = "org.libvirt.unix.manage"  // read-write
	Monitor = "org.libvirt.unix.monitor" // read-only
)

// Subject is the process that asks. Its start time makes sure that polkit judges the process that connected and not a later
// one with the same number.
type Subject struct {
	PID       int32
	StartTime uint64
	UID       uint32
}

// Checker decides. The answer is nil for yes, else a *liberr.Error with one of the codes
//
//	AuthFailed       no: by policy, or after a wrong password
//	AuthCancelled    the user closed the dialog
//	AuthUnavailable  it takes a password, and nobody is there to ask for it
type Checker interface {
	// Check asks for one action. Details describe its object to the policy (domain_name, ...). With interactive the user may
	// be asked for a password.
	Check(ctx context.Context, action string, who Subject, details map[string]string, interactive bool) error
}

const (
	authorityName  = "org.freedesktop.PolicyKit1"
	authorityPath  = "/org/freedesktop/PolicyKit1/Authority"
	checkMethod    = "org.freedesktop.PolicyKit1.Authority.CheckAuthorization"
	cancelMethod   = "org.freedesktop.PolicyKit1.Authority.CancelCheckAuthorization"
	allowQuestions = uint32(1) // CheckAuthorizationFlags
)

// Authority is the polkit daemon. The zero value uses the system bus.
type Authority struct {
	// Address of the bus, "" for the system's.
	Address string

	mu     sync.Mutex
	bus    *dbus.Conn
	serial atomic.Uint64
}

// subject is polkit's (sa{sv}).
type subject struct {
	Kind    string
	Details map[string]dbus.Variant
}

// result is polkit's (bba{ss}).
type result struct {
	Authorized, Challenge bool
	Details               map[string]string
}

// Check implements Checker.
func (a *Authority) Check(ctx context.Context, action string, who Subject, details map[string]string, interactive bool) error {
	bus, err := a.connection()
	if err != nil {
		return liberr.New(liberr.FromDbus, liberr.InternalError, "Unable to get DBus system bus connection: %s", err).WithCause(err)
	}
	if details == nil {
		details = map[string]string{}
	}
	var flags uint32
	if interactive {
		flags = allowQuestions
	}
	// An id makes the question withdrawable. It is unique per connection to the bus.
	id := fmt.Sprintf("virtree-%d", a.serial.Add(1))
	process := subject{"unix-process", map[string]dbus.Variant{
		"pid": dbus.MakeVariant(uint32(who.PID)), "start-time": dbus.MakeVariant(who.StartTime), "uid": dbus.MakeVariant(int32(who.UID)),
	}}
	authority := bus.Object(authorityName, authorityPath)
	var r result
	err = authority.CallWithContext(ctx, checkMethod, 0, process, action, details, flags, id).Store(&r)
	if err != nil {
		if ctx.Err() != nil {
			// Nobody waits for the answer: close the dialog, too.
			authority.Go(cancelMethod, dbus.FlagNoReplyExpected, nil, id)
			return ctx.Err()
		}
		a.dropIfDead(bus)
		return liberr.New(liberr.FromDbus, liberr.DbusService, "%s: %s", checkMethod, err).WithCause(err)
	}
	return r.verdict(action)
}

// verdict words a refusal as libvirt does.
func (r result) verdict(action string) error {
	switch {
	case r.Authorized:
		return nil
	case r.Details["polkit.dismissed"] == "true":
		return liberr.New(liberr.FromPolkit, liberr.AuthCancelled, "%s", "user cancelled authentication process")
	case r.Challenge:
		return liberr.New(liberr.FromPolkit, liberr.AuthUnavailable, "no polkit agent available to authenticate action '%s'", action)
	}
	return liberr.New(liberr.FromPolkit, liberr.AuthFailed, "%s", "access denied by policy")
}

func (a *Authority) connection() (*dbus.Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bus != nil && a.bus.Connected() {
		return a.bus, nil
	}
	var err error
	if a.Address == "" {
		a.bus, err = dbus.ConnectSystemBus()
	} else {
		a.bus, err = dbus.Connect(a.Address)
	}
	return a.bus, err
}

func (a *Authority) dropIfDead(bus *dbus.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bus == bus && !bus.Connected() {
		a.bus = nil
	}
}

// Close ends the connection to the bus.
func (a *Authority) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bus == nil {
		return nil
	}
	err := a.bus.Close()
	a.bus = nil
	if errors.Is(err, dbus.ErrClosed) {
		return nil
	}
	return err
}
