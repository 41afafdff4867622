package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"virtree/actors"
	"virtree/supervisors"
)

// version is what --version says beside the name, as libvirt's daemons do.
const version = "9.0.0"

// daemonCommand is a daemon by its own name, with libvirt's flags.
func daemonCommand(name string, code *supervisors.ExitCode) *cobra.Command {
	o := actors.Options{Daemon: name}
	var seconds int
	var background bool
	cmd := &cobra.Command{
		Use:     name,
		Short:   name + ", a daemon of libvirt, by virtree",
		Args:    cobra.NoArgs,
		Version: version,
		RunE: func(*cobra.Command, []string) error {
			o.Timeout = time.Duration(seconds) * time.Second
			if background {
				*code = detach()
				return nil
			}
			*code = run(o)
			return nil
		},
	}
	cmd.SetVersionTemplate(name + " (libvirt) {{.Version}}\n")
	f := cmd.Flags()
	f.BoolVarP(&background, "daemon", "d", false, "run as a daemon and write a pid file")
	f.StringVarP(&o.Config, "config", "f", "", "configuration file")
	f.StringVarP(&o.PIDFile, "pid-file", "p", "", "change the name of the pid file")
	f.IntVarP(&seconds, "timeout", "t", 0, "exit after so many seconds without clients and running guests")
	f.BoolVarP(&o.Verbose, "verbose", "v", false, "verbose messages")
	if name == "libvirtd" || name == "virtproxyd" {
		f.BoolVarP(&o.Listen, "listen", "l", false, "listen for TCP/IP connections")
	}
	f.StringVar(&o.Root, "root", "", "prefix of all paths and sockets")
	f.StringArrayVar(&o.Foreign, "foreign", nil, "driver that libvirt's own daemon serves: NAME or NAME=SOCKET (repeatable)")
	metricsFlags(cmd, &o)
	f.BoolVar(&o.Faults, "allow-faults", false, "obey `virtree fault`: for tests")
	return cmd
}

// metricsFlags say where figures are scraped by TCP.
func metricsFlags(cmd *cobra.Command, o *actors.Options) {
	f := cmd.Flags()
	f.StringVar(&o.Metrics, "metrics", "", "serve metrics by HTTP at this address (127.0.0.1:9177), too")
	f.BoolVar(&o.MetricsRemote, "metrics-allow-remote", false, "the address may be reached from other hosts")
}

// run is a daemon in the foreground.
func run(o actors.Options) supervisors.ExitCode {
	// A management daemon is small and mostly idle: it gives memory back rather than keep it for a burst.
	debug.SetGCPercent(50)
	o.Ready, o.Detached = readyToParent, os.Getenv(readyFD) != ""
	return actors.Run(o)
}

// readyFD is where a daemon in the background tells the process that started it that it serves.
const readyFD = "VIRTREE_READY_FD"

// detach starts the same command in the background, without -d, and returns when it serves or has failed.
func detach() supervisors.ExitCode {
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return supervisors.ExitInit
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return supervisors.ExitInit
	}
	exe, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return supervisors.ExitInit
	}
	var args []string
	for _, a := range os.Args {
		if a != "-d" && a != "--daemon" {
			args = append(args, a)
		}
	}
	cmd := &exec.Cmd{Path: exe, Args: args, Env: append(os.Environ(), readyFD+"=3"), Dir: "/",
		Stdin: null, Stdout: null, Stderr: os.Stderr, ExtraFiles: []*os.File{w}, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return supervisors.ExitInit
	}
	_ = w.Close()
	var b [1]byte
	if n, _ := r.Read(b[:]); n == 1 {
		return supervisors.ExitOK
	}
	if err := cmd.Wait(); err != nil {
		if e, ok := err.(*exec.ExitError); ok {
			return supervisors.ExitCode(e.ExitCode())
		}
	}
	return supervisors.ExitInit
}

// readyToParent tells whoever waits in detach.
func readyToParent() {
	if os.Getenv(readyFD) == "" {
		return
	}
	_ = os.Unsetenv(readyFD)
	f := os.NewFile(3, "ready")
	_, _ = f.Write([]byte{1})
	_ = f.Close()
}
