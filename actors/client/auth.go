package client

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/kit"
	"virtree/sockets"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// needed is how this client must authenticate. Root on a UNIX socket is spared polkit, which would let it
// in anyway.
func (c *client) needed() Auth {
	a := c.conf.Auth(c.kind)
	if a == AuthPolkit && c.peer.UID == 0 && c.kind.Unix() {
		return AuthNone
	}
	return a
}

// authList tells the one way in, and lets the client in when there is none to pass.
func (c *client) authList(ctx actor.Context, _ *rpc.Packet) (protocol.Encoder, error) {
	need := c.needed()
	if c.authed {
		need = AuthNone
	}
	if need == AuthNone {
		c.authenticated(ctx)
	}
	return &protocol.AuthListRet{Types: []protocol.AuthType{protocol.AuthType(need)}}, nil
}

func (c *client) authenticated(ctx actor.Context) {
	if !c.authed {
		c.authed = true
		ctx.Send(c.server, &authDone{id: c.id})
	}
}

// polkitTimeout bounds the wait for a person who is asked for a password.
const polkitTimeout = 5 * time.Minute

// authPolkit asks polkit, in a job: a person may have to type a password.
func (c *client) authPolkit(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	if c.needed() != AuthPolkit || c.conf.Polkit == nil || c.authed {
		c.log.Error().Msg("client tried invalid PolicyKit init request")
		return nil, authFailed()
	}
	ask, peer, ro := c.conf.Polkit, c.peer, c.kind == sockets.ReadOnly
	run := kit.Job[struct{}]{Name: "polkit", Timeout: polkitTimeout, Run: func(jc context.Context, _ *kit.Undo) (struct{}, error) {
		return struct{}{}, ask(jc, peer, ro)
	}}.Start(ctx)
	if c.jobs == nil {
		c.jobs = map[uint64]func(actor.Context, error){}
	}
	c.jobs[run.Serial] = func(ctx actor.Context, err error) {
		if err != nil {
			c.refuse(p, liberr.From(liberr.FromPolkit, err))
			return
		}
		c.authenticated(ctx)
		c.respond(p, &protocol.AuthPolkitRet{Complete: 1})
	}
	return nil, errLater
}

// authSASL refuses what the socket was not configured for.
func (c *client) authSASL(actor.Context, *rpc.Packet) (protocol.Encoder, error) {
	c.log.Error().Msg("client tried invalid SASL init request")
	return nil, authFailed()
}

// authFailed is deliberately without detail, as in libvirt.
func authFailed() error {
	return liberr.New(liberr.FromRPC, liberr.AuthFailed, "authentication failed")
}
