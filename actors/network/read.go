package network

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// What is answered from the network's state, whatever job runs.

func truth(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

func (n *network) xmlDesc(_ actor.Context, _ *call.Request, a *protocol.NetworkGetXMLDescArgs) (*protocol.NetworkGetXMLDescRet, error) {
	def, live := n.current(), n.liveFacts()
	if a.Flags&virt.NetworkXMLInactive != 0 {
		live = nil
		if n.config != nil {
			def = n.config
		}
	}
	return &protocol.NetworkGetXMLDescRet{XML: def.format(live)}, nil
}

// liveFacts counts who uses the network.
func (n *network) liveFacts() *liveFacts {
	f := &liveFacts{perDevice: map[string]int{}}
	if n.live == nil {
		return f
	}
	f.connections = len(n.ports)
	for _, p := range n.ports {
		if p.plug.dev != "" {
			f.perDevice[p.plug.dev]++
		}
	}
	return f
}

func (n *network) bridgeName(actor.Context, *call.Request, *protocol.NetworkGetBridgeNameArgs) (*protocol.NetworkGetBridgeNameRet, error) {
	if name := n.current().bridge; name != "" {
		return &protocol.NetworkGetBridgeNameRet{Name: name}, nil
	}
	return nil, liberr.New(from, liberr.InternalError, "network '%s' does not have a bridge name.", n.name)
}

func (n *network) isActive(actor.Context, *call.Request, *protocol.NetworkIsActiveArgs) (*protocol.NetworkIsActiveRet, error) {
	return &protocol.NetworkIsActiveRet{Active: truth(n.live != nil)}, nil
}

func (n *network) isPersistent(actor.Context, *call.Request, *protocol.NetworkIsPersistentArgs) (*protocol.NetworkIsPersistentRet, error) {
	return &protocol.NetworkIsPersistentRet{Persistent: truth(n.config != nil)}, nil
}

func (n *network) getAutostart(actor.Context, *call.Request, *protocol.NetworkGetAutostartArgs) (*protocol.NetworkGetAutostartRet, error) {
	return &protocol.NetworkGetAutostartRet{Autostart: truth(n.autostart)}, nil
}

func (n *network) getMetadata(_ actor.Context, _ *call.Request, a *protocol.NetworkGetMetadataArgs) (*protocol.NetworkGetMetadataRet, error) {
	aff, err := n.affected(a.Flags)
	if err != nil {
		return nil, err
	}
	def := n.config
	if aff.live {
		def = n.live.def
	}
	text := def.metadataOf(a.Type, str(a.URI))
	if text == "" {
		return nil, liberr.New(from, liberr.NoNetworkMetadata, "Requested metadata element is not present")
	}
	return &protocol.NetworkGetMetadataRet{Metadata: text}, nil
}

func str(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (n *network) setMetadata(ctx actor.Context, r *call.Request, a *protocol.NetworkSetMetadataArgs) error {
	n.edit(ctx, r, edit{
		flags:  a.Flags,
		change: func(def *definition) error { return def.setMetadata(a.Type, a.Metadata, str(a.Key), str(a.URI)) },
		then: func(n *network, ctx actor.Context) {
			n.publish(ctx, eventMetadataChange, &protocol.NetworkEventCallbackMetadataChangeMsg{Net: n.ref(), Type: a.Type, Nsuri: a.URI})
		},
	})
	return nil
}

// eventMetadataChange is VIR_NETWORK_EVENT_ID_METADATA_CHANGE, which is younger than libvirt 9.0.0.
const eventMetadataChange = 1
