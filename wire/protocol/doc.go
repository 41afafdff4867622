// Package protocol holds libvirt's seven RPC programs: a Go type with its codec for every wire struct,
// and a typed descriptor for every procedure. All of it is generated from the files in schema/.
//
// A descriptor is a value such as DomainGetState of type Proc[DomainGetStateArgs, DomainGetStateRet];
// it tells what a dispatcher must know before it looks at the payload: whether the call needs
// authentication, what a read-only connection may do, which permissions it takes, which driver serves
// it and which object its arguments name first. Payloads stay raw until the actor that serves them.
//
//go:generate go run ../internal/gen protocol .
package protocol
