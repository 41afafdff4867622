package qemu

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// xmlToNative prints the command that would start a definition. Nothing is started, opened or reserved.
func (dr *driver) xmlToNative(ctx actor.Context, r *call.Request, a *protocol.ConnectDomainXMLToNativeArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuConnectDomainXMLToNative"); err != nil {
		return err
	}
	if a.NativeFormat != "qemu-argv" {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "unsupported config type %s", a.NativeFormat)
	}
	s := dr.shared
	dr.answer(ctx, r, func(jc context.Context) (protocol.Encoder, error) {
		line, err := s.nativeLine(jc, a.DomainXml)
		return &protocol.ConnectDomainXMLToNativeRet{NativeConfig: line}, err
	})
	return nil
}

func (s *shared) nativeLine(ctx context.Context, doc string) (string, error) {
	def, err := domxml.Parse([]byte(doc), s.xmlEnv, 0)
	if err != nil {
		return "", err
	}
	c, err := s.caps.Get(ctx, def.Devices.Emulator)
	if err != nil {
		return "", err
	}
	id := -1
	def.ID = &id
	command.AssignNodes(def)
	if err := domxml.AssignAliases(def); err != nil {
		return "", err
	}
	lib, short := s.env.Paths.DriverLib("qemu"), command.ShortName(id, def.Name)
	plan := &launchPlan{drv: s}
	nics, err := pretendNICs(def)
	defer func() {
		for _, n := range nics {
			_ = n.Tap[0].Close()
		}
	}()
	if err != nil {
		return "", err
	}
	cmd, err := command.Build(def, c, command.Runtime{
		LibDir: filepath.Join(lib, "domain-"+short), ChannelDir: filepath.Join(lib, "channel", "target", "domain-"+short),
		RAMDir: filepath.Join(lib, "ram", short), Now: time.Now(), Environment: plan.environment(), NICs: nics,
	})
	if err != nil {
		return "", err
	}
	words := make([]string, 0, len(cmd.Env)+1+len(cmd.Args))
	for _, e := range cmd.Env {
		name, value, _ := strings.Cut(e, "=")
		words = append(words, name+"="+shellQuote(value))
	}
	words = append(words, shellQuote(cmd.Binary))
	for _, w := range cmd.Args {
		words = append(words, shellQuote(w))
	}
	return strings.Join(words, " "), nil
}

// pretendNICs makes every interface one with a tap, as libvirt does here: what the real ones need is opened
// by a start only. The descriptor in the command stands for the tap that a script would open.
func pretendNICs(def *libvirtxml.Domain) (map[string]command.NIC, error) {
	nics := map[string]command.NIC{}
	for i := range def.Devices.Interfaces {
		n := &def.Devices.Interfaces[i]
		f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return nics, err
		}
		n.Source = &libvirtxml.DomainInterfaceSource{Ethernet: &libvirtxml.DomainInterfaceSourceEthernet{}}
		n.Driver, n.Backend, n.Target, n.VirtualPort, n.Bandwidth = nil, nil, nil, nil, nil
		nics[n.Alias.Name] = command.NIC{Tap: []*os.File{f}}
	}
	return nics, nil
}
