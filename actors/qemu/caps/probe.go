package caps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"virtree/actors/qemu/qmp"
)

// probeTimeout bounds one start of a binary. The answers take 0.1 s; the rest is for hosts that swap.
const probeTimeout = 30 * time.Second

// Probe asks a binary what it can do. It starts it once, or twice where KVM is usable, since the CPU models of the
// emulator are only shown without KVM. cred, if not nil, is the user the binary runs as.
func Probe(ctx context.Context, binary string, kvmUsable bool, cred *syscall.Credential) (*Caps, error) {
	type outcome struct {
		c   *Caps
		err error
	}
	emulated := make(chan outcome, 1)
	ask := func(accel string, into func(context.Context, qmp.Executor, *qmp.Greeting, *Caps) error) outcome {
		c := &Caps{Binary: binary}
		err := withQEMU(ctx, binary, accel, cred, func(ctx context.Context, q *qmp.Client) error {
			return into(ctx, q, &q.Greeting, c)
		})
		return outcome{c, err}
	}
	if !kvmUsable {
		all := ask("tcg", probeAll)
		return all.c, all.err
	}
	go func() { emulated <- ask("tcg", probeCPUs) }()
	all := ask("kvm:tcg", probeAll)
	tcg := <-emulated
	if all.err != nil {
		return nil, all.err
	}
	c := all.c
	switch {
	case tcg.err == nil:
		c.TCG = true
		maps.Copy(c.CPUs, tcg.c.CPUs)
		maps.Copy(c.HostCPU, tcg.c.HostCPU)
	case ctx.Err() != nil:
		return nil, tcg.err
	default:
		c.TCG = false // a binary built without the emulator refuses to start
	}
	return c, nil
}

// withQEMU runs f on a binary without guest and ends it afterwards. The monitor is one end of a socket pair, so nothing
// appears in the file system and there is nothing to wait for.
func withQEMU(ctx context.Context, binary, accel string, cred *syscall.Credential, f func(context.Context, *qmp.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()

	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	cmd := exec.CommandContext(ctx, binary, "-S", "-no-user-config", "-nodefaults", "-nographic",
		"-machine", "none,accel="+accel, "-chardev", "socket,id=probe,fd=3", "-mon", "chardev=probe,mode=control")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH"), "HOME=/"}
	cmd.Dir = "/"
	stderr := &head{max: 4096}
	cmd.Stderr = stderr
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, Credential: cred}

	// The signal at our death hangs on the thread that forked; it must live as long as the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		ours.Close()
		return failedToStart(binary, err.Error())
	}
	theirs.Close()
	err = func() error {
		q, err := qmp.New(ctx, ours, qmp.Handler{})
		if err != nil {
			return err
		}
		defer q.Close()
		return f(ctx, q)
	}()
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil && ctx.Err() == nil && qmp.IsEOF(err) {
		return failedToStart(binary, stderr.String())
	}
	if err != nil && errors.Is(err, context.DeadlineExceeded) {
		return &ProbeError{Binary: binary, Why: "no answer within " + probeTimeout.String(), Passing: true}
	}
	return err
}

// head keeps the beginning of what is written to it.
type head struct {
	bytes.Buffer
	max int
}

func (h *head) Write(b []byte) (int, error) {
	h.Buffer.Write(b[:min(len(b), h.max-h.Len())])
	return len(b), nil
}

func failedToStart(binary, why string) error {
	if why = strings.TrimSpace(why); why == "" {
		why = "unknown error"
	}
	return &ProbeError{Binary: binary, Why: why}
}

// ProbeError: the binary did not start or did not speak QMP.
type ProbeError struct {
	Binary, Why string
	Passing     bool // it was too slow, which may be the host's fault: worth another try
}

func (e *ProbeError) Error() string {
	return fmt.Sprintf("Failed to start QEMU binary %s for probing: %s", e.Binary, e.Why)
}

func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	f := os.NewFile(uintptr(fds[0]), "qmp")
	defer f.Close()
	theirs := os.NewFile(uintptr(fds[1]), "qmp")
	ours, err := net.FileConn(f)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// probeAll fills everything but the emulator's CPU models.
func probeAll(ctx context.Context, q qmp.Executor, hello *qmp.Greeting, c *Caps) error {
	c.Version = hello.VersionNumber()
	c.Package = hello.Version.Package
	target, err := qmp.QueryTarget(ctx, q)
	if err != nil {
		return err
	}
	c.Arch = archFromQEMU(target)
	if _, c.KVM, err = qmp.QueryKVM(ctx, q); err != nil && !qmp.IsClass(err, qmp.ClassCommandNotFound) {
		return err
	}
	c.TCG = !c.KVM // corrected by the caller, who knows from a second start
	for _, step := range []func(context.Context, qmp.Executor, *Caps) error{
		probeMachines, probeSchema, probeTypes, probeOptions, probeMisc,
	} {
		if err := step(ctx, q, c); err != nil {
			return err
		}
	}
	return probeCPUs(ctx, q, hello, c)
}

func probeMachines(ctx context.Context, q qmp.Executor, c *Caps) error {
	list, err := qmp.QueryMachines(ctx, q)
	if err != nil {
		return err
	}
	for _, m := range list {
		if m.Name == "none" || strings.HasPrefix(m.Name, "xenfv") || m.Name == "xenpv" {
			continue // not for guests of this driver
		}
		machine := Machine{
			Name: m.Name, Alias: m.Alias, Default: m.IsDefault, MaxCPUs: m.CPUMax, HotplugCPUs: m.HotpluggableCPUs,
			Deprecated: m.Deprecated, NUMAMem: m.NUMAMemSupported, DefaultCPU: m.DefaultCPUType, DefaultRAMID: m.DefaultRAMID,
		}
		if m.ACPI != nil {
			machine.ACPI = *m.ACPI
		} else {
			machine.ACPI = hasACPI(c.Arch, machine)
		}
		if machine.Default {
			c.Machines = slices.Insert(c.Machines, 0, machine)
		} else {
			c.Machines = append(c.Machines, machine)
		}
	}
	return nil
}

func hasACPI(arch string, m Machine) bool {
	switch arch {
	case "i686", "x86_64":
		return m.Name != "isapc"
	case "aarch64", "armv7l", "riscv64", "loongarch64":
		return m.Name == "virt" || strings.HasPrefix(m.Name, "virt-")
	}
	return false
}

func probeSchema(ctx context.Context, q qmp.Executor, c *Caps) error {
	raw, err := qmp.QueryQMPSchema(ctx, q)
	if err != nil {
		return err
	}
	s, err := parseSchema(raw)
	if err != nil {
		return err
	}
	c.Args = s.args()
	c.Events = s.events()
	c.Commands = make(map[string]bool, len(c.Args))
	for name := range c.Args {
		c.Commands[name] = true
	}
	c.Schema = make(map[string]bool)
	for _, query := range schemaQueries {
		if s.has(query) {
			c.Schema[query] = true
		}
	}
	return nil
}

// probeTypes fills Devices and Objects.
func probeTypes(ctx context.Context, q qmp.Executor, c *Caps) error {
	types, err := qmp.QOMListTypes(ctx, q, "device", false)
	if err != nil {
		return err
	}
	c.Devices = make(map[string]Props, len(types))
	for _, t := range types {
		if !strings.HasSuffix(t.Name, "-cpu") {
			c.Devices[t.Name] = nil
		}
	}
	for _, name := range probedDevices {
		if _, ok := c.Devices[name]; !ok {
			continue
		}
		list, err := qmp.DeviceListProperties(ctx, q, name)
		if err != nil {
			var refused *qmp.Error
			if errors.As(err, &refused) {
				continue // a type that cannot be made without a machine
			}
			return err
		}
		c.Devices[name] = propNames(list)
	}
	if types, err = qmp.QOMListTypes(ctx, q, "user-creatable", false); err != nil {
		return err
	}
	c.Objects = make(map[string]Props, len(types))
	for _, t := range types {
		c.Objects[t.Name] = nil
	}
	for _, name := range probedObjects {
		if _, ok := c.Objects[name]; !ok {
			continue
		}
		list, err := qmp.QOMListProperties(ctx, q, name)
		if err != nil {
			return err
		}
		c.Objects[name] = propNames(list)
	}
	return nil
}

func propNames(list []qmp.Property) Props {
	p := make(Props, len(list))
	for _, prop := range list {
		p[prop.Name] = true
	}
	return p
}

func probeOptions(ctx context.Context, q qmp.Executor, c *Caps) error {
	list, err := qmp.QueryCommandLineOptions(ctx, q)
	if err != nil {
		return err
	}
	c.Options = make(map[string]Props, len(list))
	for _, group := range list {
		p := make(Props, len(group.Parameters))
		for _, param := range group.Parameters {
			p[param.Name] = true
		}
		c.Options[group.Option] = p
	}
	return nil
}

// probeMisc asks what only some builds know; a refusal means "no".
func probeMisc(ctx context.Context, q qmp.Executor, c *Caps) error {
	optional := func(err error) error {
		var refused *qmp.Error
		if errors.As(err, &refused) {
			return nil
		}
		return err
	}
	m, err := qmp.QueryMigrateCapabilities(ctx, q)
	if err != nil {
		return err
	}
	c.Migration = make(map[string]bool, len(m))
	for name := range m {
		c.Migration[name] = true
	}
	if c.TPM.Models, err = qmp.QueryTPMModels(ctx, q); optional(err) != nil {
		return err
	}
	if c.TPM.Types, err = qmp.QueryTPMTypes(ctx, q); optional(err) != nil {
		return err
	}
	var sev struct {
		PDH       string `json:"pdh"`
		CertChain string `json:"cert-chain"`
		CPU0ID    string `json:"cpu0-id"`
		CBitPos   uint32 `json:"cbitpos"`
		Reduced   uint32 `json:"reduced-phys-bits"`
	}
	if err := q.Execute(ctx, "query-sev-capabilities", nil, &sev); err == nil {
		c.SEV = &SEV{PDH: sev.PDH, CertChain: sev.CertChain, CPU0ID: sev.CPU0ID, CBitPos: sev.CBitPos, ReducedPhysBits: sev.Reduced}
		c.SEV.MaxGuests, c.SEV.MaxESGuests = sevGuests()
	} else if optional(err) != nil {
		return err
	}
	var sgx struct {
		SGX, SGX1, SGX2, FLC bool
		Sections             []struct {
			Node int    `json:"node"`
			Size uint64 `json:"size"`
		} `json:"sections"`
	}
	if err := q.Execute(ctx, "query-sgx-capabilities", nil, &sgx); err == nil && sgx.SGX {
		c.SGX = &SGX{FLC: sgx.FLC, SGX1: sgx.SGX1, SGX2: sgx.SGX2}
		for _, s := range sgx.Sections {
			c.SGX.Sections = append(c.SGX.Sections, SGXSection{Node: s.Node, SizeKiB: s.Size / 1024})
			c.SGX.SectionSizeKiB += s.Size / 1024
		}
	} else if optional(err) != nil {
		return err
	}
	var gic []struct {
		Version int `json:"version"`
	}
	if err := optional(q.Execute(ctx, "query-gic-capabilities", nil, &gic)); err != nil {
		return err
	}
	for _, g := range gic {
		c.GIC = append(c.GIC, g.Version)
	}
	return nil
}
