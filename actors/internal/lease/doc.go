// Package lease hands out numbers that no two objects of a driver may share: domain ids, display ports.
//
// It is the one place where drivers meet outside a mailbox: jobs of many actors reserve in it while they
// run, so it locks. A lease is held by name, which lets a restarted object find or drop its own.
package lease
