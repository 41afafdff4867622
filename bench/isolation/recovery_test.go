package isolation

import (
	"context"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtree/bench/internal/lab"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// BenchmarkBranchKilled kills the qemu branch's process, which has 100 guests, and measures from then on:
// ms/first and ms/all until one guest's description, and every guest's, was answered to a client that connects again as often as it
// must; cpu-ms is what the new process used until then, which another load of the machine changes little.
//
//	go test -run '^$' -bench BranchKilled -benchtime 10x ./bench/isolation
func BenchmarkBranchKilled(b *testing.B) {
	if why := lab.Missing(lab.Split); why != "" {
		b.Skip(why)
	}
	ctx := context.Background()
	w, err := openWorld(ctx, lab.Split, 100)
	if err != nil {
		b.Fatal(err)
	}
	defer w.close()
	var first, all, used time.Duration
	b.ResetTimer()
	for range b.N {
		lab.Await(ctx, func() bool { return settled(w) })
		old, err := w.target.Branch("virtqemud")
		if err != nil {
			b.Fatal(err)
		}
		c := &stubborn{b: b, socket: w.socket(), began: time.Now()}
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		for i := range w.guests {
			c.describe(ctx, &w.guests[i])
			if i == 0 {
				first += time.Since(c.began)
			}
		}
		all += time.Since(c.began)
		c.Close()
		pid, err := w.target.Branch("virtqemud")
		if err != nil || pid == old {
			b.Fatalf("process %d, was %d: %v", pid, old, err)
		}
		used += cpuOf(pid)
	}
	report := func(d time.Duration, unit string) { b.ReportMetric(float64(d.Milliseconds())/float64(b.N), unit) }
	report(first, "ms/first")
	report(all, "ms/all")
	report(used, "cpu-ms")
}

// stubborn is a client that connects again when it loses its connection, until all is well.
type stubborn struct {
	b      *testing.B
	socket string
	began  time.Time
	*rpc.Client
}

func (s *stubborn) describe(ctx context.Context, dom *protocol.Domain) {
	for {
		err := error(nil)
		if s.Client == nil {
			s.Client, err = dial(ctx, s.socket, "qemu:///system")
		}
		if err == nil {
			if _, err = rpc.Do(ctx, s.Client, protocol.DomainGetXMLDesc, &protocol.DomainGetXMLDescArgs{Dom: *dom}); err == nil {
				return
			}
			s.Client.Close()
			s.Client = nil
		}
		if time.Since(s.began) > 20*time.Second {
			s.b.Fatalf("%s: %v", dom.Name, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// settled says that the branch has no more to do: it used no processor time for a while.
func settled(w *world) bool {
	pid, err := w.target.Branch("virtqemud")
	if err != nil {
		return false
	}
	before := cpuOf(pid)
	time.Sleep(200 * time.Millisecond)
	return cpuOf(pid)-before <= 10*time.Millisecond
}

// cpuOf is the processor time of a process until now.
func cpuOf(pid int) time.Duration {
	var sum int64
	tasks, _ := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	for _, t := range tasks {
		text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + t.Name() + "/schedstat")
		if f := strings.Fields(string(text)); len(f) > 0 {
			n, _ := strconv.ParseInt(f[0], 10, 64)
			sum += n
		}
	}
	return time.Duration(sum)
}
