package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startWeb serves the page of a host's tree and returns its address.
func (h *host) startWeb(listen string) string {
	h.Helper()
	cmd := virtree("web", "--root", h.root, "--listen", listen, "-n", "200ms")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			h.Errorf("virtree web: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		h.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "virtree web: "))
}

// evil is a name that libvirt allows, and that would do harm on a page that took it for markup.
const evil = `<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>`

// The page is seen in a real browser: it follows the tree without being loaded again, it asks nobody else for anything,
// and what others have chosen is text on it.
func TestThePageInABrowser(t *testing.T) {
	for mode, args := range map[string][]string{"single": {"run", "-q", "--allow-faults"}, "split": {"run", "-q", "--split", "--allow-faults"}} {
		t.Run(mode, func(t *testing.T) {
			b := newBrowser(t)
			h := newHost(t, args...)
			h.up()
			h.guest("sick")
			h.guest("well")
			file := filepath.Join(h.root, "evil.xml")
			text := "<domain type='qemu'><name>" + strings.NewReplacer("<", "&lt;", ">", "&gt;", "/", "-").Replace(evil) + "</name><memory unit='MiB'>16</memory><os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			h.mustVirsh("define", file)
			page := h.startWeb("127.0.0.1:0")
			b.open(page)
			row := func(name string) string {
				return `[...document.querySelectorAll('tr.object')].find(r => r.querySelector('.name').textContent === '` + name + `')`
			}
			b.sees("a running guest", row("sick")+`?.textContent.includes('running')`)
			b.eval("window.loadedOnce = true")
			if got := b.eval(`document.getElementById('guests-n').textContent`); got != "2 of 3 running" {
				t.Errorf("guests: %s", got)
			}
			b.sees("the name that holds markup, as text", `[...document.querySelectorAll('tr.object .name')].some(e => e.textContent.includes('<img src=x onerror='))`)

			h.mustRun("fault", "panic", "sick")
			b.sees("the crash", `[...document.querySelectorAll('#faults li')].some(e => e.textContent.includes('crash') && e.querySelector('.who').textContent === 'sick' && e.textContent.includes('injected fault'))`)
			b.eval(`document.querySelector('#faults details').open = true`)
			b.sees("the stack of the crash", `document.querySelector('#faults pre').textContent.includes('fault.(*Panic).Inject')`)
			h.mustRun("fault", "stall", "sick", "--for", "4s")
			b.sees("the stuck guest", row("sick")+`?.querySelector('.state.bad')?.textContent === 'stuck' && document.querySelector('#wrong.bad')`)
			b.shot("stuck")
			b.sees("its return", row("sick")+`?.querySelector('.state.ok') && !document.querySelector('#wrong.bad')`)
			h.mustVirsh("suspend", "well")
			b.sees("the paused guest", row("well")+`?.textContent.includes('paused')`)
			b.sees("calls with their latency", `document.getElementById('lat-n').textContent.match(/[0-9] (µs|ms|s)/)`)

			if mode == "split" {
				h.mustRun("fault", "exit", "qemu")
				b.sees("the end of the branch", `[...document.querySelectorAll('#faults li')].some(e => e.textContent.includes('exit') && e.textContent.includes('virtqemud'))`)
				b.sees("the branch and its guests, back", row("sick")+`?.textContent.includes('running') && `+row("well")+`?.textContent.includes('paused')`)
			}
			h.mustRun("fault", "panic", "sick", "--times", "20")
			b.sees("the quarantine", `document.querySelector('#quarantine .who')?.textContent === 'sick'`)
			b.shot("light")
			b.size(1440, 1100, true)
			b.shot("dark")
			b.size(420, 900, false)
			b.shot("narrow")
			if wide := b.eval(`document.documentElement.scrollWidth`); wide != "420" {
				t.Errorf("on a narrow screen the page is %s wide", wide)
			}

			h.mustRun("release", "sick")
			b.sees("the end of the quarantine", `document.getElementById('quarantine-box').hidden && `+row("sick")+`?.textContent.includes('running')`)

			// By keyboard: / leads to the filter, and Enter closes a branch.
			b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyDown", "key": "/", "text": "/"}, nil)
			b.call("Input.insertText", map[string]any{"text": "well"}, nil)
			b.sees("only what the filter leaves", row("well")+` && !`+row("sick"))
			b.eval(`[...document.querySelectorAll('button.branch')].find(e => e.textContent === 'qemu').focus()`)
			b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyDown", "key": "Enter", "text": "\r", "windowsVirtualKeyCode": 13}, nil)
			b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": "Enter", "windowsVirtualKeyCode": 13}, nil)
			b.sees("a closed branch", `document.activeElement.getAttribute('aria-expanded') === 'false' && !`+row("well"))

			if got := b.eval("window.loadedOnce === true && window.harmed === undefined"); got != "true" {
				t.Error("the page was loaded again, or a name became markup")
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, u := range b.requests {
				if !strings.HasPrefix(u, page) && u != "about:blank" {
					t.Errorf("it asked for %s", u)
				}
			}
			if len(b.requests) < 5 {
				t.Errorf("requests were not seen: %v", b.requests)
			}
			for _, e := range b.errors {
				t.Errorf("the page's script: %s", e)
			}
		})
	}
}

// A browser without server-sent events asks again and again.
func TestThePageWithoutEvents(t *testing.T) {
	b := newBrowser(t)
	h := newHost(t, "run", "-q", "--allow-faults")
	h.up()
	b.call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": "delete window.EventSource"}, nil)
	b.open(h.startWeb("127.0.0.1:0"))
	b.sees("the tree", `document.querySelectorAll('button.branch').length >= 9 && document.getElementById('link-text').textContent.startsWith('asking')`)
	h.guest("late")
	b.sees("what came later", `[...document.querySelectorAll('tr.object .name')].some(e => e.textContent === 'late')`)
}

// The tree may end under the page, and come back.
func TestThePageOutlivesTheTree(t *testing.T) {
	h := &host{T: t, root: t.TempDir()}
	page := h.startWeb("127.0.0.1:0")
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		r, err := http.Get(page + "view")
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if strings.Contains(string(text), `"mode":"off"`) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s", text)
		}
	}
}

func TestThePageIsForTheLoopback(t *testing.T) {
	for _, args := range [][]string{{"0.0.0.0:0"}, {":0"}, {"192.0.2.1:80"}, {"[::]:0"}} {
		cmd := virtree("web", "--root", t.TempDir(), "--listen", args[0])
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "--allow-remote") {
			t.Errorf("%v: %v %s", args, err, out)
		}
	}
	h := &host{T: t, root: t.TempDir()}
	address, err := url.Parse(h.startWeb("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	if l, err := net.Listen("tcp", "127.0.0.2:"+address.Port()); err != nil {
		t.Errorf("it listens on more than it was told: %v", err)
	} else {
		l.Close()
	}
	socket := filepath.Join(h.root, "web.sock")
	if where := h.startWeb("unix:" + socket); where != socket {
		t.Errorf("it says it serves %s", where)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}
