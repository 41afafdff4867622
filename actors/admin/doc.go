// Package admin is the admin program, what virt-admin speaks: a look at one daemon's servers, clients, limits and logging,
// and a hand on them. Every daemon of the tree has such an actor behind its admin socket.
//
// In: call.Call for the procedures of the admin program. Out: call.Reply. It holds no state: what it tells and changes is
// the process's own, behind [Daemon], which the assembly of the daemon implements. Daemon's methods may wait, so each
// call is a job; calls of one client that do not wait for each other may be served in any order.
//
// Names, types and order of the typed parameters, and the errors, are those of libvirtd.
//
// Compat: libvirtd serves calls by a pool of threads; here every call is an actor's message and no pool exists. The
// numbers of server-threadpool-info keep their meaning for whoever watches them: minWorkers, maxWorkers and prioWorkers
// are what the configuration said or was set since; nWorkers is the calls being served, not below minWorkers nor above
// maxWorkers; freeWorkers is what of these is idle; jobQueueDepth is the calls above maxWorkers. They are served all the
// same: nobody queues for a worker.
//
// Counterpart: src/admin/admin_server_dispatch.c, src/admin/admin_server.c, src/rpc/virnetserver.c.
package admin
