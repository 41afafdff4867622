package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// browser is a headless Chromium with one page, spoken to by the DevTools protocol over a pair of pipes: JSON messages,
// each with a zero byte behind it. That needs no library and no port.
type browser struct {
	*testing.T
	cmd     *exec.Cmd
	in      *os.File
	session string

	mu       sync.Mutex
	last     int
	waiting  map[int]chan reply
	requests []string // URLs that the page asked for
	errors   []string // what the page's script and its policy complained about
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// newBrowser starts one; without Chromium the test is skipped.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium-headless-shell", "chromium"} {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		t.Skip("neither chromium-headless-shell nor chromium is installed")
	}
	toChild, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, fromChild, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	b := &browser{T: t, in: in, waiting: map[int]chan reply{}}
	b.cmd = exec.Command(path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir="+home, "--remote-debugging-pipe", "about:blank")
	b.cmd.ExtraFiles = []*os.File{toChild, fromChild} // 3 and 4, as Chromium expects
	b.cmd.Env = append(os.Environ(), "HOME="+home)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = toChild.Close()
	_ = fromChild.Close()
	go b.read(out)
	t.Cleanup(func() {
		_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
		_ = b.cmd.Wait()
		_ = in.Close()
		_ = out.Close()
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	b.size(1440, 1100, false)
	return b
}

func (b *browser) read(out *os.File) {
	r := bufio.NewReaderSize(out, 1<<20)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID     int
			Method string
			Params json.RawMessage
			reply
		}
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if to := b.waiting[m.ID]; to != nil {
			delete(b.waiting, m.ID)
			to <- m.reply
		}
		b.note(m.Method, m.Params)
		b.mu.Unlock()
	}
}

// note keeps what a test asks for later.
func (b *browser) note(method string, params json.RawMessage) {
	switch method {
	case "Network.requestWillBeSent":
		var p struct{ Request struct{ URL string } }
		_ = json.Unmarshal(params, &p)
		b.requests = append(b.requests, p.Request.URL)
	case "Runtime.exceptionThrown":
		b.errors = append(b.errors, string(params))
	case "Log.entryAdded":
		var p struct {
			Entry struct{ Level, Text, Source string }
		}
		_ = json.Unmarshal(params, &p)
		if p.Entry.Level == "error" && p.Entry.Source != "network" { // that the tree is away for a moment is no mistake of the page
			b.errors = append(b.errors, p.Entry.Text)
		}
	}
}

// call sends a command and waits for its answer.
func (b *browser) call(method string, params map[string]any, result any) {
	b.Helper()
	b.mu.Lock()
	b.last++
	id, got := b.last, make(chan reply, 1)
	b.waiting[id] = got
	b.mu.Unlock()
	m := map[string]any{"id": id, "method": method}
	if params != nil {
		m["params"] = params
	}
	if b.session != "" {
		m["sessionId"] = b.session
	}
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.in.Write(append(text, 0))
	}
	if err != nil {
		b.Fatalf("%s: %v", method, err)
	}
	select {
	case r := <-got:
		if r.Error != nil {
			b.Fatalf("%s: %s", method, r.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(r.Result, result); err != nil {
				b.Fatalf("%s: %v", method, err)
			}
		}
	case <-time.After(patience):
		b.Fatalf("%s: no answer", method)
	}
}

func (b *browser) size(width, height int, dark bool) {
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	scheme := map[bool]string{true: "dark", false: "light"}[dark]
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

func (b *browser) open(url string) { b.call("Page.navigate", map[string]any{"url": url}, nil) }

// eval is the value of an expression on the page, as text.
func (b *browser) eval(expression string) string {
	b.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if r.ExceptionDetails != nil {
		b.Fatalf("%s: %s", expression, r.ExceptionDetails.Text)
	}
	return fmt.Sprint(r.Result.Value)
}

// sees waits until an expression on the page is true.
func (b *browser) sees(what, expression string) {
	b.Helper()
	for end := time.Now().Add(patience); b.eval("Boolean("+expression+")") != "true"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			b.shot("failed")
			b.Fatalf("the page never shows %s; it says:\n%s", what, b.eval("document.body.innerText"))
		}
	}
}

// shot writes a picture of the page when VIRTREE_SHOTS names a folder to look at.
func (b *browser) shot(name string) {
	dir := os.Getenv("VIRTREE_SHOTS")
	if dir == "" {
		return
	}
	var r struct{ Data []byte }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &r)
	file := filepath.Join(dir, strings.ReplaceAll(b.Name()+"-"+name, "/", "-")+".png")
	if err := os.WriteFile(file, r.Data, 0o644); err != nil {
		b.Error(err)
	}
}
