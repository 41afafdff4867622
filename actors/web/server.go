package web

import (
	"embed"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"virtree/actors/follow"
)

//go:embed assets
var assets embed.FS

// Options of a page.
type Options struct {
	Hosts   []string // names, without a port, that requests may come for; those of the loopback are always among them
	Every   time.Duration
	Viewers int // streams at the same time; 0 = 32
	Log     zerolog.Logger
}

// Server is the page as an http.Handler.
type Server struct {
	opts    Options
	feed    *feed
	mux     *http.ServeMux
	viewers chan struct{} // a place for each
}

// New makes the page of the tree that f follows. The follower is the server's from now on.
func New(f *follow.Follower, opts Options) *Server {
	if opts.Every == 0 {
		opts.Every = time.Second
	}
	if opts.Viewers == 0 {
		opts.Viewers = 32
	}
	s := &Server{opts: opts, feed: newFeed(f, opts.Every), mux: http.NewServeMux(), viewers: make(chan struct{}, opts.Viewers)}
	for path, file := range map[string]struct{ name, kind string }{
		"/{$}":       {"index.html", "text/html; charset=utf-8"},
		"/style.css": {"style.css", "text/css; charset=utf-8"},
		"/app.js":    {"app.js", "text/javascript; charset=utf-8"},
		"/icon.svg":  {"icon.svg", "image/svg+xml"},
	} {
		text, err := assets.ReadFile("assets/" + file.name)
		if err != nil {
			panic(err) // it is part of the program
		}
		s.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", file.kind)
			_, _ = w.Write(text)
		})
	}
	s.mux.HandleFunc("/view", s.view)
	s.mux.HandleFunc("/live", s.live)
	s.mux.HandleFunc("/stack", s.stack)
	return s
}

// policy allows the page's own script, style and picture, and requests to where it came from. Nothing else is loaded,
// framed, submitted to or made markup of.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "This page only shows.", http.StatusMethodNotAllowed)
	case !s.ours(r.Host):
		http.Error(w, "This page is not served under that name.", http.StatusMisdirectedRequest)
	case foreign(r):
		http.Error(w, "Another site may not ask.", http.StatusForbidden)
	default:
		s.mux.ServeHTTP(w, r)
	}
}

// ours: a page elsewhere can point a name of its own at us (DNS rebinding), but not make the browser say another name.
func (s *Server) ours(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(host, "]"), "["), "."))
	if host == "localhost" {
		return true
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return true
	}
	for _, name := range s.opts.Hosts {
		if strings.EqualFold(name, host) {
			return true
		}
	}
	return false
}

// foreign: browsers say when a page of another site asks. To follow a link to the page is all such may do.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.URL.Path != "/"
}

// answerLimit is how long a viewer may take to read what it was sent.
const answerLimit = 10 * time.Second

func (s *Server) view(w http.ResponseWriter, r *http.Request) {
	want, err := parseWish(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	release := s.feed.watch()
	defer release()
	m, _ := s.feed.next(r.Context(), 0)
	if m == nil {
		http.Error(w, "no look has been taken yet", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerLimit))
	_ = json.NewEncoder(w).Encode(makeView(m, want))
}

// live sends a View for each look until the viewer goes.
func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	want, err := parseWish(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case s.viewers <- struct{}{}:
		defer func() { <-s.viewers }()
	default:
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many viewers", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	release := s.feed.watch()
	defer release()
	out := http.NewResponseController(w)
	seen := uint64(0)
	for {
		m, number := s.feed.next(r.Context(), seen)
		if m == nil {
			return
		}
		seen = number
		b, err := json.Marshal(makeView(m, want))
		if err != nil {
			s.opts.Log.Error().Err(err).Msg("cannot send a view")
			return
		}
		want.since = m.sample.At.UnixMilli() // points of plots are sent once
		_ = out.SetWriteDeadline(time.Now().Add(answerLimit))
		if _, err := fmt.Fprintf(w, "event: view\ndata: %s\n\n", b); err != nil {
			return
		}
		if out.Flush() != nil {
			return
		}
	}
}

func (s *Server) stack(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	m, _ := s.feed.next(r.Context(), 0)
	if m != nil {
		for _, t := range m.sample.Records {
			if recordID(t) == q.Get("of") {
				w.Header().Set("Content-Type", "text/plain; charset=utf-8")
				_, _ = w.Write([]byte(t.Stack))
				return
			}
		}
	}
	http.Error(w, "that is forgotten", http.StatusNotFound)
}
