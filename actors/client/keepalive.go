package client

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/wire/rpc"
)

// startKeepalive begins to ping, once the client said that it understands pings.
func (c *client) startKeepalive(ctx actor.Context) {
	if c.keepalive != nil || c.conf.Keepalive <= 0 {
		return
	}
	c.keepalive = rpc.NewKeepalive(c.conf.Keepalive, c.conf.KeepCount, time.Now())
	c.schedule(ctx)
}

func (c *client) schedule(ctx actor.Context) {
	at, ok := c.keepalive.Next()
	if !ok {
		return
	}
	root, self := ctx.ActorSystem().Root, ctx.Self()
	c.pinger = time.AfterFunc(time.Until(at), func() { root.Send(self, &tick{}) })
}

// ping does what the keepalive decides. A client whose packets we do not read ourselves, because it has
// too many of them here, is not dead.
func (c *client) ping(ctx actor.Context) {
	if c.closing {
		return
	}
	last := c.conn.LastRead()
	if c.gate.full() {
		last = time.Now()
	}
	switch c.keepalive.Tick(time.Now(), last) {
	case rpc.KeepalivePing:
		_ = c.conn.SendPing()
	case rpc.KeepaliveDead:
		c.log.Warn().Str("peer", c.peer.RemoteAddr()).Msg("client does not answer keepalive: closing")
		c.close(ctx)
		return
	}
	c.schedule(ctx)
}
