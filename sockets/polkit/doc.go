// Package polkit asks the polkit daemon, over the system bus, whether a client's process may do something: the
// authentication of UNIX sockets (org.libvirt.unix.manage and .monitor) and, with access_drivers = ["polkit"], each single
// action (org.libvirt.api.*).
//
// A [Checker] is what the rest of the program sees; [Authority] is the real one. A question may last as long as a human needs to
// type a password, so it belongs into a goroutine of its own with a context that ends with the client's connection. When
// the context ends first, the question is withdrawn.
//
// The connection to the bus is made at the first question and again after the bus went away. libvirt's counterpart is virpolkit.
package polkit
