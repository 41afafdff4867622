// Package sasl is the server's side of SASL for remote clients: the mechanisms SCRAM-SHA-256, SCRAM-SHA-1 (RFC 5802, 7677) and PLAIN
// (RFC 4616), over a file of password verifiers.
//
//	AUTH_SASL_INIT  -> Server.Mechanisms(transport)
//	AUTH_SASL_START -> Server.Start(transport, mechanism, data)  -> Session, challenge
//	AUTH_SASL_STEP  -> Session.Step(data)                        -> challenge, ... Complete, User
//
// These mechanisms authenticate and do not encrypt, so there is no security layer, and they are offered only where the
// transport protects what follows: on UNIX sockets and TLS; PLAIN, which shows the password to the server, on TLS alone. Plain TCP
// needs a mechanism with a layer (Kerberos), which is not here: it is offered nothing.
//
// A Server is constant after it was made and safe for all; a Session belongs to one client. Wrong names and wrong passwords cannot be
// told apart from outside, neither by the answers nor by the number of steps. The database is read at each start of a session, so that a
// changed password counts at once. libvirt does the same through Cyrus SASL, in virnetsaslcontext.
package sasl
