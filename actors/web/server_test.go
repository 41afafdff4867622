package web

import (
	"net/http/httptest"
	"strings"
	"testing"

	"virtree/actors/follow"
)

func TestWhoMayAsk(t *testing.T) {
	s := New(follow.New(nil, 0), Options{Hosts: []string{"vm.example"}})
	for name, c := range map[string]struct {
		method, path, host, site, mode string
		want                           int
	}{
		"the loopback by name":            {"GET", "/", "localhost:8477", "", "", 200},
		"by number":                       {"GET", "/app.js", "127.0.0.1:1", "same-origin", "cors", 200},
		"by the other number":             {"GET", "/style.css", "[::1]:8477", "", "", 200},
		"a name it was given":             {"GET", "/", "VM.example", "", "", 200},
		"a name pointed here (rebinding)": {"GET", "/", "evil.example:8477", "", "", 421},
		"no name":                         {"GET", "/", "", "", "", 421},
		"a method that could change":      {"POST", "/", "localhost", "", "", 405},
		"a script of another site":        {"GET", "/view", "localhost", "cross-site", "no-cors", 403},
		"a link on another site":          {"GET", "/", "localhost", "cross-site", "navigate", 200},
		"nothing there":                   {"GET", "/etc/passwd", "localhost", "", "", 404},
		"a wish that is none":             {"GET", "/view?show=qemu:x", "localhost", "", "", 400},
	} {
		r := httptest.NewRequest(c.method, c.path, nil)
		r.Host = c.host
		r.Header.Set("Sec-Fetch-Site", c.site)
		r.Header.Set("Sec-Fetch-Mode", c.mode)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", name, w.Code, c.want)
		}
		if p := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'") || strings.Contains(p, "unsafe") {
			t.Errorf("%s: policy %q", name, p)
		}
	}
}
