package admin

import (
	"context"
	"errors"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// The transports of a client.
var transports = map[string]uint32{"unix": 0, "tcp": 1, "tls": 2}

func wire(server string, c Client) protocol.AdminClient {
	return protocol.AdminClient{
		Srv: protocol.AdminServer{Name: server}, ID: c.ID, Timestamp: c.Connected.Unix(), Transport: transports[c.Who.Transport],
	}
}

func listClients(ctx context.Context, d subject, a *protocol.AdminServerListClientsArgs) (*protocol.AdminServerListClientsRet, error) {
	all, err := d.Clients(ctx, a.Srv.Name)
	if err != nil {
		return nil, noServerFound(err, a.Srv.Name)
	}
	if err := call.CheckFlags(a.Flags, 0, from, "adminServerListClients"); err != nil {
		return nil, err
	}
	ret := &protocol.AdminServerListClientsRet{Ret: uint32(len(all))}
	if a.NeedResults == 0 {
		return ret, nil
	}
	if len(all) > protocol.AdminClientListMax {
		return nil, liberr.New(liberr.FromRPC, liberr.InternalError, "Too many clients '%d' for limit '%d'", len(all), protocol.AdminClientListMax)
	}
	for _, c := range all {
		ret.Clients = append(ret.Clients, wire(a.Srv.Name, c))
	}
	return ret, nil
}

// find returns one client of a server, or ErrNoServer or ErrNoClient.
func find(ctx context.Context, d subject, server string, id uint64) (Client, error) {
	all, err := d.Clients(ctx, server)
	if err != nil {
		return Client{}, err
	}
	for _, c := range all {
		if c.ID == id {
			return c, nil
		}
	}
	return Client{}, ErrNoClient
}

func noClientFound(err error, server string, id uint64) error {
	if errors.Is(err, ErrNoClient) {
		return liberr.New(liberr.FromRPC, liberr.NoClient, "No client with matching ID '%d'", id)
	}
	return noServerFound(err, server)
}

func lookupClient(ctx context.Context, d subject, a *protocol.AdminServerLookupClientArgs) (*protocol.AdminServerLookupClientRet, error) {
	if _, err := d.Server(ctx, a.Srv.Name); err != nil {
		return nil, noServerFound(err, a.Srv.Name)
	}
	if err := call.CheckFlags(a.Flags, 0, from, "adminServerLookupClient"); err != nil {
		return nil, err
	}
	c, err := find(ctx, d, a.Srv.Name, a.ID)
	if err != nil {
		return nil, noClientFound(err, a.Srv.Name, a.ID)
	}
	return &protocol.AdminServerLookupClientRet{Clnt: wire(a.Srv.Name, c)}, nil
}

// clientInfo tells who a client is: of a local one the process, of a remote one the address.
func clientInfo(ctx context.Context, d subject, a *protocol.AdminClientGetInfoArgs) (*protocol.AdminClientGetInfoRet, error) {
	c, err := find(ctx, d, a.Clnt.Srv.Name, a.Clnt.ID)
	if errors.Is(err, ErrNoClient) {
		return nil, liberr.New(from, liberr.NoClient, "no client with matching id '%d' found", a.Clnt.ID)
	}
	if err != nil {
		return nil, noServerGiven(err, a.Clnt.Srv.Name)
	}
	if err := call.CheckFlags(a.Flags, 0, from, "adminClientGetInfo"); err != nil {
		return nil, err
	}
	who := c.Who
	params := []protocol.TypedParam{boolParam("readonly", who.ReadOnly)}
	add := func(name, v string) {
		if v != "" {
			params = append(params, stringParam(name, v))
		}
	}
	add("sasl_user_name", who.SASLUser)
	if transports[who.Transport] != 0 {
		add("sock_addr", who.Remote)
		add("tls_x509_dname", who.X509Name)
	} else {
		params = append(params, intParam("unix_user_id", int32(who.UID)))
		add("unix_user_name", who.User)
		params = append(params, intParam("unix_group_id", int32(who.GID)))
		add("unix_group_name", who.Group)
		params = append(params, intParam("unix_process_id", who.PID))
	}
	add("selinux_context", who.SELinux)
	return &protocol.AdminClientGetInfoRet{Params: params}, nil
}

func disconnect(ctx context.Context, d subject, a *protocol.AdminClientCloseArgs) (*protocol.Void, error) {
	server, id := a.Clnt.Srv.Name, a.Clnt.ID
	if _, err := find(ctx, d, server, id); err != nil {
		return nil, noClientFound(err, server, id)
	}
	if err := call.CheckFlags(a.Flags, 0, from, "adminClientClose"); err != nil {
		return nil, err
	}
	return &protocol.Void{}, noClientFound(d.Disconnect(ctx, server, id), server, id)
}
