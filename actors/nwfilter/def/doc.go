// Package def is the documents of network filters and their bindings: parse, check, print as libvirt does.
//
// A [Filter] holds what a document says in the form in which it is printed: values are checked and brought to one
// spelling when they are read (values.go), by a table of the attributes each protocol has (protocols.go). What libvirt
// changes in a rule behind its author's back, it changes here (fixups in protocols.go). [Filter.Shared] gives the same as
// libvirtxml's type, in which filters are handed to package rules.
//
// Nothing here knows of other filters, of files or of the kernel.
//
// Compat: names of filters are escaped when printed; libvirt prints them as they are, and so writes files that it cannot
// read for a name with a quote in it.
//
// Counterpart: src/conf/nwfilter_conf.c, nwfilter_params.c, virnwfilterbindingdef.c.
package def
