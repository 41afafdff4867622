package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// openPTY makes a pseudo-terminal: virsh console insists on one.
func openPTY() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, slave, nil
}

// cmdConsole talks to a guest through virsh console: wait TEXT, send TEXT, prompt TEXT (by pressing return), escape (as
// a user leaves it) and end (the guest dies and the console with it).
func cmdConsole(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	_, t := tree(ts)
	master, slave, err := openPTY()
	ts.Check(err)
	defer master.Close()
	cmd := exec.Command("virsh", "-c", t.URI(), "console", "--force", args[0])
	cmd.Env = append(t.Env(), "TERM=dumb")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	slave.Close()
	ts.Check(err)
	b := &watch{cmd: cmd, done: make(chan struct{}), more: make(chan struct{}, 1)}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			b.Write(buf[:n])
			if err != nil {
				return // the slave's side is closed: virsh has ended
			}
		}
	}()
	go func() {
		cmd.Wait()
		close(b.done)
	}()
	defer func() {
		cmd.Process.Kill()
		<-b.done
	}()
	seen := 0
	// Before this the terminal still echoes what is sent.
	if err := b.after(&seen, "Escape character is", time.Minute); err != nil {
		ts.Fatalf("console: %v", err)
	}
	for i := 1; i < len(args); i++ {
		switch args[i] {
		case "wait":
			i++
			if err := b.after(&seen, args[i], time.Minute); err != nil {
				ts.Fatalf("console: %v", err)
			}
		case "prompt":
			// What is typed while virsh changes the terminal's mode is lost, and nothing tells when that is over.
			i++
			var err error
			for range 30 {
				if _, err = master.WriteString("\r"); err != nil {
					break
				}
				if err = b.after(&seen, args[i], 2*time.Second); err == nil {
					break
				}
			}
			if err != nil {
				ts.Fatalf("console: %v", err)
			}
		case "send":
			i++
			_, err := master.WriteString(args[i] + "\r")
			ts.Check(err)
		case "escape":
			_, err := master.Write([]byte{0x1d})
			ts.Check(err)
			awaitEnd(ts, b)
		case "end":
			awaitEnd(ts, b)
		default:
			ts.Fatalf("console NAME [wait TEXT|send TEXT|prompt TEXT|escape|end]...")
		}
	}
	fmt.Fprint(ts.Stdout(), b.text())
}

func awaitEnd(ts *testscript.TestScript, b *watch) {
	select {
	case <-b.done:
	case <-time.After(15 * time.Second):
		ts.Fatalf("virsh console did not end; it printed:\n%s", b.text())
	}
}
