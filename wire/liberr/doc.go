// Package liberr holds libvirt's errors as typed Go errors: code, domain, level and the strings and
// integers that travel on the wire, plus the operation and the cause, which stay inside the daemon.
//
// The driver that knows what went wrong picks code and domain with New; layers above add Op only, and
// the client actor encodes the error once, at the edge. Compare codes with errors.Is(err,
// liberr.NoDomain), never messages. Codes, domains and sentences are generated from errors.schema.
//
//go:generate go run ../internal/gen liberr .
package liberr
