package qemu

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/agent"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// guestCPU is one CPU as the guest sees it.
type guestCPU struct {
	ID         int  `json:"logical-id"`
	Online     bool `json:"online"`
	CanOffline bool `json:"can-offline"`
}

func guestCPUs(ctx context.Context, ag *agent.Client, timeout int) (list []guestCPU, err error) {
	return list, ag.Execute(ctx, agent.Command{Name: "guest-get-vcpus", Timeout: timeout}, &list)
}

func (d *domain) guestVCPUs(ctx actor.Context, r *call.Request, a *protocol.DomainGetGuestVCPUsArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainGetGuestVcpus"); err != nil {
		return err
	}
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			return guestCPUs(jc, ag, timeout)
		},
		answer: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			var all, online, offlinable []int
			for _, c := range out.([]guestCPU) {
				all = append(all, c.ID)
				if c.Online {
					online = append(online, c.ID)
				}
				if c.CanOffline {
					offlinable = append(offlinable, c.ID)
				}
			}
			return &protocol.DomainGetGuestVCPUsRet{Params: []protocol.TypedParam{
				paramString("vcpus", rangeList(all)), paramString("online", rangeList(online)), paramString("offlinable", rangeList(offlinable)),
			}}, nil
		},
	})
}

// rangeList prints numbers as libvirt prints a bitmap: "0-2,5".
func rangeList(list []int) string {
	list = slices.Clone(list)
	slices.Sort(list)
	var b strings.Builder
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(list[i]))
		if j > i {
			b.WriteString("-" + strconv.Itoa(list[j]))
		}
		i = j + 1
	}
	return b.String()
}

// mostGuestCPUs is one more than the largest number a client may name; libvirt's QEMU_GUEST_VCPU_MAX_ID.
const mostGuestCPUs = 4096

func (d *domain) setGuestVCPUs(ctx actor.Context, r *call.Request, a *protocol.DomainSetGuestVCPUsArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainSetGuestVcpus"); err != nil {
		return err
	}
	if a.State != 0 && a.State != 1 {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "unsupported state value")
	}
	wanted, err := parseCPUMap(a.Cpumap)
	if err != nil {
		return err
	}
	if len(wanted) == 0 {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "no vcpus selected for modification")
	}
	state := a.State == 1
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			list, err := guestCPUs(jc, ag, timeout)
			if err != nil {
				return nil, err
			}
			type change struct {
				ID     int  `json:"logical-id"`
				Online bool `json:"online"`
			}
			var changes []change
			for _, c := range list {
				at := slices.Index(wanted, c.ID)
				if at < 0 {
					continue
				}
				wanted = slices.Delete(wanted, at, at+1)
				if c.Online == state {
					continue
				}
				if !state && !c.CanOffline {
					return nil, liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "vCPU '%d' is not offlinable", c.ID)
				}
				changes = append(changes, change{c.ID, state})
			}
			if len(wanted) > 0 {
				return nil, liberr.New(liberr.FromQemu, liberr.InvalidArg, "guest is missing vCPUs '%s'", rangeList(wanted))
			}
			for len(changes) > 0 { // the agent may do fewer than it was asked
				var done int
				if err := ag.Execute(jc, agent.Command{Name: "guest-set-vcpus", Args: map[string]any{"vcpus": changes}, Timeout: timeout}, &done); err != nil {
					return nil, err
				}
				if done <= 0 || done > len(changes) {
					return nil, liberr.New(liberr.FromQemu, liberr.InternalError, "guest agent failed to set vcpus")
				}
				changes = changes[done:]
			}
			return nil, nil
		},
	})
}

// parseCPUMap reads "0-2,^1,5".
func parseCPUMap(s string) ([]int, error) {
	bad := func() ([]int, error) {
		return nil, liberr.New(liberr.FromNone, liberr.InvalidArg, "Failed to parse bitmap '%s'", s)
	}
	in := map[int]bool{}
	for _, part := range strings.Split(s, ",") {
		part, not := strings.CutPrefix(strings.TrimSpace(part), "^")
		lo, hi, ranged := strings.Cut(part, "-")
		if !ranged {
			hi = lo
		}
		a, err1 := strconv.Atoi(lo)
		b, err2 := strconv.Atoi(hi)
		if err1 != nil || err2 != nil || a < 0 || b < a || b >= mostGuestCPUs {
			return bad()
		}
		for n := a; n <= b; n++ {
			if not {
				delete(in, n)
			} else {
				in[n] = true
			}
		}
	}
	var out []int
	for n := range in {
		out = append(out, n)
	}
	slices.Sort(out)
	return out, nil
}
