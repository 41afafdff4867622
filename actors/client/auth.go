package client

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/kit"
	"virtree/sockets"
	"virtree/sockets/sasl"
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
	c.job(ctx, "polkit", polkitTimeout, func(jc context.Context) error { return ask(jc, peer, ro) }, func(ctx actor.Context, err error) {
		if err != nil {
			c.refuse(p, liberr.From(liberr.FromPolkit, err))
			return
		}
		c.authenticated(ctx)
		c.respond(p, &protocol.AuthPolkitRet{Complete: 1})
	})
	return nil, errLater
}

// job runs a blocking part of an authentication, outside of Receive.
func (c *client) job(ctx actor.Context, name string, limit time.Duration, run func(context.Context) error, then func(actor.Context, error)) {
	started := kit.Job[struct{}]{Name: name, Timeout: limit, Run: func(jc context.Context, _ *kit.Undo) (struct{}, error) {
		return struct{}{}, run(jc)
	}}.Start(ctx)
	if c.jobs == nil {
		c.jobs = map[uint64]func(actor.Context, error){}
	}
	c.jobs[started.Serial] = then
}

// maySASL refuses SASL where the socket was not configured for it.
func (c *client) maySASL() error {
	if c.needed() != AuthSASL || c.conf.SASL == nil || c.authed {
		c.log.Error().Msg("client tried invalid SASL init request")
		return authFailed()
	}
	return nil
}

// saslInit lists the mechanisms.
func (c *client) saslInit(actor.Context, *rpc.Packet) (protocol.Encoder, error) {
	if err := c.maySASL(); err != nil {
		return nil, err
	}
	list, err := c.conf.SASL.MechanismList(c.kind)
	if err != nil {
		return nil, err
	}
	return &protocol.AuthSASLInitRet{Mechlist: list}, nil
}

// saslStart begins with a mechanism; it reads the database of users, in a job.
func (c *client) saslStart(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.AuthSASLStartArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	if err := c.maySASL(); err != nil {
		return nil, err
	}
	if c.sasl != nil || c.saslBusy {
		return nil, authFailed()
	}
	server, kind, data := c.conf.SASL, c.kind, saslData(a.Nil, a.Data)
	var session *sasl.Session
	var challenge []byte
	c.saslBusy = true
	c.job(ctx, "sasl", saslTimeout, func(context.Context) (err error) {
		session, challenge, err = server.Start(kind, a.Mech, data)
		return err
	}, func(ctx actor.Context, err error) {
		c.saslBusy = false
		if err != nil {
			c.saslFailed(p, err)
			return
		}
		c.sasl = session
		complete, null := c.saslStep(ctx, challenge)
		c.respond(p, &protocol.AuthSASLStartRet{Complete: complete, Nil: null, Data: challenge})
	})
	return nil, errLater
}

// saslContinue is one more step.
func (c *client) saslContinue(ctx actor.Context, p *rpc.Packet) (protocol.Encoder, error) {
	var a protocol.AuthSASLStepArgs
	if err := decode(p, &a); err != nil {
		return nil, err
	}
	if err := c.maySASL(); err != nil {
		return nil, err
	}
	if c.sasl == nil || c.saslBusy {
		return nil, authFailed()
	}
	session, data := c.sasl, saslData(a.Nil, a.Data)
	var challenge []byte
	c.saslBusy = true
	c.job(ctx, "sasl", saslTimeout, func(context.Context) (err error) {
		challenge, err = session.Step(data)
		return err
	}, func(ctx actor.Context, err error) {
		c.saslBusy = false
		if err != nil {
			c.saslFailed(p, err)
			return
		}
		complete, null := c.saslStep(ctx, challenge)
		c.respond(p, &protocol.AuthSASLStepRet{Complete: complete, Nil: null, Data: challenge})
	})
	return nil, errLater
}

// saslTimeout bounds the hashing of one step.
const saslTimeout = 30 * time.Second

// saslStep tells what a step leads to, and lets the client in after the last one.
func (c *client) saslStep(ctx actor.Context, challenge []byte) (complete, null int32) {
	if challenge == nil {
		null = 1
	}
	if !c.sasl.Complete() {
		return 0, null
	}
	id := *c.caller
	id.SASLUser = c.sasl.User()
	c.caller, c.peer.SASLUser, c.sasl = &id, id.SASLUser, nil
	c.authenticated(ctx)
	return 1, null
}

// saslFailed ends an attempt; the client may begin another one.
func (c *client) saslFailed(p *rpc.Packet, err error) {
	c.sasl = nil
	c.log.Warn().Str("peer", c.peer.RemoteAddr()).AnErr("cause", errors.Unwrap(err)).Msg("SASL authentication failed")
	c.refuse(p, err)
}

// saslData tells no data from empty data.
func saslData(null int32, data []byte) []byte {
	if null != 0 {
		return nil
	}
	return data
}

// authFailed is deliberately without detail, as in libvirt.
func authFailed() error {
	return liberr.New(liberr.FromRPC, liberr.AuthFailed, "authentication failed")
}
