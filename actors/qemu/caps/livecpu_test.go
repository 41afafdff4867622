package caps

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/qmp"
)

// startWithCPU starts a real QEMU, stopped, with the CPU and reads what it made of it.
func startWithCPU(t *testing.T, accel string, cpu *libvirtxml.DomainCPU) *GuestCPU {
	t.Helper()
	arg := cpu.Model.Value
	for _, f := range cpu.Features {
		on := f.Policy == string(PolicyRequire) || f.Policy == string(PolicyForce)
		arg += "," + FeatureToQEMU(f.Name) + "=" + onOff(on)
	}
	socket := filepath.Join(t.TempDir(), "qmp")
	cmd := exec.Command("qemu-system-x86_64", "-S", "-no-user-config", "-nodefaults", "-display", "none", "-m", "64",
		"-M", "q35", "-accel", accel, "-cpu", arg, "-qmp", "unix:"+socket+",server=on,wait=off")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Skip("no QEMU: ", err)
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-exited })
	q, err := qmp.DialWait(testContext(t), socket, qmp.Handler{}, func() error {
		select {
		case <-exited:
			return errors.New("QEMU exited")
		default:
			return nil
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	cpus, err := qmp.QueryCPUsFast(testContext(t), q)
	if err != nil || len(cpus) == 0 {
		t.Fatal(cpus, err)
	}
	g, err := ReadGuestCPU(testContext(t), q, cpus[0].QOMPath)
	if err != nil || g == nil {
		t.Fatal(g, err)
	}
	return g
}

// The reference starts a guest with the same <cpu>; its live XML and our way to the same must agree.
func TestLiveCPUEqualsTheReference(t *testing.T) {
	c := realCaps(t)
	for i, test := range []struct{ virtType, cpu string }{
		{"qemu", `<cpu mode='host-model'/>`},
		{"qemu", `<cpu mode='host-model' check='partial'><feature policy='disable' name='x2apic'/><feature policy='require' name='aes'/></cpu>`},
		{"qemu", `<cpu mode='custom' match='exact'><model fallback='allow'>qemu32</model><feature policy='optional' name='aes'/></cpu>`},
		{"qemu", `<cpu mode='custom' match='minimum'><model>486</model></cpu>`},
		{"qemu", `<cpu mode='custom' match='exact'><model fallback='allow'>Westmere</model></cpu>`},
		{"qemu", `<cpu mode='custom' match='exact'><model fallback='allow'>pentiumpro</model></cpu>`},
		{"kvm", `<cpu mode='custom' match='exact'><model fallback='allow'>qemu32</model><feature policy='optional' name='aes'/></cpu>`},
		{"kvm", `<cpu mode='custom' match='exact'><model fallback='allow'>qemu64</model></cpu>`},
	} {
		t.Run(fmt.Sprintf("%s-%d", test.virtType, i), func(t *testing.T) {
			if test.virtType == "kvm" && !c.KVM {
				t.Skip("no KVM")
			}
			name := fmt.Sprintf("qmp-cpu-%d-%d", os.Getpid(), i)
			doc := fmt.Sprintf(`<domain type='%s'><name>%s</name><memory>65536</memory><os><type arch='x86_64' machine='q35'>hvm</type></os>%s`+
				`<devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices></domain>`, test.virtType, name, test.cpu)
			file := filepath.Join(t.TempDir(), "domain.xml")
			if err := os.WriteFile(file, []byte(doc), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := tryReference(t, "create", "--paused", file); err != nil {
				t.Skip("the reference cannot start it here: ", out)
			}
			live := reference(t, "dumpxml", name)
			reference(t, "destroy", name)
			var domain struct {
				CPU *libvirtxml.DomainCPU `xml:"cpu"`
			}
			if err := xml.Unmarshal([]byte(live), &domain); err != nil {
				t.Fatal(err)
			}
			var asked libvirtxml.DomainCPU
			if err := xml.Unmarshal([]byte(test.cpu), &asked); err != nil {
				t.Fatal(err)
			}
			start, err := c.StartCPU(test.virtType, "x86_64", &asked)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.LiveCPU(start, startWithCPU(t, accelerator(test.virtType), start))
			if err != nil {
				t.Fatal(err)
			}
			got.XMLName = domain.CPU.XMLName
			if diff := cmp.Diff(domain.CPU, got); diff != "" {
				t.Errorf("libvirt (-), ours (+):\n%s", diff)
			}
		})
	}
}

func TestReadingTheCPUOfAQEMUThatIsGone(t *testing.T) {
	_, err := ReadGuestCPU(context.Background(), gone{}, "/x")
	if !errors.Is(err, qmp.ErrClosed) {
		t.Error(err)
	}
}

type gone struct{}

func (gone) Execute(context.Context, string, any, any) error { return qmp.ErrClosed }
