package actors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"virtree/actors/client"
	"virtree/actors/internal/metrics"
	"virtree/supervisors"
)

// Every process of the tree answers HTTP requests for its figures, on a UNIX socket beside its actor socket, and on TCP
// when it is told to. A scrape goes round the inspector's actor: no mailbox can hold it up, and it does not keep the daemon
// from its idle exit.
//
//	/metrics         the process's page; of the process above all others, and of virtproxyd, the pages of all
//	/metrics/self    the process's page
//
// Whoever has all pages asks the other processes at their sockets, each as long as mergeLimit.

const (
	pathMetrics = "/metrics"
	pathSelf    = "/metrics/self"

	// mergeLimit is how long another process may take: one that is stopped costs its own figures.
	mergeLimit = time.Second
	// maxScrapes is how many scrapes are served at once. Who comes on top is told to come back.
	maxScrapes = 8
	// maxPage bounds what another process may send.
	maxPage = 256 << 20

	metricsType = "text/plain; version=0.0.4; charset=utf-8"
)

// scraper serves the scrapes of a process.
type scraper struct {
	d       *daemon
	look    lookout
	figures *figures
	slots   chan struct{}
	server  *http.Server
	own     string // path of the UNIX socket; "" when it could not be had
}

func newScraper(d *daemon, look lookout, figures *figures) *scraper {
	s := &scraper{d: d, look: look, figures: figures, slots: make(chan struct{}, maxScrapes)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathMetrics, s.serve(s.whole))
	mux.HandleFunc("GET "+pathSelf, s.serve(s.self))
	s.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	return s
}

// listen opens the sockets. Without the UNIX socket a daemon does its work all the same; an address that was asked for and
// cannot be had is an error.
func (s *scraper) listen() error {
	d := s.d
	var listeners []net.Listener
	path := d.paths.MetricsSocket(d.name)
	if l, err := listenMetrics(path); err != nil {
		d.log.Warn().Err(err).Msg("figures cannot be scraped at their usual socket")
	} else {
		s.own = path
		listeners = append(listeners, l)
	}
	if address := d.metricsAddress(); address != "" {
		if err := loopback(address, d.opts.MetricsRemote || d.conf.MetricsAllowRemote); err != nil {
			return &supervisors.ExitError{Code: supervisors.ExitConfig, Err: err}
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			return &supervisors.ExitError{Code: supervisors.ExitNetwork, Err: fmt.Errorf("cannot serve metrics: %w", err)}
		}
		d.log.Info().Stringer("address", l.Addr()).Msg("figures are served")
		listeners = append(listeners, l)
	}
	for _, l := range listeners {
		go func() {
			if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				d.log.Error().Err(err).Stringer("address", l.Addr()).Msg("figures are not served any more")
			}
		}()
	}
	return nil
}

func (s *scraper) close() { _ = s.server.Close() }

// metricsAddress is where TCP scrapes come in; "" when they do not. The command line goes before the file.
func (d *daemon) metricsAddress() string {
	if d.opts.Metrics != "" {
		return d.opts.Metrics
	}
	return d.conf.MetricsListen
}

// loopback refuses an address that other hosts reach, unless that is allowed: whoever reads the figures learns all names.
func loopback(address string, remote bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("metrics address '%s': %w", address, err)
	}
	ip, err := netip.ParseAddr(host)
	if remote || host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("metrics address '%s' can be reached from other hosts: it must be a loopback address, unless metrics_allow_remote = 1 or --metrics-allow-remote says otherwise", address)
}

// listenMetrics opens the UNIX socket, in place of one that nobody serves any more.
func listenMetrics(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if errors.Is(err, unix.EADDRINUSE) && !listens(path) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		l, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, err
	}
	// Its folder is closed to others, so that nobody slips in before this line.
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// serve makes a handler of what writes a page.
func (s *scraper) serve(page func(ctx context.Context) ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			http.Error(w, "too many scrapes at once", http.StatusServiceUnavailable)
			return
		}
		text, err := page(r.Context())
		if err != nil {
			s.d.log.Error().Err(err).Msg("cannot make a page of figures")
			http.Error(w, "cannot make the page", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", metricsType)
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = w.Write(text) // a scraper that has gone needs no more
	}
}

// self is the page of this process.
func (s *scraper) self(context.Context) ([]byte, error) { return s.figures.text(s.look.process()) }

// whole is what this process is asked for: its own page, or all.
func (s *scraper) whole(ctx context.Context) ([]byte, error) {
	_, proxy := s.d.kind.spec.Find("proxy")
	if !s.d.opts.Split && (!proxy || len(s.d.kind.spec) > 1) {
		return s.self(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, mergeLimit)
	defer cancel()
	sockets, _ := filepath.Glob(s.d.paths.MetricsSocket("*")) // the pattern is sound
	pages, up := make([][]byte, len(sockets), len(sockets)+2), make([]bool, len(sockets))
	var own error
	var wg sync.WaitGroup
	for i, socket := range sockets {
		wg.Go(func() {
			var err error
			if socket == s.own {
				pages[i], own = s.self(ctx)
			} else if pages[i], err = fetchPage(ctx, socket); err != nil {
				pages[i] = nil
			}
			up[i] = pages[i] != nil
		})
	}
	wg.Wait()
	if s.own == "" {
		var page []byte
		page, own = s.self(ctx)
		pages = append(pages, page)
	}
	if own != nil {
		return nil, own
	}
	p := metrics.NewPage(s.look.daemon)
	p.Family("virtree_process_up", metrics.Gauge, "Whether a process of the tree has shown its figures for this page.")
	for i, socket := range sockets {
		v := 0.0
		if up[i] {
			v = 1
		} else if !listens(socket) {
			continue // it has left, and its socket is what is left of it
		}
		p.Value(v, "process", strings.TrimSuffix(filepath.Base(socket), filepath.Ext(socket)))
	}
	return metrics.Merge(append(pages, p.Bytes())), nil
}

// fetchPage asks another process for its page.
func fetchPage(ctx context.Context, socket string) ([]byte, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://virtree"+pathSelf, nil)
	if err != nil {
		return nil, err
	}
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", socket, answer.Status)
	}
	if answer.ContentLength < 0 || answer.ContentLength > maxPage {
		return nil, fmt.Errorf("%s: a page of %d bytes", socket, answer.ContentLength)
	}
	page := make([]byte, answer.ContentLength)
	_, err = io.ReadFull(answer.Body, page)
	return page, err
}

// enterFigures enters what the process itself counts, beside its branches.
func (d *daemon) enterFigures() {
	d.sources.Set("clients", func(p *metrics.Page) {
		if servers := d.clients.Load(); servers != nil {
			client.WriteFigures(p, *servers)
		}
	})
	d.sources.Set("remoting", func(p *metrics.Page) { writeTraffic(p, d.node.Traffic()) })
	d.sources.Set("watchdog", func(p *metrics.Page) {
		p.Family("virtree_watchdog_reports_total", metrics.Counter, "Actors that did not come back from a message in time.")
		p.Count(d.stuck.Load())
		p.Family("virtree_watchdog_returns_total", metrics.Counter, "Those of them that came back after all.")
		p.Count(d.back.Load())
	})
}
