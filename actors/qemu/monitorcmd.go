package qemu

import (
	"context"
	"errors"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// monitorCommand serves virDomainQemuMonitorCommand: the client's own words to QEMU, and QEMU's answer.
func (d *domain) monitorCommand(ctx actor.Context, r *call.Request, a *protocol.QemuDomainMonitorCommandArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainQemuMonitorCommandHmp, liberr.FromQemu, "qemuDomainQemuMonitorCommandWithFiles"); err != nil {
		return err
	}
	mon, err := d.monitor()
	if err != nil {
		return err
	}
	d.taint("custom monitor control commands issued")
	hmp, cmd := a.Flags&virt.DomainQemuMonitorCommandHmp != 0, a.Cmd
	d.start(ctx, &task{
		kind: jobModify, req: r,
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			if hmp {
				return qmp.HumanMonitorCommand(jc, mon, cmd, -1)
			}
			out, err := mon.ExecuteRaw(jc, []byte(cmd))
			var refused *qmp.Error
			if err != nil && !errors.As(err, &refused) {
				return nil, err
			}
			return string(out), nil // QEMU's error is an answer too
		},
		apply: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			return &protocol.QemuDomainMonitorCommandRet{Result: out.(string)}, nil
		},
	})
	return nil
}
