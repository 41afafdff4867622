// Package apart runs a storage backend in a process of its own.
//
// A file system whose server is gone holds whoever touches it, in the kernel, for as long as it likes: such a thread can be
// neither ended nor killed. Here it is a thread of another process, which is left to itself when it does not come back in
// time: it holds neither the branch nor the branch's end, and the next call starts another.
//
//	pool's job --call--> [Backend] ==gob over a socket==> [worker] --> backend
//	                         |
//	                         +-- the job's context ends, the worker does not answer within the grace:
//	                             SIGKILL, all its calls fail, nobody waits for it
//
// A worker is the same program, started again for one pool at the first call that needs one, and ends with its socket.
// Descriptors of volumes that are opened come over a second socket.
package apart
