// Package e2e drives whole trees with real clients: virsh, python3-libvirt, go-libvirt
// and tshark's libvirt dissector.
//
// The scripts (testdata/*.txtar) are testscript files, named after the trouble they
// make. Every script runs in both modes: one process, and split; [split] and
// [single] tell them apart, [long] is set by VIRTREE_LONG=1. -against=libvirtd runs
// them against Debian's daemon, which shows what of a script is about virtree and what
// about the world.
//
// Beside testscript's own commands there are (world_test.go and the files beside it):
//
//	tree ARG...               start a tree in a box of its own; sets URI, ROURI, ROOT
//	tree-stop, tree-start     SIGTERM and wait; start again on the same root
//	tree-kill [DAEMON]        SIGKILL to all processes of the tree, or to one branch
//	tree-swap                 stop, and start Debian's libvirtd on the same root; then the other way round
//	tree-back DAEMON TIME     the branch has another process again, within the time
//	virsh ARG...              exec virsh at $URI; ! virsh when it must fail
//	until REGEX virsh ARG...  poll until its output matches
//	domain NAME bare|boot     write NAME.xml, devices from NAME.devices if there is one; boot
//	                          sets KERNEL, INITRD, CMDLINE, DOMTYPE too
//	console NAME [wait|send|prompt TEXT]...   talk over `virsh console` on a pseudo-terminal
//	watch NAME virsh ARG...   a client in the background
//	seen NAME REGEX           until it printed a match; unseen: it did not, up to now
//	unwatch NAME              interrupt it; its output becomes stdout
//	qemu NAME save|same|gone  its process now; the same as saved; ended
//	qemu NAME freeze|kill     SIGSTOP, SIGKILL
//	python FILE               with Debian's libvirt module
//	golibvirt WHAT            what go-libvirt is asked to do, see golibvirt_test.go
//	churn start|stop          a client that defines without pause, and reconnects; stop
//	                          fails when something acknowledged is gone
//	stuck NAME OTHER N        stops NAME's QEMU with N callers on it and measures OTHER
//	latency save|check NAME   the median of a call, now against before
//	fault KIND [FLAG...] PATH virtree fault, in a tree started with --allow-faults
//	soak connects|starts N    again and again, with memory and descriptors before and after
//	box ARG...                a program in the box, where the tree's links are
//	box-until REGEX ARG...    poll one there until its output matches
//	box-start ARG..., box-stop   some that stay in the background; end them all
//	clock start|check TIME    no more than that has gone by
//	host save|check           what there is in the box beside the tree: links, rules, processes;
//	                          nothing has come or gone since
//	lease VAR NAME            the address that the guest has by its network's lease
//	capture start|check       record the traffic of $CAPTURE and have tshark decode it
package e2e
