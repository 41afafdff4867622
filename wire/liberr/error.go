package liberr

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Level is virErrorLevel.
type Level int32

// Domain is virErrorDomain: the part of libvirt an error comes from.
type Domain int32

// Code is virErrorNumber. It is an error itself, so that errors.Is(err, liberr.NoDomain) works.
type Code int32

// Error returns the code's own sentence.
func (c Code) Error() string {
	if s, ok := sentences[c]; ok {
		return s[0]
	}
	return fmt.Sprintf("unknown error %d", int32(c))
}

// Error is one libvirt error. Message is complete, as a client prints it.
type Error struct {
	Code    Code
	Domain  Domain
	Level   Level
	Message string

	// Str1 to Int2 are virError's extra fields. libvirt's daemons put the format of the sentence in Str1
	// and the detail in Str2; clients show none of them.
	Str1, Str2, Str3 string
	Int1, Int2       int32

	// Op and Cause never leave the daemon.
	Op    string // what failed, such as "qemu.Suspend"
	Cause error
}

// Error returns the message, prefixed with the operation when there is one.
func (e *Error) Error() string {
	if e.Op != "" {
		return e.Op + ": " + e.Message
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether target is the error's code.
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && c == e.Code
}

// New composes the code's sentence with a detail, in libvirt's form: NoDomain with the detail
// "no domain with matching name 'x'" reads "Domain not found: no domain with matching name 'x'".
func New(domain Domain, code Code, format string, args ...any) *Error {
	detail := fmt.Sprintf(format, args...)
	form := "%s"
	if s, ok := sentences[code]; ok {
		form = s[1]
	}
	return &Error{
		Code: code, Domain: domain, Level: LevelError,
		Message: strings.Replace(form, "%s", detail, 1), Str1: form, Str2: detail, Int1: -1, Int2: -1,
	}
}

// Plain is an error whose message is the code's sentence alone.
func Plain(domain Domain, code Code) *Error {
	return &Error{Code: code, Domain: domain, Level: LevelError, Message: code.Error(), Str1: code.Error(), Int1: -1, Int2: -1}
}

// Raw is an error with a message of its own.
func Raw(domain Domain, code Code, message string) *Error {
	return &Error{Code: code, Domain: domain, Level: LevelError, Message: message, Str1: "%s", Str2: message, Int1: -1, Int2: -1}
}

// System is VIR_ERR_SYSTEM_ERROR, which reads "detail: the error's text" like virReportSystemError.
func System(domain Domain, cause error, format string, args ...any) *Error {
	e := New(domain, SystemError, "%s: %s", fmt.Sprintf(format, args...), Errno(cause))
	e.Cause = cause
	var n syscall.Errno
	if errors.As(cause, &n) {
		e.Int1 = int32(n)
	}
	return e
}

// NoSupport is the answer to a procedure the driver does not implement; api is libvirt's function name.
func NoSupport(domain Domain, api string) *Error {
	return New(domain, NoSupportCode, "%s", api)
}

// From returns err as a libvirt error: as it is when it is one already, else as an internal error of
// the given domain that reads like err.
func From(domain Domain, err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	e = New(domain, InternalError, "%s", err.Error())
	e.Cause = err
	return e
}

// WithCause returns e with a cause to be logged.
func (e *Error) WithCause(err error) *Error {
	e.Cause = err
	return e
}

// WithOp returns e with the name of the operation, unless it has one.
func (e *Error) WithOp(op string) *Error {
	if e.Op == "" {
		e.Op = op
	}
	return e
}
