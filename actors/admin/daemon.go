package admin

import (
	"context"
	"errors"
	"time"

	"virtree/actors/internal/call"
)

// Daemon is the process as virt-admin sees it. Its methods may be called from any goroutine, at once, and may wait until
// their context ends. Errors of libvirt's kind are passed on as they are; the ones below get libvirt's words.
type Daemon interface {
	// Servers names the servers of the process: "libvirtd" (or "virtqemud", ...) and "admin".
	Servers(ctx context.Context) ([]string, error)
	Server(ctx context.Context, name string) (Server, error)      // ErrNoServer
	SetWorkers(ctx context.Context, name string, w Workers) error // all of w, checked
	SetLimits(ctx context.Context, name string, l Limits) error   // likewise
	UpdateTLS(ctx context.Context, name string) error             // ErrNoTLS

	Clients(ctx context.Context, server string) ([]Client, error)
	Disconnect(ctx context.Context, server string, id uint64) error // ErrNoClient

	SetTimeout(ctx context.Context, d time.Duration) error // of the idle exit; 0 = never
}

// What a Daemon may miss.
var (
	ErrNoServer = errors.New("no such server")
	ErrNoClient = errors.New("no such client")
	ErrNoTLS    = errors.New("the server has no TLS listener")
)

// Server is one server of a daemon.
type Server struct {
	Workers Workers
	Calls   uint32 // being served now
	Limits  Limits
	Clients uint32 // connected now
	Unauth  uint32 // of these, not yet authenticated
}

// Workers are the sizes of libvirtd's pool of threads, kept because they can be asked for and set.
type Workers struct{ Min, Max, Prio uint32 }

// Limits of connections.
type Limits struct{ MaxClients, MaxUnauth uint32 }

// Client is one connection.
type Client struct {
	ID        uint64
	Connected time.Time
	Who       *call.Caller
}

// Logging is what the daemon logs, and where to: supervisors/logging's Log. Outputs and filters are written as in the
// configuration; "" stands for the default. Errors are libvirt's.
type Logging interface {
	Outputs() string
	CountOutputs() int
	SetOutputs(string) error
	Filters() string
	CountFilters() int
	SetFilters(string) error
}
