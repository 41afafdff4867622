package qemu

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/qmp"
	"virtree/wire/virt"
)

// reviewDevices finishes the removal of devices that the guest let go of while no daemon was there to hear of it: what
// the definition has and QEMU has not.
func (d *domain) reviewDevices(ctx actor.Context) {
	_ = d.deviceTask(ctx, nil, virt.DomainAffectLive, func(j *deviceJob, jc context.Context, _ *kit.Undo) error {
		list, err := qmp.QOMList(jc, j.mon, "/machine/peripheral")
		if err != nil {
			return err
		}
		there := map[string]bool{}
		for _, p := range list {
			there[p.Name] = true
		}
		for _, p := range pieces(j.live.Devices) {
			if p.name() == "" || there[p.name()] || detachable(&p) != nil || guestForward(&p) != nil {
				continue
			}
			if err := j.removed(jc, &p); err != nil {
				return err
			}
		}
		return nil
	})
}
