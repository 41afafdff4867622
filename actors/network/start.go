package network

import (
	"context"
	"os"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/protocol"
)

// start serves virNetworkCreate: it activates a defined network.
func (n *network) start(ctx actor.Context, r *call.Request, _ *protocol.NetworkCreateArgs) error {
	n.startAs(ctx, r, nil, orderStart, nil)
	return nil
}

// create gives the network a definition for this run and starts it.
func (n *network) create(ctx actor.Context, m *create) {
	n.startAs(ctx, m.req, m.def, orderCreate, func(n *network) protocol.Encoder {
		if m.req.Proc == protocol.NetworkCreateXML.Procedure {
			return &protocol.NetworkCreateXMLRet{Net: n.ref()}
		}
		return &protocol.NetworkCreateXMLFlagsRet{Net: n.ref()}
	})
}

// started is what a start leaves running.
type started struct {
	status *status
	proc   *process // dnsmasq; nil when the network needs none
}

// startAs activates the network with a definition; nil is the persistent one.
func (n *network) startAs(ctx actor.Context, r *call.Request, def *definition, o order, ret func(*network) protocol.Encoder) {
	drv := n.drv
	n.begin(ctx, &task{
		name: "start", req: r,
		decide: func(n *network) (work, error) {
			if _, _, err := n.life().on(o, n.name); err != nil {
				return nil, err
			}
			if def == nil {
				def = n.config
			}
			return func(jc context.Context, undo *kit.Undo) (any, error) { return drv.bringUp(jc, undo, def) }, nil
		},
		apply: func(n *network, ctx actor.Context, out any) (protocol.Encoder, error) {
			up := out.(*started)
			_, event, _ := n.life().on(o, n.name)
			n.live = up.status
			n.ports = map[protocol.UUID]*port{}
			n.release = drv.env.Hold("network " + n.name)
			n.daemon.adopt(ctx, up.proc)
			n.log.Info().Str("bridge", def.bridge).Msg("network started")
			n.tell(ctx)
			n.lifecycle(ctx, event)
			if ret == nil {
				return nil, nil
			}
			return ret(n), nil
		},
		failed: func(n *network, ctx actor.Context, _ error) { n.forgetIfNothing(ctx) },
	})
}

// destroy serves virNetworkDestroy: it deactivates the network.
func (n *network) destroy(ctx actor.Context, r *call.Request, _ *protocol.NetworkDestroyArgs) error {
	drv := n.drv
	n.begin(ctx, &task{
		name: "destroy", req: r,
		decide: func(n *network) (work, error) {
			if _, _, err := n.life().on(orderDestroy, n.name); err != nil {
				return nil, err
			}
			n.daemon.stopWatch() // its end is ours
			def, proc := n.live.def, n.daemon.proc
			return func(jc context.Context, _ *kit.Undo) (any, error) {
				drv.takeDown(jc, def, proc)
				return nil, nil
			}, nil
		},
		apply: func(n *network, ctx actor.Context, _ any) (protocol.Encoder, error) {
			n.stopped(ctx)
			return nil, nil
		},
	})
	return nil
}

// stopped takes in that the network is not active any more.
func (n *network) stopped(ctx actor.Context) {
	_, event, _ := n.life().on(orderDestroy, n.name)
	n.live, n.ports = nil, map[protocol.UUID]*port{}
	n.daemon = daemon{run: n.daemon.run + 1}
	if n.release != nil {
		n.release()
		n.release = nil
	}
	n.log.Info().Msg("network stopped")
	n.tell(ctx)
	n.lifecycle(ctx, event)
	n.forgetIfNothing(ctx)
}

// load finds the network's state: from the seed the first time, from disk after a restart, and from the kernel whether
// it still stands.
func (n *network) load(ctx actor.Context) {
	s := n.seed
	n.seed = nil
	if s != nil && s.status == nil {
		n.config, n.autostart = s.config, s.autostart
		n.stash.Release(ctx)
		return
	}
	drv, name, uuid := n.drv, n.name, n.uuid
	n.begin(ctx, &task{
		name: "adopt",
		decide: func(*network) (work, error) {
			return func(jc context.Context, _ *kit.Undo) (any, error) {
				if s == nil {
					s = &seed{}
					for _, o := range drv.scan(jc) {
						if o.uuid == uuid && o.name == name {
							s = &o.seed
						}
					}
				}
				return drv.adopt(jc, s)
			}, nil
		},
		apply: func(n *network, ctx actor.Context, out any) (protocol.Encoder, error) {
			a := out.(*adopted)
			n.config, n.autostart = s.config, s.autostart
			n.live, n.ports = a.status, a.ports
			if a.status != nil {
				if n.release == nil {
					n.release = drv.env.Hold("network " + name)
				}
				n.daemon.adopt(ctx, a.proc)
				if a.proc == nil && needsDnsmasq(a.status.def) {
					ctx.Send(ctx.Self(), &dnsmasqEnded{n.daemon.run}) // it died while nobody looked
				}
			}
			n.tell(ctx)
			n.stash.Release(ctx)
			if a.status != nil && a.status.def.ownBridge() {
				ctx.Send(ctx.Self(), &rulesTouched{}) // somebody may have removed them while nobody looked
			}
			n.forgetIfNothing(ctx)
			return nil, nil
		},
		failed: func(n *network, ctx actor.Context, err error) {
			n.log.Error().Err(err).Msg("cannot load the network")
			n.config, n.autostart = s.config, s.autostart
			n.tell(ctx)
			n.stash.Release(ctx)
			n.forgetIfNothing(ctx)
		},
	})
}

// adopted is what was found of an active network.
type adopted struct {
	status *status // nil: it is not active any more
	ports  map[protocol.UUID]*port
	proc   *process
}

// adopt looks what of a network still stands: its bridge, its dnsmasq, its ports. What stands is not touched.
func (s *shared) adopt(ctx context.Context, sd *seed) (*adopted, error) {
	if sd.status == nil {
		return &adopted{ports: map[protocol.UUID]*port{}}, nil
	}
	def := sd.status.def
	if def.ownBridge() && !bridgeExists(def.bridge) {
		s.env.Log.Warn().Str("network", def.name).Str("bridge", def.bridge).Msg("the bridge of an active network is gone; the network counts as stopped")
		s.takeDown(context.Background(), def, findProcess(s.runPath(def.name, ".pid"), s.dnsmasqPath(def.name, ".conf")))
		return &adopted{ports: map[protocol.UUID]*port{}}, nil
	}
	a := &adopted{status: sd.status, ports: s.readPorts(def.name)}
	if old := sd.status.backend; def.ownBridge() && old != s.firewall.name() {
		// The new backend puts its rules in when the network looks after them.
		if err := s.firewallOf(old).remove(ctx, def); err != nil {
			return nil, err
		}
		a.status = sd.status.clone()
		a.status.backend = s.firewall.name()
		if err := s.storeStatus(a.status); err != nil {
			return nil, err
		}
	}
	if !def.ownBridge() {
		return a, nil
	}
	if st := a.status.recount(a.ports); st.floor != a.status.floor {
		// A change of a port was cut off. The ports' own files say what is so.
		if err := s.storeStatus(st); err != nil {
			return nil, err
		}
		a.status = st
		if def.bandwidth != nil && def.bandwidth.in != nil {
			if err := shape(def.bridge, restoreSteps(st, a.ports)); err != nil {
				s.env.Log.Error().Err(err).Str("network", def.name).Msg("cannot shape the network's traffic")
			}
		}
	}
	a.proc = findProcess(s.runPath(def.name, ".pid"), s.dnsmasqPath(def.name, ".conf"))
	if a.proc != nil {
		if err := s.agreeDnsmasq(ctx, def, a); err != nil {
			s.env.Log.Error().Err(err).Str("network", def.name).Msg("cannot tell dnsmasq what it missed")
		}
	}
	return a, nil
}

// agreeDnsmasq tells a dnsmasq that was found what the network is, should it have other files: an update was cut off.
func (s *shared) agreeDnsmasq(ctx context.Context, def *definition, a *adopted) error {
	same := func(ext, text string) bool {
		have, err := os.ReadFile(s.dnsmasqPath(def.name, ext))
		return err == nil && settings(string(have)) == settings(text)
	}
	switch {
	case !same(".conf", s.dnsmasqConf(def)):
		if err := a.proc.kill(ctx); err != nil {
			return err
		}
		a.proc.close()
		var err error
		a.proc, err = s.startDnsmasq(ctx, def)
		return err
	case !same(".hostsfile", hostsFile(def)) || !same(".addnhosts", namesFile(def)):
		return s.refreshDnsmasq(def, a.proc)
	}
	return nil
}

// settings is what counts in a configuration of dnsmasq: no comments, and not the user, who is the host's matter.
func settings(conf string) string {
	var b strings.Builder
	for _, l := range strings.Split(conf, "\n") {
		if l != "" && l[0] != '#' && !strings.HasPrefix(l, "user=") {
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}
