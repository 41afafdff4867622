package network

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"virtree/actors/internal/disk"
)

// The lease helper is this program under another name: dnsmasq runs it at every change of a lease, and once at its start
// to learn the leases there are. It keeps them in BRIDGE.status.
const (
	helperName     = "leasehelper"
	helperVariable = "VIRTREE_LEASES" // the file to keep; dnsmasq passes its environment on
)

// LeaseHelper does the lease helper's work when the program was started as one, and tells whether it was. code is then
// the exit code.
func LeaseHelper(args []string, getenv func(string) string, out io.Writer) (code int, was bool) {
	if len(args) > 1 && args[1] == helperName {
		args = args[1:]
	}
	if len(args) == 0 || filepath.Base(args[0]) != helperName {
		return 0, false
	}
	if err := helpLease(args[1:], getenv, out, time.Now()); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", helperName, err)
		return 1, true
	}
	return 0, true
}

// helpLease does what dnsmasq's arguments say: "add", "old" and "del" with MAC (DUID for IPv6), address and perhaps a
// name; "init" without. Other actions (tftp, arp-add ...) are news that nobody here waits for.
func helpLease(args []string, getenv func(string) string, out io.Writer, now time.Time) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: %s add|old|del mac|clientid ip [hostname]", helperName)
	}
	path := getenv(helperVariable)
	if path == "" {
		return fmt.Errorf("%s is not set", helperVariable)
	}
	action := args[0]
	switch action {
	case "add", "old", "del":
		if len(args) < 3 {
			return fmt.Errorf("%s needs an address", action)
		}
	case "init":
	default:
		return nil
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	all, err := readLeases(path)
	if err != nil {
		all = nil // a broken file is worth nothing; what dnsmasq knows is told again
	}
	before := len(all)
	all = slices.DeleteFunc(all, func(l leaseEntry) bool { return l.Expiry != 0 && l.Expiry < now.Unix() })
	if action == "init" {
		printLeases(out, all)
		if _, err := os.Stat(path); err == nil && len(all) == before {
			return nil
		}
		return storeLeases(path, all)
	}
	l := leaseOf(args, getenv, now)
	at := slices.IndexFunc(all, func(o leaseEntry) bool { return o.IP == l.IP })
	switch {
	case action == "del" && at >= 0:
		all = slices.Delete(all, at, at+1)
	case action == "del":
	case at >= 0:
		if l.ClientID == "" && l.MAC == all[at].MAC {
			l.ClientID = all[at].ClientID // "old" does not tell it again
		}
		all[at] = l
	default:
		all = append(all, l)
	}
	return storeLeases(path, all)
}

func leaseOf(args []string, getenv func(string) string, now time.Time) leaseEntry {
	l := leaseEntry{IP: args[2], Hostname: getenv("DNSMASQ_SUPPLIED_HOSTNAME"), ClientID: getenv("DNSMASQ_CLIENT_ID")}
	if len(args) > 3 {
		l.Hostname = args[3]
	}
	if iaid := getenv("DNSMASQ_IAID"); iaid != "" {
		l.IAID, l.ServerDUID, l.MAC = iaid, getenv("DNSMASQ_SERVER_DUID"), getenv("DNSMASQ_MAC")
		l.ClientID = args[1]
	} else {
		l.MAC = args[1]
		// dnsmasq writes the type of the link before an address that is not of Ethernet.
		if i := strings.IndexByte(l.MAC, '-'); i >= 0 {
			l.MAC = l.MAC[i+1:]
		}
	}
	if v, err := strconv.ParseInt(getenv("DNSMASQ_LEASE_EXPIRES"), 10, 64); err == nil {
		l.Expiry = v
	} else if v, err := strconv.ParseInt(getenv("DNSMASQ_TIME_REMAINING"), 10, 64); err == nil && v > 0 {
		l.Expiry = now.Unix() + v
	}
	return l
}

// printLeases tells dnsmasq the leases, in the form of its own lease file: IPv4 first, then the server's DUID and IPv6.
func printLeases(out io.Writer, all []leaseEntry) {
	star := func(s string) string {
		if s == "" {
			return "*"
		}
		return s
	}
	for _, l := range all {
		if !strings.Contains(l.IP, ":") {
			fmt.Fprintf(out, "%d %s %s %s %s\n", l.Expiry, l.MAC, l.IP, star(l.Hostname), star(l.ClientID))
		}
	}
	duid := false
	for _, l := range all {
		if strings.Contains(l.IP, ":") {
			if !duid && l.ServerDUID != "" {
				fmt.Fprintf(out, "duid %s\n", l.ServerDUID)
				duid = true
			}
			fmt.Fprintf(out, "%d %s %s %s %s\n", l.Expiry, l.IAID, l.IP, star(l.Hostname), star(l.ClientID))
		}
	}
}

func storeLeases(path string, all []leaseEntry) error {
	if all == nil {
		all = []leaseEntry{}
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return disk.WriteVolatile(path, append(text, '\n'), 0o644)
}

// lockDir takes an exclusive lock on a folder, which ends with the process at the latest. The file in it cannot be locked
// itself, because it is replaced.
func lockDir(path string) (unlock func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
