package qemu

import (
	"context"
	"time"

	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// sendKeys presses keys together. QEMU takes numbers of the XT set; the Linux codes, which virsh sends,
// are the same below 89.
func sendKeys(ctx context.Context, mon *qmp.Client, set uint32, codes []uint32, hold time.Duration) error {
	keys := make([]int, len(codes))
	for i, c := range codes {
		switch {
		case c > 0xffff:
			return liberr.New(liberr.FromQemu, liberr.InvalidArg, "invalid keycode: 0x%X", c)
		case set == virt.KeycodeSetLinux || set == virt.KeycodeSetXt || set == virt.KeycodeSetAtset1 || set == virt.KeycodeSetQnum:
			keys[i] = int(c)
		default:
			return liberr.New(liberr.FromQemu, liberr.InternalError, "cannot translate keycode %d of codeset %d to xt keycode", c, set)
		}
	}
	return qmp.SendKey(ctx, mon, keys, uint(hold.Milliseconds()))
}
