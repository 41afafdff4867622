package qemu

import (
	"context"
	"os"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/uuid"

	"virtree/actors/internal/call"
	"virtree/actors/internal/node"
	"virtree/actors/qemu/caps"
	"virtree/actors/qemu/command"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// What a connection asks of the driver as a whole.

// libVersion is the libvirt release whose interface we offer: 12.6.0 on the wire, and the behaviour of
// 9.0.0 wherever the two were compared.
//
// Compat: clients switch features by this number, so it must not promise what is not there.
const libVersion = 9000000

func (dr *driver) open(actor.Context, *call.Request, *protocol.ConnectOpenArgs) (*protocol.Void, error) {
	return nil, nil
}

// features of virDrvFeature that the driver has, as libvirt's qemu driver answers them.
var features = map[int32]bool{
	3:  true, // migration v2
	4:  true, // p2p migration
	5:  true, // migration direct? answered by the driver itself
	6:  true, // migration v3
	7:  true, // change protection
	9:  true, // typed parameters as strings
	11: true, // extensible parameters of XML calls
	12: true, // offline migration
	13: true, // migration with parameters
	16: true, // network update has the right order of arguments
}

func (dr *driver) supportsFeature(_ actor.Context, _ *call.Request, a *protocol.ConnectSupportsFeatureArgs) (*protocol.ConnectSupportsFeatureRet, error) {
	return &protocol.ConnectSupportsFeatureRet{Supported: truth(features[a.Feature])}, nil
}

func (dr *driver) getType(actor.Context, *call.Request, *protocol.Void) (*protocol.ConnectGetTypeRet, error) {
	return &protocol.ConnectGetTypeRet{Type: "QEMU"}, nil
}

// answer runs blocking work and answers with what it yields.
func (dr *driver) answer(ctx actor.Context, r *call.Request, run func(context.Context) (protocol.Encoder, error)) {
	dr.desk.Answer(ctx, r, parseTimeout, run)
}

func (dr *driver) getVersion(ctx actor.Context, r *call.Request, _ *protocol.Void) error {
	finder := dr.shared.caps
	dr.answer(ctx, r, func(jc context.Context) (protocol.Encoder, error) {
		c, err := finder.ForArch(jc, caps.HostArch())
		if err != nil {
			return nil, err
		}
		return &protocol.ConnectGetVersionRet{HvVer: uint64(c.Version)}, nil
	})
	return nil
}

func (dr *driver) getLibVersion(actor.Context, *call.Request, *protocol.Void) (*protocol.ConnectGetLibVersionRet, error) {
	return &protocol.ConnectGetLibVersionRet{LibVer: libVersion}, nil
}

func (dr *driver) getHostname(actor.Context, *call.Request, *protocol.Void) (*protocol.ConnectGetHostnameRet, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, liberr.System(liberr.FromNone, err, "failed to determine host name")
	}
	return &protocol.ConnectGetHostnameRet{Hostname: name}, nil
}

// isSecure: the way from us to QEMU is a UNIX socket.
func (dr *driver) isSecure(actor.Context, *call.Request, *protocol.Void) (*protocol.ConnectIsSecureRet, error) {
	return &protocol.ConnectIsSecureRet{Secure: 1}, nil
}

func (dr *driver) getMaxVCPUs(_ actor.Context, r *call.Request, a *protocol.ConnectGetMaxVCPUsArgs) error {
	typ := text(a.Type)
	n, ok, err := caps.MaxVCPUs(typ)
	if err != nil {
		return err
	}
	if !ok {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "unknown type '%s'", typ)
	}
	r.Reply(&protocol.ConnectGetMaxVCPUsRet{MaxVCPUs: int32(n)})
	return nil
}

func (dr *driver) getCapabilities(ctx actor.Context, r *call.Request, _ *protocol.Void) error {
	s := dr.shared
	dr.answer(ctx, r, func(jc context.Context) (protocol.Encoder, error) {
		return &protocol.ConnectGetCapabilitiesRet{Capabilities: caps.Capabilities(s.hostFacts(jc), s.caps.All(jc))}, nil
	})
	return nil
}

// hostFacts gathers what the capabilities say of the host.
func (s *shared) hostFacts(ctx context.Context) caps.HostFacts {
	n := node.Host()
	return caps.HostFacts{UUID: s.hostUUID(n), Node: n, PowerManagement: n.SuspendCapabilities(ctx), SecurityModels: caps.SecurityModels(!s.env.Paths.Session, s.guest.uid, s.guest.gid)}
}

func (dr *driver) getDomainCapabilities(ctx actor.Context, r *call.Request, a *protocol.ConnectGetDomainCapabilitiesArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuConnectGetDomainCapabilities"); err != nil {
		return err
	}
	s := dr.shared
	q := caps.DomainCapsQuery{Emulator: text(a.Emulatorbin), Arch: text(a.Arch), Machine: text(a.Machine), VirtType: text(a.Virttype)}
	dr.answer(ctx, r, func(jc context.Context) (protocol.Encoder, error) {
		t, err := s.caps.Resolve(jc, q)
		if err != nil {
			return nil, err
		}
		doc, err := caps.DomainCapabilities(t, s.domainCapsHost())
		if err != nil {
			return nil, err
		}
		return &protocol.ConnectGetDomainCapabilitiesRet{Capabilities: doc}, nil
	})
	return nil
}

func (dr *driver) nodeInfo(_ actor.Context, r *call.Request, _ *protocol.Void) error {
	i := node.Host().Info()
	ret := &protocol.NodeGetInfoRet{
		Memory: i.Memory, CPUs: int32(i.CPUs), Mhz: int32(i.MHz), Nodes: int32(i.Nodes),
		Sockets: int32(i.Sockets), Cores: int32(i.Cores), Threads: int32(i.Threads),
	}
	copy(ret.Model[:], i.Model)
	r.Reply(ret)
	return nil
}

// hostUUID is the host's identity: its firmware's, or one that is made up for the life of the process.
func (s *shared) hostUUID(n node.Node) string {
	s.hostOnce.Do(func() {
		id, ok := n.HostUUID(s.conf.HostUUID, s.conf.HostUUIDSource)
		if !ok {
			id = uuid.New()
		}
		s.hostID = id.String()
	})
	return s.hostID
}

// domainCapsHost gathers what the domain capabilities say of the host.
func (s *shared) domainCapsHost() caps.DomainCapsHost {
	kvm, _ := caps.MaxKVMCPUs()
	return caps.DomainCapsHost{MaxKVMCPUs: kvm, Node: node.Host(), Firmwares: caps.Firmwares(command.FirmwareDirs("")), TPM: caps.SWTPM()}
}
