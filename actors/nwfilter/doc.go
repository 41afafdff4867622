// Package nwfilter is the branch of network filters and their bindings: virtnwfilterd, and the nwfilter driver of libvirtd.
//
// In: call.Call for the nwfilter and nwfilter binding procedures. Out: call.Reply. Filters have no events.
//
// The driver has no filters yet. It answers as libvirt's does when none is defined: lists are empty, every filter and
// binding is not found, in libvirt's words, and flags are checked first, as there. Procedures that would make one are
// not supported.
//
// Counterpart: src/nwfilter/nwfilter_driver.c.
package nwfilter
