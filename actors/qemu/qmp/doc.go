// Package qmp is a client of QEMU's machine protocol: JSON objects, one per line, over a UNIX socket.
//
// It is plain Go without actors. A Client has two goroutines, a reader and a writer, and owns its connection:
//
//	Send ──queue──▶ writer ──socket──▶ QEMU ──socket──▶ reader ──▶ reply callbacks, Handler.Event, Handler.Closed
//	                  └──in flight, oldest first──────────┘
//
// Promises:
//   - Send never blocks: a full queue is ErrBusy. Commands reach QEMU in the order of Send, and QEMU, with whom no
//     out-of-band execution is agreed, answers in that order, which is why the calls in flight are a plain queue.
//   - All callbacks run on the reader goroutine, one at a time: replies and events keep QEMU's order among each other.
//     A callback that waits holds up everything behind it; a callback that calls Execute hangs. An actor's callbacks
//     only forward.
//   - Every accepted call gets exactly one reply: QEMU's, or an error that Is ErrClosed when the connection ends first.
//     Handler.Closed comes once, after the last of them, with io.EOF when QEMU hung up in good order.
//   - What the peer sends is bounded (MaxLine) and checked; anything that is not QMP ends the connection with a
//     *ProtocolError and nothing else.
//
// Commands with types live in cmd_*.go as functions over an Executor, so that they run over a Client in a job and over
// a monitor actor alike. libvirt's counterpart is src/qemu/qemu_monitor.c and qemu_monitor_json.c.
package qmp
