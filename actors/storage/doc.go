// Package storage is the branch of storage pools and volumes: virtstoraged, and the storage driver of libvirtd.
//
// In: call.Call for the pool and volume procedures, call.Subscribe, call.StreamEnded. Out: call.Reply, call.Event.
//
//	driver (the branch)   index of pools by UUID and name, of volumes by path and key; lists and lookups
//	 +- pool (one each)   its definition, whether it is active, its volumes as they were last seen
//	     +- jobs          everything that touches the disk, through package backend
//
// What a pool's actor knows it answers at once: lists, lookups and names never wait for the disk, for a refresh or for
// another pool. What asks for a volume's sizes (info, XML) looks at that one volume again, in a job. What changes a pool
// as a whole (start, build, refresh, destroy ...) runs one after the other; what changes volumes runs beside it and
// beside each other. A refresh takes over what it found, except for volumes that were changed while it ran. A folder is
// watched, so that files which others make or remove are in the lists without a refresh.
//
// Order: a pool tells the branch of a change before it answers the call that made it, so that a lookup after the answer
// finds what was made. Events of one pool come in the order of what happened.
//
// A path that hangs holds the jobs of its own pool, until they are given up or the pool is stopped; all other pools go on.
// What may hang (package apart knows which) is touched in a process of its own only, which is left to itself then.
//
// On disk, in libvirt's layout:
//
//	/etc/libvirt/storage/NAME.xml             definition
//	/etc/libvirt/storage/autostart/NAME.xml   link to it
//	/run/libvirt/storage/NAME.xml             while it is active
//	/run/libvirt/storage/autostarted          this boot's autostart was done
//
// When a pool's actor dies, or the process, the next one reads these and finds active pools active. A volume shows up
// whole or not at all: it is made under a hidden name, which the next start of the pool removes if it is still there.
//
// Compat: libvirt lists a volume while it is being made, and refuses to refresh a pool meanwhile, and during an upload;
// here the volume is not there yet, and a refresh is possible. libvirt shows files that others made after a refresh only.
// libvirt prints version, cluster size and features of an image it has just made after a refresh only.
//
// Counterpart: src/storage/storage_driver.c, src/conf/virstorageobj.c.
package storage
