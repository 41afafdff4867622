// Package diff compares virtree with libvirtd, command by command.
//
// A scenario (testdata/*.txtar) is a list of client commands. It is played against
// libvirtd and against virtree, each in a box of its own, and every command must give
// the same exit code, output and error output, XML to the byte, after what cannot be
// equal (UUIDs nobody chose, process ids, clocks, counters) was given names.
//
// The lines of a scenario:
//
//	virsh ARG...              a command; quoting as in the shell
//	virsh-ro ARG...           the same at the read-only socket
//	python FILE [ARG...]      a script of the archive, with the URI in $URI and $ROURI
//	box ARG...                a program in the daemon's own namespaces, where its links are
//	image FILE SIZE FORMAT    qemu-img create in $WORK; not compared
//	until REGEX virsh ARG...  again and again until the output matches; the last is compared
//	background NAME virsh ARG...
//	await NAME REGEX          until the background command has printed a match
//	stop NAME                 interrupt it; its output is compared here
//	shallow                   the scenario asks for things that do not exist: in the
//	                          report it does not count as having tried a command
//	differs REASON            the next command may differ, on purpose
//	ignore REGEX : REASON     of the next command, lines that match are not compared
//
// Files of the archive are written to $WORK; $WORK, $KERNEL, $INITRD, $CMDLINE and
// $DOMTYPE are replaced in them and in commands. What a scenario leaves behind is
// removed after it.
//
// Differences that are not meant and not mended yet stand in testdata/gaps.txt. A
// difference that is not there fails the test, and so does an entry that has become
// untrue, so the list can only shrink knowingly; -gaps writes it anew.
package diff
