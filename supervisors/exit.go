package supervisors

import "errors"

// ExitCode tells a service manager how a daemon ended. Restart=on-failure starts it again after each but ExitOK.
type ExitCode int

// The first twelve are libvirt's own, so that what greps for them goes on working; above 64 is sysexits.h.
const (
	ExitOK      ExitCode = 0
	ExitPIDFile ExitCode = 1  // another one runs, or the file cannot be written
	ExitRunDir  ExitCode = 2  // the run-time folder cannot be made
	ExitInit    ExitCode = 3  // anything else at start
	ExitSignal  ExitCode = 4  // signal handlers
	ExitPrivs   ExitCode = 5  // privileges cannot be dropped
	ExitNetwork ExitCode = 6  // sockets
	ExitConfig  ExitCode = 7  // the configuration is wrong: starting again does not help
	ExitHooks   ExitCode = 8  // a hook script
	ExitReexec  ExitCode = 9  // state of the predecessor
	ExitAudit   ExitCode = 10 // auditing is demanded and not there
	ExitDriver  ExitCode = 11 // a driver
	ExitUsage   ExitCode = 64 // EX_USAGE: the command line
	ExitFailed  ExitCode = 70 // EX_SOFTWARE: the tree gave up; a fresh process may do better
	ExitRecycle ExitCode = 75 // EX_TEMPFAIL: asked to be replaced, because of actors that never came back
	ExitOverdue ExitCode = 76 // the shutdown took longer than its limit, the process ended itself
)

// ExitError carries the code from where something failed to main.
type ExitError struct {
	Code ExitCode
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ExitError) Unwrap() error { return e.Err }

// CodeOf is the exit code for an error: its own, or ExitInit.
func CodeOf(err error) ExitCode {
	var e *ExitError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &e):
		return e.Code
	}
	return ExitInit
}
