// Package backend does the work on storage: what a pool of each kind means on this host.
//
// A backend has no state. Its methods are plain sequential code that blocks, run in jobs by the actor of a pool; they
// may run at the same time for one pool, on different volumes. They get definitions and volumes that nobody changes and
// return new ones. What a backend leaves half-made when the process dies has a name that starts with [Unfinished]; no
// list shows it, and Start and Refresh of a pool nobody works on remove it (see [Backend.Tidy]).
//
// Every backend passes the conformance test in storagetest; those whose tools or hardware tests cannot have, with a [Host]
// that stands for one that has them.
//
// Counterpart: src/storage/storage_backend.h and the files beside it.
package backend
