package qemu

import (
	"context"
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/agent"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// guestFacts is what virDomainGetGuestInfo has collected before it knows the disks' names.
type guestFacts struct {
	params  []protocol.TypedParam
	fs      []guestFS
	hasFS   bool
	disks   []guestBlock
	hasDisk bool
	links   []protocol.DomainInterface
	hasLink bool
}

// guestBlock is one block device of the guest.
type guestBlock struct {
	Name         string     `json:"name"`
	Partition    bool       `json:"partition"`
	Dependencies []string   `json:"dependencies"`
	Alias        string     `json:"alias"`
	Address      *guestDisk `json:"address"`
}

// guestInfo serves virDomainGetGuestInfo. Types that a client names must be there; with none named, what the agent
// cannot tell is left out.
func (d *domain) guestInfo(ctx actor.Context, r *call.Request, a *protocol.DomainGetGuestInfoArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainGetGuestInfo"); err != nil {
		return err
	}
	if bad := a.Types &^ guestInfoTypes; bad != 0 {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "unsupported guest information types '0x%x'", bad)
	}
	types, optional := a.Types, a.Types == 0
	if optional {
		types = guestInfoTypes
	}
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			f := &guestFacts{}
			return f, f.collect(jc, ag, timeout, types, optional)
		},
		answer: func(d *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			def, err := d.liveDef()
			if err != nil {
				return nil, err
			}
			return &protocol.DomainGetGuestInfoRet{Params: out.(*guestFacts).all(def)}, nil
		},
	})
}

func (f *guestFacts) collect(ctx context.Context, ag *agent.Client, timeout int, types uint32, optional bool) error {
	ask := func(name string, ret any) error {
		return ag.Execute(ctx, agent.Command{Name: name, Timeout: timeout, Optional: optional}, ret)
	}
	for _, part := range []struct {
		kind uint32
		get  func() error
	}{
		{virt.DomainGuestInfoUsers, func() error { return f.users(ask) }},
		{virt.DomainGuestInfoOS, func() error { return f.system(ask) }},
		{virt.DomainGuestInfoTimezone, func() error { return f.timezone(ask) }},
		{virt.DomainGuestInfoHostname, func() error {
			host, err := guestHostname(ctx, ag, timeout, optional)
			if err == nil {
				f.params = append(f.params, paramString("hostname", host))
			}
			return err
		}},
		{virt.DomainGuestInfoFilesystem, func() (err error) {
			f.fs, err = guestFilesystems(ctx, ag, timeout, optional)
			f.hasFS = err == nil
			return err
		}},
		{virt.DomainGuestInfoDisks, func() error {
			err := ask("guest-get-disks", &f.disks)
			f.hasDisk = err == nil
			return err
		}},
		{virt.DomainGuestInfoInterfaces, func() (err error) {
			f.links, err = guestInterfaces(ctx, ag, timeout, optional)
			f.hasLink = err == nil
			return err
		}},
	} {
		if types&part.kind == 0 {
			continue
		}
		if err := part.get(); err != nil && !errors.Is(err, agent.ErrMissing) {
			return err
		}
	}
	return nil
}

func (f *guestFacts) users(ask func(string, any) error) error {
	var list []struct {
		User   string  `json:"user"`
		Domain string  `json:"domain"`
		Login  float64 `json:"login-time"`
	}
	if err := ask("guest-get-users", &list); err != nil {
		return err
	}
	f.params = append(f.params, paramUInt("user.count", uint32(len(list))))
	for i, u := range list {
		p := fmt.Sprintf("user.%d.", i)
		f.params = append(f.params, paramString(p+"name", u.User))
		if u.Domain != "" {
			f.params = append(f.params, paramString(p+"domain", u.Domain))
		}
		f.params = append(f.params, paramULLong(p+"login-time", uint64(u.Login*1000)))
	}
	return nil
}

func (f *guestFacts) system(ask func(string, any) error) error {
	facts := map[string]any{}
	if err := ask("guest-get-osinfo", &facts); err != nil {
		return err
	}
	for _, k := range []string{"id", "name", "pretty-name", "version", "version-id", "machine", "variant", "variant-id", "kernel-release", "kernel-version"} {
		if v, ok := facts[k].(string); ok {
			f.params = append(f.params, paramString("os."+k, v))
		}
	}
	return nil
}

func (f *guestFacts) timezone(ask func(string, any) error) error {
	var zone struct {
		Zone   *string `json:"zone"`
		Offset *int32  `json:"offset"`
	}
	if err := ask("guest-get-timezone", &zone); err != nil {
		return err
	}
	if zone.Zone != nil {
		f.params = append(f.params, paramString("timezone.name", *zone.Zone))
	}
	if zone.Offset == nil {
		return malformed("offset")
	}
	f.params = append(f.params, paramInt("timezone.offset", *zone.Offset))
	return nil
}

// all prints what was collected.
func (f *guestFacts) all(def *libvirtxml.Domain) []protocol.TypedParam {
	out := f.params
	add := func(p ...protocol.TypedParam) { out = append(out, p...) }
	text := func(name, v string) {
		if v != "" {
			add(paramString(name, v))
		}
	}
	if f.hasFS && len(f.fs) > 0 {
		add(paramUInt("fs.count", uint32(len(f.fs))))
	}
	for i, fs := range f.fs {
		p := fmt.Sprintf("fs.%d.", i)
		add(paramString(p+"name", fs.Name), paramString(p+"mountpoint", fs.Mountpoint), paramString(p+"fstype", fs.Type))
		if fs.Total != nil && fs.Used != nil {
			add(paramULLong(p+"total-bytes", *fs.Total), paramULLong(p+"used-bytes", *fs.Used))
		}
		add(paramUInt(p+"disk.count", uint32(len(fs.Disks))))
		for j, g := range fs.Disks {
			q := fmt.Sprintf("%sdisk.%d.", p, j)
			text(q+"alias", g.alias(def))
			text(q+"serial", g.Serial)
			text(q+"device", g.Dev)
		}
	}
	if f.hasDisk {
		add(paramUInt("disk.count", uint32(len(f.disks))))
	}
	for i, b := range f.disks {
		p := fmt.Sprintf("disk.%d.", i)
		add(paramString(p+"name", b.Name), paramBool(p+"partition", b.Partition))
		if len(b.Dependencies) > 0 {
			add(paramUInt(p+"dependency.count", uint32(len(b.Dependencies))))
		}
		for j, dep := range b.Dependencies {
			add(paramString(fmt.Sprintf("%sdependency.%d.name", p, j), dep))
		}
		if b.Address != nil {
			text(p+"serial", b.Address.Serial)
			text(p+"alias", b.Address.alias(def))
		}
		text(p+"guest_alias", b.Alias)
	}
	if f.hasLink {
		add(paramUInt("if.count", uint32(len(f.links))))
	}
	for i, n := range f.links {
		p := fmt.Sprintf("if.%d.", i)
		add(paramString(p+"name", n.Name))
		if n.Hwaddr != nil {
			add(paramString(p+"hwaddr", *n.Hwaddr))
		}
		add(paramUInt(p+"addr.count", uint32(len(n.Addrs))))
		for j, ip := range n.Addrs {
			q := fmt.Sprintf("%saddr.%d.", p, j)
			kind := "ipv4"
			if ip.Type == virt.IPAddrTypeIPv6 {
				kind = "ipv6"
			}
			add(paramString(q+"type", kind), paramString(q+"addr", ip.Addr), paramUInt(q+"prefix", ip.Prefix))
		}
	}
	return out
}
