package isolation

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The stand-in emulator: QEMU, with a relay in front of its monitor that says what is no JSON once it is told to (SIGUSR1).

const realQEMU = "/usr/bin/qemu-system-x86_64"

// garbler puts the stand-in into dir, where any user may run it.
func garbler(dir string) (string, error) {
	path := filepath.Join(dir, "garbler")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("cp", exe, path+".bin").CombinedOutput(); err != nil {
		return "", fmt.Errorf("copy the stand-in emulator: %s", out)
	}
	script := fmt.Sprintf("#!/bin/sh\n%s='%s' exec %s.bin bench \"$@\"\n", helperVariable, strings.TrimPrefix(helperOrder{Do: "garble"}.env(), helperVariable+"="), path)
	return path, os.WriteFile(path, []byte(script), 0o755)
}

// monitorChardev is the monitor's listening socket, which the daemon hands down.
var monitorChardev = regexp.MustCompile(`^(socket,id=charmonitor,fd=)([0-9]+)(,.*)$`)

// garble is the stand-in.
func garble(args []string) error {
	listener := -1
	for i, a := range args {
		m := monitorChardev.FindStringSubmatch(a)
		if m == nil {
			continue
		}
		fmt.Sscan(m[2], &listener)
		// QEMU listens at an address that the kernel picks, and we ask it there.
		mine, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		if err := unix.Bind(mine, &unix.SockaddrUnix{}); err != nil {
			return err
		}
		if err := unix.Listen(mine, 1); err != nil {
			return err
		}
		args[i] = fmt.Sprintf("%s%d%s", m[1], mine, m[3])
		unix.CloseOnExec(listener)
		return relay(listener, mine, args)
	}
	return syscall.Exec(realQEMU, append([]string{realQEMU}, args...), os.Environ()) // it is asked what it can do
}

func relay(listener, mine int, args []string) error {
	where, err := unix.Getsockname(mine)
	if err != nil {
		return err
	}
	trigger := make(chan os.Signal, 1)
	signal.Notify(trigger, syscall.SIGUSR1)
	runtime.LockOSThread() // QEMU ends with this thread
	qemu := exec.Command(realQEMU, args...)
	qemu.Stdout, qemu.Stderr = os.Stdout, os.Stderr
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := qemu.Start(); err != nil {
		return err
	}
	unix.Close(mine)
	go func() {
		l, err := net.FileListener(os.NewFile(uintptr(listener), "monitor"))
		if err != nil {
			return
		}
		for {
			daemon, err := l.Accept()
			if err != nil {
				return
			}
			monitor, err := net.Dial("unix", "@"+strings.TrimPrefix(where.(*unix.SockaddrUnix).Name, "@"))
			if err != nil {
				daemon.Close()
				continue
			}
			go func() { _, _ = io.Copy(monitor, daemon) }()
			go func() { _, _ = io.Copy(daemon, monitor) }()
			go func() {
				<-trigger
				for range 100 {
					_, _ = daemon.Write([]byte("{\"return\": [[[ \x01\x02 no JSON \"at\" all }\r\n"))
				}
			}()
		}
	}()
	return qemu.Wait()
}
