package admin

import (
	"context"
	"errors"
	"time"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// libvirtd says in two ways that there is no such server: its RPC layer when it looks one up, its admin layer when it
// was given one.

func noServerFound(err error, name string) error {
	if errors.Is(err, ErrNoServer) {
		return liberr.New(liberr.FromRPC, liberr.NoServer, "No server named '%s'", name)
	}
	return err
}

func noServerGiven(err error, name string) error {
	if errors.Is(err, ErrNoServer) {
		return liberr.New(from, liberr.NoServer, "no server with matching name '%s' found", name)
	}
	return err
}

func listServers(ctx context.Context, d subject, a *protocol.AdminConnectListServersArgs) (*protocol.AdminConnectListServersRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "adminConnectListServers"); err != nil {
		return nil, err
	}
	names, err := d.Servers(ctx)
	if err != nil {
		return nil, err
	}
	ret := &protocol.AdminConnectListServersRet{Ret: uint32(len(names))}
	if a.NeedResults != 0 {
		for _, n := range names {
			ret.Servers = append(ret.Servers, protocol.AdminServer{Name: n})
		}
	}
	return ret, nil
}

func lookupServer(ctx context.Context, d subject, a *protocol.AdminConnectLookupServerArgs) (*protocol.AdminConnectLookupServerRet, error) {
	if _, err := d.Server(ctx, a.Name); err != nil {
		return nil, noServerFound(err, a.Name)
	}
	if err := call.CheckFlags(a.Flags, 0, from, "adminConnectLookupServer"); err != nil {
		return nil, err
	}
	return &protocol.AdminConnectLookupServerRet{Srv: protocol.AdminServer{Name: a.Name}}, nil
}

func threadpool(ctx context.Context, d subject, a *protocol.AdminServerGetThreadpoolParametersArgs) (*protocol.AdminServerGetThreadpoolParametersRet, error) {
	s, err := d.Server(ctx, a.Srv.Name)
	if err != nil {
		return nil, noServerFound(err, a.Srv.Name)
	}
	if err := call.CheckFlags(a.Flags, 0, from, "adminServerGetThreadPoolParameters"); err != nil {
		return nil, err
	}
	busy := min(s.Calls, s.Workers.Max)
	n := max(busy, s.Workers.Min)
	return &protocol.AdminServerGetThreadpoolParametersRet{Params: []protocol.TypedParam{
		uintParam("minWorkers", s.Workers.Min),
		uintParam("maxWorkers", s.Workers.Max),
		uintParam("nWorkers", n),
		uintParam("freeWorkers", n-busy),
		uintParam("prioWorkers", s.Workers.Prio),
		uintParam("jobQueueDepth", s.Calls-busy),
	}}, nil
}

func setThreadpool(ctx context.Context, d subject, a *protocol.AdminServerSetThreadpoolParametersArgs) (*protocol.Void, error) {
	s, err := d.Server(ctx, a.Srv.Name)
	if err != nil {
		return nil, noServerGiven(err, a.Srv.Name)
	}
	if err := call.CheckFlags(a.Flags, 0, from, "adminServerSetThreadPoolParameters"); err != nil {
		return nil, err
	}
	w := s.Workers
	if err := uints(a.Params, map[string]*uint32{"minWorkers": &w.Min, "maxWorkers": &w.Max, "prioWorkers": &w.Prio}); err != nil {
		return nil, err
	}
	if w.Min > w.Max {
		return nil, liberr.New(liberr.FromNone, liberr.InvalidArg, "minWorkers cannot be larger than maxWorkers")
	}
	return &protocol.Void{}, noServerGiven(d.SetWorkers(ctx, a.Srv.Name, w), a.Srv.Name)
}

func limits(ctx context.Context, d subject, a *protocol.AdminServerGetClientLimitsArgs) (*protocol.AdminServerGetClientLimitsRet, error) {
	s, err := d.Server(ctx, a.Srv.Name)
	if err != nil {
		return nil, noServerFound(err, a.Srv.Name)
	}
	if err := call.CheckFlags(a.Flags, 0, from, "adminServerGetClientLimits"); err != nil {
		return nil, err
	}
	return &protocol.AdminServerGetClientLimitsRet{Params: []protocol.TypedParam{
		uintParam("nclients_max", s.Limits.MaxClients),
		uintParam("nclients", s.Clients),
		uintParam("nclients_unauth_max", s.Limits.MaxUnauth),
		uintParam("nclients_unauth", s.Unauth),
	}}, nil
}

func setLimits(ctx context.Context, d subject, a *protocol.AdminServerSetClientLimitsArgs) (*protocol.Void, error) {
	s, err := d.Server(ctx, a.Srv.Name)
	if err != nil {
		return nil, noServerGiven(err, a.Srv.Name)
	}
	if err := call.CheckFlags(a.Flags, 0, from, "adminServerSetClientLimits"); err != nil {
		return nil, err
	}
	l := s.Limits
	if err := uints(a.Params, map[string]*uint32{"nclients_max": &l.MaxClients, "nclients_unauth_max": &l.MaxUnauth}); err != nil {
		return nil, err
	}
	if l.MaxClients < l.MaxUnauth {
		return nil, liberr.New(liberr.FromRPC, liberr.InvalidArg, "The overall maximum number of clients waiting for authentication must not be less than the overall maximum number of clients")
	}
	return &protocol.Void{}, noServerGiven(d.SetLimits(ctx, a.Srv.Name, l), a.Srv.Name)
}

func updateTLS(ctx context.Context, d subject, a *protocol.AdminServerUpdateTLSFilesArgs) (*protocol.Void, error) {
	if _, err := d.Server(ctx, a.Srv.Name); err != nil {
		return nil, noServerFound(err, a.Srv.Name)
	}
	if err := call.CheckFlags(a.Flags, 0, from, "adminServerUpdateTlsFiles"); err != nil {
		return nil, err
	}
	err := d.UpdateTLS(ctx, a.Srv.Name)
	if errors.Is(err, ErrNoTLS) {
		err = liberr.New(liberr.FromRPC, liberr.InternalError, "no tls service found, unable to update tls files")
	}
	return &protocol.Void{}, err
}

func setTimeout(ctx context.Context, d subject, a *protocol.AdminConnectSetDaemonTimeoutArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "adminConnectSetDaemonTimeout"); err != nil {
		return nil, err
	}
	return &protocol.Void{}, d.SetTimeout(ctx, time.Duration(a.Timeout)*time.Second)
}
