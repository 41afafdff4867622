package remoting

import "github.com/asynkron/protoactor-go/actor"

// watchKey is one actor watching another, by name; which of them is the peer's depends on the table.
type watchKey struct{ watchee, watcher string }

// watch: a local actor watches one of the peer's.
func (ep *endpoint) watch(watchee, watcher *actor.PID) {
	key := watchKey{watchee: watchee.Id, watcher: watcher.Id}
	h := header{kind: kindWatch, target: watchee.Id, sender: watcher.Id}
	buf := newBuffer()
	buf.b = h.appendFrame(buf.b, "")
	ep.mu.Lock()
	ep.watches[key] = watcher
	if !ep.postLocked(buf) {
		ep.unreachable(key)
	}
}

// unreachable ends a watch that could not be sent.
func (ep *endpoint) unreachable(key watchKey) {
	ep.mu.Lock()
	watcher, ok := ep.watches[key]
	delete(ep.watches, key)
	ep.mu.Unlock()
	if ok {
		ep.notify(watcher, key.watchee, actor.TerminatedReason_AddressTerminated)
	}
}

func (ep *endpoint) unwatch(watchee, watcher *actor.PID) {
	key := watchKey{watchee: watchee.Id, watcher: watcher.Id}
	ep.mu.Lock()
	_, ok := ep.watches[key]
	delete(ep.watches, key)
	ep.mu.Unlock()
	if ok { // else the link is gone, and the watch with it
		ep.post(&header{kind: kindUnwatch, target: watchee.Id, sender: watcher.Id}, "")
	}
}

// terminated: a local actor has ended and tells a watcher of the peer. Of a node that leaves the end of the link tells it:
// what the watcher has asked meanwhile is not lost with this actor, but waits for its next instance.
func (ep *endpoint) terminated(watcher *actor.PID, m *actor.Terminated) {
	if ep.node.leaving.Load() {
		return
	}
	key := watchKey{watchee: m.Who.GetId(), watcher: watcher.Id}
	ep.mu.Lock()
	_, ok := ep.watched[key]
	delete(ep.watched, key)
	if !ok { // the link is gone, and the watcher was told
		ep.mu.Unlock()
		return
	}
	h := header{kind: kindTerminated, target: watcher.Id, sender: key.watchee, code: uint64(m.Why)}
	buf := newBuffer()
	buf.b = h.appendFrame(buf.b, "")
	ep.postLocked(buf)
}

// notify sends Terminated to a local watcher.
func (ep *endpoint) notify(watcher *actor.PID, watchee string, why actor.TerminatedReason) {
	if process, ok := ep.node.system.ProcessRegistry.GetLocal(watcher.Id); ok {
		process.SendSystemMessage(watcher, &actor.Terminated{Who: actor.NewPID(ep.address, watchee), Why: why})
	}
}

// onWatch: the peer's actor watches a local one.
func (l *link) onWatch(e *envelope) {
	key := watchKey{watchee: string(e.target), watcher: string(e.sender)}
	ep := l.ep
	process, ok := l.node.system.ProcessRegistry.GetLocal(key.watchee)
	if !ok {
		ep.post(&header{kind: kindTerminated, target: key.watcher, sender: key.watchee, code: uint64(actor.TerminatedReason_NotFound)}, "")
		return
	}
	watcher := actor.NewPID(ep.address, key.watcher)
	ep.mu.Lock()
	current := ep.link == l
	if current {
		ep.watched[key] = watcher
	}
	ep.mu.Unlock()
	if current {
		process.SendSystemMessage(l.local(key.watchee), &actor.Watch{Watcher: watcher})
	}
}

func (l *link) onUnwatch(e *envelope) {
	key := watchKey{watchee: string(e.target), watcher: string(e.sender)}
	l.ep.mu.Lock()
	watcher, ok := l.ep.watched[key]
	delete(l.ep.watched, key)
	l.ep.mu.Unlock()
	if ok {
		l.ep.release(key, watcher)
	}
}

// release takes the watch of a peer's actor back from a local one.
func (ep *endpoint) release(key watchKey, watcher *actor.PID) {
	n := ep.node
	if process, ok := n.system.ProcessRegistry.GetLocal(key.watchee); ok {
		process.SendSystemMessage(actor.NewPID(n.address, key.watchee), &actor.Unwatch{Watcher: watcher})
	}
}

// onTerminated: the peer's actor has ended.
func (l *link) onTerminated(e *envelope) {
	key := watchKey{watchee: string(e.sender), watcher: string(e.target)}
	l.ep.mu.Lock()
	watcher, ok := l.ep.watches[key]
	delete(l.ep.watches, key)
	l.ep.mu.Unlock()
	if ok { // else it was unwatched in the meantime
		l.ep.notify(watcher, key.watchee, actor.TerminatedReason(e.code))
	}
}
