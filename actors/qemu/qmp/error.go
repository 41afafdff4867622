package qmp

import (
	"errors"
	"fmt"
)

// Classes of errors that QEMU sends. GenericError stands for everything without one of its own.
const (
	ClassGeneric         = "GenericError"
	ClassCommandNotFound = "CommandNotFound"
	ClassDeviceNotActive = "DeviceNotActive"
	ClassDeviceNotFound  = "DeviceNotFound"
	ClassKVMMissingCap   = "KVMMissingCap"
)

// ErrBusy: the queue of commands is full, QEMU does not keep up or does not answer at all.
var ErrBusy = errors.New("QMP command queue is full")

// ErrClosed: the connection ended before the reply came, or before the command was sent.
var ErrClosed = errors.New("QMP connection is closed")

// Error is QEMU's refusal of a command.
type Error struct {
	Command string `json:"-"`
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

// Error gives libvirt's sentence, to be the detail of an internal error.
func (e *Error) Error() string {
	if e.Desc == "" {
		return fmt.Sprintf("unable to execute QEMU command '%s'", e.Command)
	}
	return fmt.Sprintf("unable to execute QEMU command '%s': %s", e.Command, e.Desc)
}

// IsClass says whether err is QEMU's refusal with the class.
func IsClass(err error, class string) bool {
	var e *Error
	return errors.As(err, &e) && e.Class == class
}

// ProtocolError: the peer does not speak QMP. The connection is over.
type ProtocolError struct {
	What string
	Line string // the offending text, shortened
}

func (e *ProtocolError) Error() string {
	if e.Line == "" {
		return "QMP: " + e.What
	}
	return fmt.Sprintf("QMP: %s: %q", e.What, e.Line)
}

func protocolError(line []byte, format string, args ...any) *ProtocolError {
	const enough = 120
	if len(line) > enough {
		line = line[:enough]
	}
	return &ProtocolError{What: fmt.Sprintf(format, args...), Line: string(line)}
}

// closedError is what a call gets whose connection ended: Is ErrClosed, and unwraps to the cause.
type closedError struct{ cause error }

func (e *closedError) Error() string { return ErrClosed.Error() + ": " + e.cause.Error() }
func (e *closedError) Unwrap() []error {
	return []error{ErrClosed, e.cause}
}
