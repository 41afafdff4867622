package sockets

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"virtree/wire/liberr"
)

// Activation is a set of listening sockets that were passed to this process.
type Activation struct {
	files []activated
}

type activated struct {
	name string // of the systemd unit, "" if not given
	file *os.File
}

const firstPassed = 3 // SD_LISTEN_FDS_START

// ActivationFromEnv takes the sockets that LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES announce, and removes the variables so that no
// child believes they are its own. It returns nil if nothing was passed to this process. To be called once.
func ActivationFromEnv() (*Activation, error) {
	pid, fds, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		os.Unsetenv(v)
	}
	if pid == "" || fds == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 {
		return nil, liberr.New(liberr.FromRPC, liberr.InternalError, "Malformed 'LISTEN_FDS' value '%s'", fds)
	}
	given := strings.Split(names, ":")
	if names == "" {
		given = make([]string, n)
	}
	if len(given) != n {
		return nil, liberr.New(liberr.FromRPC, liberr.InternalError, "'LISTEN_FDNAMES' has %d names for %d sockets", len(given), n)
	}
	a := &Activation{}
	for i := range n {
		fd := firstPassed + i
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, liberr.System(liberr.FromRPC, err, "passed file descriptor %d is unusable", fd)
		}
		a.files = append(a.files, activated{given[i], os.NewFile(uintptr(fd), given[i])})
	}
	if n == 0 {
		return nil, nil
	}
	return a, nil
}

// adopt turns passed sockets into listeners. The files are consumed.
func (s *Set) adopt(spec *Spec, act *Activation) error {
	s.Activated = true
	s.Extra = map[string][]*os.File{}
	files := act.files
	act.files = nil
	for i, a := range files {
		if err := s.adoptOne(spec, a); err != nil {
			for _, rest := range files[i:] {
				rest.file.Close()
			}
			return err
		}
	}
	if len(s.Listeners) == 0 {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "none of the %d passed sockets belongs to %s", len(files), spec.Daemon)
	}
	return nil
}

func (s *Set) adoptOne(spec *Spec, a activated) error {
	kind, ok := kindByName(spec.Daemon, a.name)
	if !ok {
		if strings.HasSuffix(a.name, ".socket") {
			s.Extra[a.name] = append(s.Extra[a.name], a.file)
			return nil
		}
		// systemd-socket-activate and others do not name units.
		if kind, ok = kindByAddress(spec, a.file); !ok {
			s.Extra[a.name] = append(s.Extra[a.name], a.file)
			return nil
		}
	}
	if listening, err := getInt(a.file, unix.SO_ACCEPTCONN); err != nil || listening == 0 {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "passed socket '%s' is not listening", a.name)
	}
	if kind == TLS && spec.TLS == nil {
		return errNoTLS
	}
	l, err := net.FileListener(a.file)
	if err != nil {
		return liberr.System(liberr.FromRPC, err, "passed socket '%s' is unusable", a.name)
	}
	if _, isUnix := l.(*net.UnixListener); isUnix != kind.Unix() {
		l.Close()
		return liberr.New(liberr.FromRPC, liberr.InternalError, "passed socket '%s' is of the wrong address family", a.name)
	}
	a.file.Close()
	s.Listeners = append(s.Listeners, &Listener{Kind: kind, Activated: true, inner: l, tls: spec.TLS})
	return nil
}

func kindByName(daemon, name string) (Kind, bool) {
	for k, suffix := range unitSuffix {
		if name == daemon+suffix {
			return Kind(k), true
		}
	}
	return 0, false
}

// kindByAddress recognizes a socket by where it listens: the path the daemon would have used itself, or one whose
// last part is the same (a different --root), or the port.
func kindByAddress(spec *Spec, f *os.File) (Kind, bool) {
	addr, err := sockname(f)
	if err != nil {
		return 0, false
	}
	switch a := addr.(type) {
	case *unix.SockaddrUnix:
		for k := ReadWrite; k <= Admin; k++ {
			if p := spec.unix(k).Path; p != "" && filepath.Base(p) == filepath.Base(a.Name) {
				return k, true
			}
		}
	case *unix.SockaddrInet4:
		return kindByPort(spec, a.Port)
	case *unix.SockaddrInet6:
		return kindByPort(spec, a.Port)
	}
	return 0, false
}

func kindByPort(spec *Spec, port int) (Kind, bool) {
	for _, k := range []Kind{TCP, TLS} {
		if n, err := net.LookupPort("tcp", spec.port(k)); err == nil && n == port {
			return k, true
		}
	}
	return 0, false
}

func sockname(f *os.File) (addr unix.Sockaddr, err error) {
	cerr := control(f, func(fd int) { addr, err = unix.Getsockname(fd) })
	if cerr != nil {
		return nil, cerr
	}
	return addr, err
}

func getInt(f *os.File, opt int) (v int, err error) {
	cerr := control(f, func(fd int) { v, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, opt) })
	if cerr != nil {
		return 0, cerr
	}
	return v, err
}

func control(f *os.File, fn func(fd int)) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("passed socket: %w", err)
	}
	return rc.Control(func(fd uintptr) { fn(int(fd)) })
}
