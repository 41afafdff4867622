package actors

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	adminactor "virtree/actors/admin"
	"virtree/actors/client"
	"virtree/actors/internal/kit"
	"virtree/sockets"
	"virtree/sockets/config"
	"virtree/sockets/polkit"
	"virtree/sockets/sasl"
	"virtree/supervisors"
	"virtree/wire/protocol"
	"virtree/wire/remoting"
)

// polkitUsable tells whether clients can be sent to polkit: a tree below a folder of its own has none.
func polkitUsable(root string) bool {
	if root != "" {
		return false
	}
	_, err := os.Stat("/usr/share/polkit-1/actions/org.libvirt.unix.policy")
	return err == nil
}

// listen makes the daemon's sockets and a server for each kind of client.
func (d *daemon) listen(act *sockets.Activation) error {
	spec, err := d.socketSpec()
	if err != nil {
		return &supervisors.ExitError{Code: supervisors.ExitConfig, Err: err}
	}
	set, err := sockets.Listen(spec, act)
	if err != nil {
		return &supervisors.ExitError{Code: supervisors.ExitNetwork, Err: err}
	}
	d.set = set
	main := d.serverConfig(d.kind.daemon, d.kind.programs, d.conf.Server)
	admin := d.serverConfig("admin", []uint32{protocol.AdminProgram}, d.conf.Admin)
	view := &adminView{d: d}
	d.admin, err = d.system.Root.SpawnNamed(kit.Props(adminactor.New(d.env, view, d.logs), kit.Kind("admin")), "admin")
	if err != nil {
		return err
	}
	for _, conf := range []*client.Config{main, admin} {
		pid, err := d.system.Root.SpawnNamed(kit.Props(client.NewServer(conf), kit.Kind("server"), kit.Limit(0)), "server-"+conf.Name)
		if err != nil {
			return err
		}
		limits := d.conf.Server
		if conf == admin {
			limits = d.conf.Admin
		}
		view.add(conf.Name, pid, limits)
		for _, l := range set.Listeners {
			if (l.Kind == sockets.Admin) != (conf == admin) {
				continue
			}
			go func() {
				<-d.tree.Ready() // until then there is nobody to open a connection with; who knocks waits in the socket
				if err := client.Serve(d.system.Root, pid, l, conf); !errors.Is(err, net.ErrClosed) {
					d.log.Error().Err(err).Stringer("address", l.Addr()).Msg("a socket has stopped accepting")
				}
			}()
		}
	}
	d.clients.Store(&[]*client.Figures{main.Figures(), admin.Figures()})
	return nil
}

// socketSpec says where the daemon listens when nobody passes it sockets.
func (d *daemon) socketSpec() (sockets.Spec, error) {
	name, ro := d.kind.daemon, ""
	if d.kind.sockets&supervisors.SocketRO != 0 {
		ro = d.paths.SocketRO(name)
	}
	ip := d.kind.sockets&supervisors.SocketIP != 0
	spec := sockets.FromConfig(name, &d.conf, d.paths.Socket(name), ro, d.paths.AdminSocket(name), ip && (d.opts.Listen || name == "virtproxyd"))
	if spec.ListenTLS {
		ctx, err := sockets.LoadTLS(sockets.TLSFilesFromConfig(&d.conf, d.tlsFiles()))
		if err != nil {
			return spec, err
		}
		spec.TLS, d.tls = ctx, ctx
	}
	return spec, nil
}

// tlsFiles are where certificates are when the configuration names none.
func (d *daemon) tlsFiles() sockets.TLSFiles {
	if d.paths.Session {
		home, _ := os.UserHomeDir()
		return sockets.UserTLSFiles(home)
	}
	return sockets.SystemTLSFiles(d.opts.Root)
}

// serverConfig is what all clients of one server share.
func (d *daemon) serverConfig(name string, programs []uint32, l config.Limits) *client.Config {
	limits := client.DefaultLimits
	limits.Clients, limits.Unauth = int(l.MaxClients), int(l.MaxAnonymousClients)
	if n := int(l.MaxClientRequests); n > limits.InFlight {
		limits.InFlight = n
	}
	var release func()
	conf := &client.Config{
		Name: name, Programs: programs, Daemon: d.kind.daemon, Session: d.paths.Session,
		Drivers: d.kind.schemes, Primary: d.kind.primary, Branch: d.branch,
		Auth: d.auth, Limits: limits,
		Keepalive: time.Duration(l.KeepaliveInterval) * time.Second, KeepCount: int(l.KeepaliveCount),
		Log: d.logs.Logger("client"),
	}
	if _, proxy := d.kind.spec.Find("proxy"); proxy {
		conf.Elsewhere = d.serverOf
	}
	conf.SASL = sasl.NewServer(filepath.Join(d.paths.Config(), "passwd.scram"), d.conf.SASLAllowed)
	authority := &polkit.Authority{}
	conf.Polkit = func(ctx context.Context, peer sockets.Peer, readOnly bool) error {
		action := polkit.Manage
		if readOnly {
			action = polkit.Monitor
		}
		return authority.Check(ctx, action, polkit.Subject{PID: peer.PID, StartTime: peer.StartTime, UID: peer.UID}, nil, true)
	}
	// Called by the server's actor alone, so release needs no lock.
	conf.IdleChange = func(clients int) {
		switch {
		case clients > 0 && release == nil:
			release = d.idle.Hold("clients of " + name)
		case clients == 0 && release != nil:
			release()
			release = nil
		}
	}
	return conf
}

// serverOf is the server of the process that has a branch, to which the proxy hands connections over; nil where the
// branch is a foreign daemon, which cannot take a connection.
func (d *daemon) serverOf(branch string) *actor.PID {
	b, ok := supervisors.Host.Find(branch)
	if !ok || d.isForeign(branch) {
		return nil
	}
	return actor.NewPID(remoting.Address(d.paths.ActorSocket(branch)), "server-"+b.Daemon)
}

// auth is how clients of one kind of socket must prove who they are.
func (d *daemon) auth(k sockets.Kind) client.Auth {
	var a config.Auth
	switch k {
	case sockets.ReadWrite:
		a = d.conf.AuthUnixRW
	case sockets.ReadOnly:
		a = d.conf.AuthUnixRO
	case sockets.TCP:
		a = d.conf.AuthTCP
	case sockets.TLS:
		a = d.conf.AuthTLS
	}
	switch a {
	case config.AuthPolkit:
		return client.AuthPolkit
	case config.AuthSASL:
		return client.AuthSASL
	}
	return client.AuthNone
}
