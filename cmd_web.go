package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"virtree/actors"
	"virtree/actors/follow"
	"virtree/actors/web"
)

// webCommand serves a page of the live tree.
func webCommand() *cobra.Command {
	var root, listen string
	var remote bool
	opts := web.Options{Log: zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr}).With().Timestamp().Logger()}
	cmd := &cobra.Command{
		Use:   "web",
		Short: "serve a page of the live tree to a browser on this host; it only shows",
		Long: "Serve a page of the live tree: processes, branches, objects, latencies, the last faults. It only shows; nothing can be\n" +
			"changed there. Whoever can connect can see it: names of guests, reasons of crashes. On a host with users who should\n" +
			"not, give it a socket file instead of a port, which only its owner may open:\n\n" +
			"  virtree web --listen unix:/run/virtree-web.sock\n" +
			"  ssh -L 8477:/run/virtree-web.sock root@host       and then http://localhost:8477/\n\n" +
			"Addresses other than the loopback's need --allow-remote, and the page is then open to that network, unencrypted.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			l, err := listenForWeb(listen, remote)
			if err != nil {
				return err
			}
			defer l.Close()
			if tcp, ok := l.Addr().(*net.TCPAddr); ok && remote && !tcp.IP.IsUnspecified() {
				opts.Hosts = append(opts.Hosts, tcp.IP.String())
			}
			v, err := actors.NewVisitor(root, answerLimit)
			if err != nil {
				return err
			}
			defer v.Close()
			return serveWeb(l, web.New(follow.New(v, lookGrace), opts))
		},
	}
	rootFlag(cmd, &root)
	cmd.Flags().StringVarP(&listen, "listen", "l", "127.0.0.1:8477", "ADDRESS:PORT, or unix:PATH; port 0 is any free one")
	cmd.Flags().BoolVar(&remote, "allow-remote", false, "allow an address that is not the loopback's")
	cmd.Flags().StringArrayVar(&opts.Hosts, "host", nil, "a name, beside those of the loopback, by which browsers may ask")
	cmd.Flags().DurationVarP(&opts.Every, "interval", "n", time.Second, "time between two looks while somebody watches")
	return cmd
}

// listenForWeb opens the socket. A name is looked up once, and all that it stands for must be the loopback.
func listenForWeb(address string, remote bool) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
			_ = os.Remove(path) // left behind; one that is served is not missed until its server ends
		}
		old := syscall.Umask(0o077)
		defer syscall.Umask(old)
		return net.Listen("unix", path)
	}
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	if !tcp.IP.IsLoopback() && !remote {
		return nil, fmt.Errorf("%s is not an address of the loopback; --allow-remote opens the page to that network", address)
	}
	return net.ListenTCP("tcp", tcp)
}

// serveWeb serves until a signal ends it.
func serveWeb(l net.Listener, page *web.Server) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	server := &http.Server{
		Handler: page, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		// No ReadTimeout: it would end streams.
		BaseContext: func(net.Listener) context.Context { return ctx }, // ends the streams with us
	}
	go page.Run(ctx)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	where := "http://" + l.Addr().String() + "/"
	if l.Addr().Network() == "unix" {
		where = l.Addr().String()
	}
	fmt.Println("virtree web: " + where)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	over, done := context.WithTimeout(context.Background(), 2*time.Second)
	defer done()
	if err := server.Shutdown(over); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
