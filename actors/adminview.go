package actors

import (
	"context"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/admin"
	"virtree/actors/client"
	"virtree/sockets/config"
)

// adminView is the process as virt-admin sees it: its two servers, asked by message.
type adminView struct {
	d       *daemon
	servers []*adminServer
}

// adminServer is one server, with the sizes of a pool of threads that are kept for whoever asks for them.
type adminServer struct {
	name string
	pid  *actor.PID

	mu      sync.Mutex
	workers admin.Workers
}

func (v *adminView) add(name string, pid *actor.PID, l config.Limits) {
	v.servers = append(v.servers, &adminServer{name: name, pid: pid, workers: admin.Workers{
		Min: uint32(l.MinWorkers), Max: uint32(l.MaxWorkers), Prio: uint32(l.PrioWorkers),
	}})
}

func (v *adminView) find(name string) (*adminServer, error) {
	for _, s := range v.servers {
		if s.name == name {
			return s, nil
		}
	}
	return nil, admin.ErrNoServer
}

// ask waits at the edge, in a job: nothing else of the tree does.
func ask[T any](ctx context.Context, v *adminView, to *actor.PID, m any) (T, error) {
	patience := 10 * time.Second
	if at, ok := ctx.Deadline(); ok {
		patience = time.Until(at)
	}
	r, err := v.d.system.Root.RequestFuture(to, m, patience).Result()
	t, ok := r.(T)
	if err == nil && !ok {
		err = admin.ErrNoServer
	}
	return t, err
}

func (v *adminView) Servers(context.Context) (names []string, err error) {
	for _, s := range v.servers {
		names = append(names, s.name)
	}
	return names, nil
}

func (v *adminView) Server(ctx context.Context, name string) (admin.Server, error) {
	s, err := v.find(name)
	if err != nil {
		return admin.Server{}, err
	}
	m, err := ask[*client.Members](ctx, v, s.pid, &client.List{})
	if err != nil {
		return admin.Server{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return admin.Server{
		Workers: s.workers,
		Limits:  admin.Limits{MaxClients: uint32(m.Limits.Clients), MaxUnauth: uint32(m.Limits.Unauth)},
		Clients: uint32(len(m.Clients)), Unauth: uint32(m.Unauth), Calls: uint32(m.Calls.Load()),
	}, nil
}

func (v *adminView) SetWorkers(_ context.Context, name string, w admin.Workers) error {
	s, err := v.find(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = w
	return nil
}

func (v *adminView) SetLimits(ctx context.Context, name string, l admin.Limits) error {
	s, err := v.find(name)
	if err != nil {
		return err
	}
	m, err := ask[*client.Members](ctx, v, s.pid, &client.List{})
	if err != nil {
		return err
	}
	limits := m.Limits
	limits.Clients, limits.Unauth = int(l.MaxClients), int(l.MaxUnauth)
	_, err = ask[*client.Members](ctx, v, s.pid, &client.SetLimits{Limits: limits})
	return err
}

// UpdateTLS reads the certificates again, for connections to come.
func (v *adminView) UpdateTLS(_ context.Context, name string) error {
	if _, err := v.find(name); err != nil {
		return err
	}
	if v.d.tls == nil {
		return admin.ErrNoTLS
	}
	return v.d.tls.Reload()
}

func (v *adminView) Clients(ctx context.Context, server string) (all []admin.Client, err error) {
	s, err := v.find(server)
	if err != nil {
		return nil, err
	}
	m, err := ask[*client.Members](ctx, v, s.pid, &client.List{})
	if err != nil {
		return nil, err
	}
	for _, c := range m.Clients {
		all = append(all, admin.Client{ID: c.ID, Connected: c.Since, Who: client.CallerOf(c.Peer, c.ID, c.ReadOnly, v.d.paths.Session)})
	}
	return all, nil
}

func (v *adminView) Disconnect(ctx context.Context, server string, id uint64) error {
	s, err := v.find(server)
	if err != nil {
		return err
	}
	m, err := ask[*client.Members](ctx, v, s.pid, &client.List{})
	if err != nil {
		return err
	}
	for _, c := range m.Clients {
		if c.ID == id {
			v.d.system.Root.Send(c.PID, &client.Disconnect{})
			return nil
		}
	}
	return admin.ErrNoClient
}

func (v *adminView) SetTimeout(_ context.Context, t time.Duration) error {
	v.d.idle.SetTimeout(t)
	return nil
}
