package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"virtree/bench/internal/lab"
)

// system is one thing that is measured.
type system struct {
	name   string
	uri    string
	target *lab.Target
	shared bool // the target is another system's: direct and proxy are two sockets of one tree
	pool   string

	took  map[string][]time.Duration // by the name of the transfer
	cpu   map[string][]time.Duration // what the daemons used of processors meanwhile
	peak0 int64                      // KiB, before the first transfer
}

func open(ctx context.Context, name string, others []*system) (*system, error) {
	kinds := map[string]lab.Kind{"libvirtd": lab.Reference, "single": lab.Single, "direct": lab.Split, "proxy": lab.Split}
	kind, ok := kinds[name]
	if !ok {
		return nil, fmt.Errorf("no system %q", name)
	}
	s := &system{name: name, took: map[string][]time.Duration{}, cpu: map[string][]time.Duration{}, pool: "pool-" + name}
	if kind == lab.Split {
		for _, o := range others {
			if o.target.Kind == lab.Split {
				s.target, s.shared = o.target, true
			}
		}
	}
	if s.target == nil {
		t, err := lab.Open(ctx, kind, lab.Options{})
		if err != nil {
			return nil, err
		}
		s.target = t
	}
	s.uri = s.target.URI()
	if name == "direct" {
		s.uri = "storage:///system?socket=" + s.target.Socket("virtstoraged-sock")
	}
	return s, nil
}

func (s *system) close() {
	if !s.shared {
		s.target.Close()
	}
}

func (s *system) virsh(ctx context.Context, arg ...string) error {
	if r := s.target.Run(ctx, "virsh", append([]string{"-q", "-c", s.uri}, arg...)...); r.Exit != 0 {
		return fmt.Errorf("virsh %s: %s", strings.Join(arg, " "), strings.TrimSpace(r.Stderr))
	}
	return nil
}

func (s *system) folder() string { return filepath.Join(s.target.Dir, s.pool) }

// prepare makes a pool with both volumes and uploads what is to be downloaded.
func (s *system) prepare(ctx context.Context, p *plan) error {
	if err := os.Mkdir(s.folder(), 0o755); err != nil {
		return err
	}
	size := strconv.FormatInt(p.size, 10)
	for _, arg := range [][]string{
		{"pool-create-as", s.pool, "dir", "--target", s.folder()},
		{"vol-create-as", s.pool, "full", size, "--allocation", "0"},
		{"vol-create-as", s.pool, "thin", size, "--allocation", "0"},
	} {
		if err := s.virsh(ctx, arg...); err != nil {
			return err
		}
	}
	if err := s.virsh(ctx, "vol-download", "thin", p.scratch, "--pool", s.pool, "--length", "65536"); err != nil { // the code is there
		return err
	}
	s.peak0 = s.peak()
	for _, t := range transfers {
		if t.up {
			if err := s.virsh(ctx, s.command(p, t)...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *system) command(p *plan, t transfer) []string {
	arg := []string{"vol-download", t.volume(), p.scratch, "--pool", s.pool}
	if t.up {
		arg = []string{"vol-upload", t.volume(), p.source(t), "--pool", s.pool}
	}
	if t.thin {
		arg = append(arg, "--sparse")
	}
	return arg
}

// measure makes one transfer and compares what arrived.
func (s *system) measure(ctx context.Context, p *plan, t transfer) error {
	got := filepath.Join(s.folder(), t.volume())
	if t.up {
		// The old data would hide a part that never arrived, and a hole where nothing was is a hole in any case.
		if err := os.Truncate(got, 0); err != nil {
			return err
		}
		if err := os.Truncate(got, p.size); err != nil {
			return err
		}
	} else {
		got = p.scratch
		defer os.Remove(got)
	}
	syscall.Sync() // nobody writes back what another has left
	begin, cpu := time.Now(), s.target.CPU()
	if err := s.virsh(ctx, s.command(p, t)...); err != nil {
		return err
	}
	s.took[t.name] = append(s.took[t.name], time.Since(begin))
	s.cpu[t.name] = append(s.cpu[t.name], s.target.CPU()-cpu)
	if err := same(p.source(t), got); err != nil {
		return err
	}
	if t.thin {
		var st syscall.Stat_t
		if err := syscall.Stat(got, &st); err != nil {
			return err
		}
		if st.Blocks*512 > p.size/4 {
			return fmt.Errorf("%s: holes were filled: %d MiB on disk", got, st.Blocks>>11)
		}
	}
	return nil
}

// peak is the most resident memory that one of the daemons has had, in KiB.
func (s *system) peak() int64 {
	var most int64
	for _, pid := range s.target.DaemonPIDs() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for _, line := range strings.Split(string(text), "\n") {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
				n, _ := strconv.ParseInt(f[1], 10, 64)
				most = max(most, n)
			}
		}
	}
	return most
}
