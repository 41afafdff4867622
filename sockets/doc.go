// Package sockets owns the descriptors a daemon is reached by: its listeners, however they came to be, and what can be
// known about who connects.
//
//	Spec ------------\
//	                  Listen --> Set of Listeners --Accept--> Conn --Handshake--> rpc.NewConn(c.Transport())
//	LISTEN_FDS env --/                                          \--Peer--> uid, gid, pid, start time, labels, x509 name
//
// # What it promises
//
// A UNIX socket never exists with the wrong mode or group for a moment in which somebody could connect. A socket file
// left by a dead daemon is replaced; one behind which somebody listens is refused by name. Close removes
// the file it made and no other.
//
// With socket activation only the passed sockets are used, and the configuration's listen_*, *_port and unix_sock_*
// have no meaning, as in libvirt.
//
// Accept never waits for a peer: a TLS handshake happens in [Conn.Handshake], in the goroutine of that client, so that a client
// that connects and stays silent holds up nobody.
//
// # When it dies
//
// Nothing here runs by itself; a Listener is used by the goroutine that accepts. Sockets made by Listen vanish with Close;
// after a crash the next start replaces them.
//
// The configuration files are read by sockets/config, the polkit and SASL sides of authentication are in sockets/polkit and
// sockets/sasl. libvirt's counterparts are virnetserverservice, virnetsocket, virnettlscontext, virsystemd.
package sockets
