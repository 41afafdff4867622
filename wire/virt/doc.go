// Package virt holds the public constants of the libvirt API (flags, states, event ids, names of typed
// parameters) under Go names: VIR_DOMAIN_AFFECT_LIVE is virt.DomainAffectLive. They are untyped, so
// that they fit the wire's int and unsigned int fields alike. Generated from constants.schema.
//
//go:generate go run ../internal/gen virt .
package virt
