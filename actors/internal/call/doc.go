// Package call holds the messages in which a libvirt call, its answer, its stream and its events travel
// through the tree, between client actors and drivers, in one process and across remoting alike.
//
// In: Call, Subscribe, Unsubscribe. Out: Reply (exactly one for a Call), SubscribeResult, Event,
// SubscriptionLost.
// Arguments and results stay raw XDR until the actor that serves the call decodes them, through a
// Table: one line per procedure, naming its handler, typed by the procedure's descriptor.
//
// Order: a client gets the replies of one object in the order in which the object answered, and events
// of one object in the order in which they happened; across objects there is none.
//
// Descriptors in a Call or Reply belong to the receiver of the message, who closes them.
package call
