package nftwatch

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/rs/zerolog"
)

// insideVariable in the environment tells that the tests have a network namespace of their own.
const insideVariable = "VIRTREE_NFTWATCH_TEST"

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(insideVariable) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the thread that is the parent must live
	if cmd.Run() != nil {
		os.Exit(1)
	}
}

func TestRemovalsByOthersAreTold(t *testing.T) {
	if os.Getenv(insideVariable) == "" {
		t.Skip("needs root, for a network namespace of its own")
	}
	if out, err := exec.Command("nft", "add table inet nftwatch_test; add chain inet nftwatch_test c; add rule inet nftwatch_test c accept").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	heard := make(chan []string, 64)
	w := Start(zerolog.Nop(), func(tables []string) { heard <- tables })
	defer w.Close()
	wait := func(what string, ok func([]string) bool) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			select {
			case tables := <-heard:
				if ok(tables) {
					return
				}
			case <-deadline:
				t.Fatal("not heard: " + what)
			}
		}
	}
	wait("the start", func(tables []string) bool { return tables == nil })
	for _, command := range []string{"flush chain inet nftwatch_test c", "delete chain inet nftwatch_test c", "delete table inet nftwatch_test"} {
		if out, err := exec.Command("nft", command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %s", command, out)
		}
		wait(command, func(tables []string) bool { return slices.Contains(tables, "nftwatch_test") })
	}
	// What this process does is not told: the next that is heard is the other program's.
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	c.DelTable(c.AddTable(&nftables.Table{Name: "own", Family: nftables.TableFamilyINet}))
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("nft", "add table inet other; delete table inet other").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	wait("the other program", func(tables []string) bool {
		if slices.Contains(tables, "own") {
			t.Error("told of our own change")
		}
		return slices.Contains(tables, "other")
	})
	w.Close()
	w.Close()
}

// What this process does is not told, what is cut short does no harm.
func TestReading(t *testing.T) {
	message := func(kind uint16, attrs ...string) []byte {
		body := []byte{0, 0, 0, 0}
		for i := 0; i+1 < len(attrs); i += 2 {
			v := attrs[i+1] + "\x00"
			a := []byte{byte(4 + len(v)), 0, attrs[i][0] - '0', 0}
			body = append(append(body, a...), v...)
			for len(body)%4 != 0 {
				body = append(body, 0)
			}
		}
		n := 16 + len(body)
		return append([]byte{byte(n), 0, 0, 0, byte(kind), 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, body...)
	}
	packet := slices.Concat(message(8, "1", "a"), message(8, "1", "a"), message(2, "1", "b"), message(15, "3", "nft"),
		message(8, "1", "c"), message(15, "3", "me"), message(6, "1", "d"), message(15, "3", "nft"))
	me := func(name string, _ uint32) bool { return name == "me" }
	var tr transaction
	var got []string
	for _, tables := range tr.read(packet, me) {
		got = append(got, strings.Join(tables, "+"))
	}
	if strings.Join(got, " ") != "a+b" {
		t.Errorf("told %q", got)
	}
	for n := range packet {
		(&transaction{}).read(packet[:n], me)
	}
}
