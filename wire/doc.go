// Package wire groups what turns bytes into structures and back: XDR, libvirt's packets, its
// procedures and errors, and the envelopes that carry actor messages between processes. Of its
// packages only wire/remoting has heard of actors.
package wire
