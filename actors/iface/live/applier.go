package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"virtree/actors/iface/def"
)

// Applier starts and stops interfaces.
type Applier interface {
	// Up starts an interface. When it fails, what it made is gone again.
	Up(ctx context.Context, i *def.Interface) error
	// Down stops it: addresses gone, links that a definition makes removed.
	Down(ctx context.Context, i *def.Interface) error
}

// For chooses the applier for a configuration of a kind ("ifupdown", "networkd") below root. run is a folder for process
// ids, which ends with the boot.
func For(kind, root, run string) Applier {
	switch {
	case root != "":
	case kind == "ifupdown" && found("ifup") && found("ifdown"):
		return Tools{}
	case kind == "networkd" && found("networkctl") && networkdRuns():
		return Networkctl{}
	}
	return &Kernel{Run: run}
}

func found(tool string) bool {
	_, err := exec.LookPath(tool)
	return err == nil
}

// networkdRuns asks for the folder that networkd keeps as long as it runs.
func networkdRuns() bool {
	_, err := os.Stat("/run/systemd/netif/state")
	return err == nil
}

// Tools are ifup and ifdown.
type Tools struct{ Args []string } // more arguments: another file, another folder of state

// Up runs ifup.
func (t Tools) Up(ctx context.Context, i *def.Interface) error {
	return run(ctx, "ifup", append(append([]string(nil), t.Args...), i.Name)...)
}

// Down runs ifdown. An interface that somebody else has brought up is not in ifdown's list, hence --force.
func (t Tools) Down(ctx context.Context, i *def.Interface) error {
	return run(ctx, "ifdown", append(append([]string{"--force"}, t.Args...), i.Name)...)
}

// Networkctl is systemd-networkd.
type Networkctl struct{}

// Up lets networkd read its files again, which makes missing links, and brings the interface up.
func (Networkctl) Up(ctx context.Context, i *def.Interface) error {
	if err := run(ctx, "networkctl", "reload"); err != nil {
		return err
	}
	return run(ctx, "networkctl", "up", i.Name)
}

// Down brings the interface down, and removes it when networkd had made it.
func (Networkctl) Down(ctx context.Context, i *def.Interface) error {
	if err := run(ctx, "networkctl", "down", i.Name); err != nil || i.Type == "ethernet" {
		return err
	}
	return run(ctx, "networkctl", "delete", i.Name)
}

// run runs a program to its end. Its last line is the error.
func run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return errors.Join(fmt.Errorf("failed to execute external program - running '%s %s' failed: %v: %s", name, strings.Join(args, " "), err, lines[len(lines)-1]), ctx.Err())
}
