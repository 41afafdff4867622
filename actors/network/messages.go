package network

import (
	"virtree/actors/internal/call"
	"virtree/wire/protocol"
)

// Messages between the branch actor and its networks. Beside these a network receives the call.Call messages that the
// branch forwards to it.

// summary is what the branch must know of a network to answer lookups and lists and to give out bridge names.
type summary struct {
	Name       string
	UUID       protocol.UUID
	Active     bool
	Persistent bool
	Autostart  bool
	Bridges    [2]string // of the persistent and of the live definition
}

// summaryChanged tells the branch what is new; it precedes every answer that reveals it.
type summaryChanged struct{ summary }

// Urgent lets what is known overtake what is asked.
func (*summaryChanged) Urgent() bool { return true }

// forgotten tells the branch that the network is neither defined nor active any more: its actor may go.
type forgotten struct{ UUID protocol.UUID }

// Urgent keeps it in order with summaryChanged.
func (*forgotten) Urgent() bool { return true }

// published carries an event to the branch, which has the subscribers.
type published struct{ *call.Event }

// Urgent keeps events in order with summaryChanged.
func (*published) Urgent() bool { return true }

// define gives the network a new persistent definition. It is how a new network begins, and how one is redefined.
type define struct {
	req *call.Request
	def *definition
}

// create gives the network a definition for this run and starts it.
type create struct {
	req *call.Request
	def *definition
}

// autostart asks a network to start because the host did.
type autostart struct{}

// rulesTouched tells a network that somebody removed rules of its firewall, or may have; zones: that firewalld forgot its
// zone too.
type rulesTouched struct{ zones bool }

// Urgent puts the repair before requests.
func (*rulesTouched) Urgent() bool { return true }

// dnsmasqEnded tells a network that its dnsmasq is gone. run tells of which one.
type dnsmasqEnded struct{ run uint64 }

// Urgent puts the repair before requests.
func (*dnsmasqEnded) Urgent() bool { return true }

// dnsmasqDue is the end of the delay before dnsmasq is started again.
type dnsmasqDue struct{ run uint64 }

// Urgent keeps it in order with dnsmasqEnded.
func (*dnsmasqDue) Urgent() bool { return true }

// tableGone tells the branch that a table of ours was removed or changed by somebody; an empty bridge means any.
type tableGone struct{ bridge string }

// Urgent puts the repair before requests.
func (*tableGone) Urgent() bool { return true }
