package lab

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Enter()
	os.Exit(m.Run())
}

func TestOrphansEndWithTheirBox(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("boxes need root")
	}
	box, err := OpenBox(BoxConfig{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pid")
	p, err := box.Start(file+".log", nil, "sh", "-c", "setsid sleep 1000 & echo $! > "+file+".tmp; mv "+file+".tmp "+file)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done
	if !p.Status.Exited() || p.Status.ExitStatus() != 0 {
		t.Errorf("the parent ended with %v", p.Status)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	orphan, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	if !Alive(orphan) {
		t.Fatal("the orphan did not outlive its parent")
	}
	if err := box.Close(); err != nil {
		t.Error(err)
	}
	if Alive(orphan) {
		t.Errorf("process %d outlived its box", orphan)
	}
	if _, err := box.Start(file+".log", nil, "true"); err == nil {
		t.Error("a closed box ran a program")
	}
}

func TestProgramThatCannotStartIsAnError(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("boxes need root")
	}
	box, err := OpenBox(BoxConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	if _, err := box.Start(os.DevNull, nil, "no-such-program-anywhere"); err == nil {
		t.Error("no error for a program that is not there")
	}
	p, err := box.Start(os.DevNull, nil, "sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	p.Signal(syscall.SIGKILL)
	select {
	case <-p.Done:
		if p.Status.Signal() != syscall.SIGKILL {
			t.Errorf("killed program ended with %v", p.Status)
		}
	case <-time.After(10 * time.Second):
		t.Error("the end of a killed program was not reported")
	}
}

func TestReferenceAnswersBesideAnyOtherDaemon(t *testing.T) {
	if why := Missing(Reference); why != "" {
		t.Skip(why)
	}
	ctx := context.Background()
	d, err := Open(ctx, Reference, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if r := d.Virsh(ctx, "list", "--all", "--name"); r.Exit != 0 || strings.TrimSpace(r.Stdout) != "" {
		t.Errorf("virsh list of a new host: %+v", r)
	}
	xml := filepath.Join(d.Dir, "bare.xml")
	os.WriteFile(xml, []byte(BareXML("bare", "")), 0o644)
	if r := d.Virsh(ctx, "create", xml); r.Exit != 0 {
		t.Fatalf("create: %+v", r)
	}
	pid, err := d.QEMU("bare")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if !Alive(pid) {
		t.Error("QEMU ended with its daemon")
	}
	if len(d.DaemonPIDs()) != 0 {
		t.Error("the daemon is still there after Stop")
	}
}
