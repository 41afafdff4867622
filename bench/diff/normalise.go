package diff

import (
	"fmt"
	"regexp"
	"strings"
)

// normalizer gives names to what two daemons cannot have in common. It lives for one
// scenario on one side, so that the first UUID seen is <uuid 1> on both sides.
type normalizer struct {
	dir, work string
	names     map[string]string
	counts    map[string]int
}

func newNormalizer(dir, work string) *normalizer {
	return &normalizer{dir: dir, work: work, names: map[string]string{}, counts: map[string]int{}}
}

// named replaces a value by the kind of thing it is and its number of appearance, so
// that "the same again" and "another one" are still told apart.
var named = []struct {
	kind string
	re   *regexp.Regexp
}{
	{"uuid", regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)},
	{"mac", regexp.MustCompile(`\b52:54:00(:[0-9a-f]{2}){3}\b`)},
	{"pts", regexp.MustCompile(`/dev/pts/[0-9]+`)},
}

// measured are values that two runs of one daemon would not share. The first group
// stays, the rest becomes #: with the blanks before it where virsh aligns right, for one
// of two readings of a counter may have a digit more.
var measured = []*regexp.Regexp{
	regexp.MustCompile(`(?m)^(CPU time:\s+)[0-9.]+s$`), // dominfo, vcpuinfo
	regexp.MustCompile(`(?m)^(CPU:\s+)[0-9]+$`),        // vcpuinfo
	regexp.MustCompile(`(?m)^(\s+(?:cpu\.(?:time|user|system|cache\.[\w.]+)|balloon\.(?:rss|last-update|available|usable|unused|swap_\w+|major_fault|minor_fault|disk_caches|hugetlb_\w+)|vcpu\.\d+\.(?:time|wait|delay|halted\.sum|[\w.]+\.(?:sum|cur|max))|block\.\d+\.(?:rd|wr|fl)\.\w+|block\.\d+\.(?:allocation|physical)|net\.\d+\.[rt]x\.\w+)=)[0-9]+$`), // domstats
	regexp.MustCompile(`(?m)^((?:rss|last_update|available|usable|unused|disk_caches|swap_in|swap_out|major_fault|minor_fault|hugetlb_\w+) )[0-9]+$`),                                                                                                                                                                                                           // dommemstat
	regexp.MustCompile(`(?m)^(\S+ (?:rd|wr|flush)_\w+ )[0-9]+$`),                                    // domblkstat
	regexp.MustCompile(`(?m)^( [\w ]*(?:operations|bytes|duration)[\w() ]*:?\s+)[0-9]+$`),           // domblkstat --human
	regexp.MustCompile(`(?m)^(\S+ [rt]x_\w+ )[0-9]+$`),                                              // domifstat
	regexp.MustCompile(`(?m)^(\s*(?:total|free|buffers|cached)\s*:)\s+[0-9]+ KiB$`),                 // nodememstats, freecell
	regexp.MustCompile(`(?m)^(\s*(?:user|system|idle|iowait|intr|usage)\s*:)\s+[0-9.]+%?$`),         // nodecpustats
	regexp.MustCompile(`(?m)^(\s*(?:cpu_time|user_time|system_time|vcpu_time))\s+[0-9.]+ seconds$`), // cpu-stats
	regexp.MustCompile(`(?m)^(4KiB: )[0-9]+$`),                                                      // freepages
	regexp.MustCompile(`(?m)^(\s*(?:Total|\d+):) +[0-9]+ KiB$`),                                     // freecell
	regexp.MustCompile(`(\b)[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z`),                                  // QEMU's own messages
	regexp.MustCompile(`(?m)^(event \w+ at )[0-9.]+`),                                               // qemu-monitor-event
	regexp.MustCompile(`(?m)^( \w+_total_times )[0-9]+$`),                                           // domblkstat
	regexp.MustCompile(`(of process )[0-9]+`),
	regexp.MustCompile(`("id": ?"libvirt-)[0-9]+`),                                 // how often the monitor was asked before
	regexp.MustCompile(`("timestamp":\{"seconds":)[0-9]+,"microseconds":[0-9]+\}`), // monitor events
	regexp.MustCompile(`(?m)^([0-9]{4}-[0-9]{2}-[0-9]{2}) [0-9:.+]+`),              // event --timestamp
}

var (
	// The id of a running domain counts starts since the daemon began.
	idInTable = regexp.MustCompile(`(?m)^( )([0-9]+)( {2,}\S+ {2,}\S)`)
	idInXML   = regexp.MustCompile(`(<domain [^>]*\bid=')[0-9]+'`)
	idInInfo  = regexp.MustCompile(`(?m)^(Id:\s+)[0-9]+$`)
	idInPath  = regexp.MustCompile(`\b(domain-)[0-9]+-`)
	onlyID    = regexp.MustCompile(`(?m)^[0-9]+$`)
)

func (n *normalizer) name(kind, value string) string {
	if s, ok := n.names[value]; ok {
		return s
	}
	n.counts[kind]++
	s := fmt.Sprintf("<%s %d>", kind, n.counts[kind])
	// A table is as wide as its widest cell: keep the width.
	if pad := len(value) - len(s); pad > 0 {
		s = s[:len(s)-1] + strings.Repeat(" ", pad) + ">"
	}
	n.names[value] = s
	return s
}

// forget starts the numbering of a kind anew.
func (n *normalizer) forget(kind string) {
	delete(n.counts, kind)
	for value, name := range n.names {
		if strings.HasPrefix(name, "<"+kind+" ") {
			delete(n.names, value)
		}
	}
}

// text names what differs between any two daemons in a step's output.
func (n *normalizer) text(s *Step, out string) string {
	// The kernel gives a terminal out again once its guest has ended, unless another
	// program was quicker: its number means something within one answer only.
	n.forget("pts")
	out = strings.ReplaceAll(out, n.work, "$WORK")
	// Below a root every path of virtree's starts with it; the reference sees its box
	// as the whole machine.
	out = strings.ReplaceAll(out, n.dir, "")
	out = strings.ReplaceAll(out, "/virtqemud-sock", "/libvirt-sock")
	// What libvirtd calls a QEMU that ends at its start hangs on which of its threads notices first.
	out = strings.ReplaceAll(out, "process exited while connecting to monitor:", "qemu unexpectedly closed the monitor:")
	for _, k := range named {
		out = k.re.ReplaceAllStringFunc(out, func(v string) string { return n.name(k.kind, v) })
	}
	for _, re := range measured {
		out = re.ReplaceAllString(out, "${1}#")
	}
	out = idInTable.ReplaceAllString(out, "${1}#${3}")
	out = idInXML.ReplaceAllString(out, "${1}#'")
	out = idInInfo.ReplaceAllString(out, "${1}#")
	out = idInPath.ReplaceAllString(out, "${1}#-")
	if c := s.Command(); c == "domid" || c == "list" {
		out = onlyID.ReplaceAllString(out, "#")
	}
	if len(s.Ignore) > 0 {
		var kept []string
		for _, line := range strings.SplitAfter(out, "\n") {
			if !matchesAny(s, line) {
				kept = append(kept, line)
			}
		}
		out = strings.Join(kept, "")
	}
	return out
}

func matchesAny(s *Step, line string) bool {
	for _, re := range s.Ignore {
		if re.MatchString(strings.TrimSuffix(line, "\n")) {
			return true
		}
	}
	return false
}
