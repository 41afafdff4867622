package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/agent"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// What the guest agent knows.

// agentHostname serves virDomainGetHostname with the agent as its source.
func (d *domain) agentHostname(ctx actor.Context, r *call.Request) error {
	name := d.name
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			return guestHostname(jc, ag, timeout, false)
		},
		answer: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			host := out.(string)
			if host == "" {
				return nil, liberr.New(liberr.FromQemu, liberr.NoHostname, "no hostname found for domain %s", name)
			}
			return &protocol.DomainGetHostnameRet{Hostname: host}, nil
		},
		failed: func(_ *domain, _ actor.Context, err error) error {
			// Compat: libvirt takes an agent that does not answer for one that has no such command.
			var e *liberr.Error
			if errors.As(err, &e) && (e.Code == liberr.AgentUnresponsive || e.Code == liberr.AgentCommandTimeout) {
				return liberr.New(liberr.FromQemu, liberr.NoHostname, "no hostname found for domain %s", name)
			}
			return err
		},
	})
}

func guestHostname(ctx context.Context, ag *agent.Client, timeout int, optional bool) (string, error) {
	var ret struct {
		Name *string `json:"host-name"`
	}
	if err := ag.Execute(ctx, agent.Command{Name: "guest-get-host-name", Timeout: timeout, Optional: optional}, &ret); err != nil {
		return "", err
	}
	if ret.Name == nil {
		return "", malformed("host-name")
	}
	return *ret.Name, nil
}

func malformed(what string) error {
	return liberr.New(liberr.FromQemu, liberr.InternalError, "'%s' missing in reply of the guest agent", what)
}

// agentAddresses serves virDomainInterfaceAddresses with the agent as its source.
func (d *domain) agentAddresses(ctx actor.Context, r *call.Request) error {
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			return guestInterfaces(jc, ag, timeout, false)
		},
		answer: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			return &protocol.DomainInterfaceAddressesRet{Ifaces: out.([]protocol.DomainInterface)}, nil
		},
	})
}

// guestInterfaces lists the guest's interfaces. Aliases of one ("eth0:1") are addresses of it.
func guestInterfaces(ctx context.Context, ag *agent.Client, timeout int, optional bool) ([]protocol.DomainInterface, error) {
	var list []struct {
		Name   string `json:"name"`
		HWAddr string `json:"hardware-address"`
		IPs    []struct {
			Type    string `json:"ip-address-type"`
			Address string `json:"ip-address"`
			Prefix  uint32 `json:"prefix"`
		} `json:"ip-addresses"`
	}
	if err := ag.Execute(ctx, agent.Command{Name: "guest-network-get-interfaces", Timeout: timeout, Optional: optional}, &list); err != nil {
		return nil, err
	}
	var out []protocol.DomainInterface
	for _, n := range list {
		if n.Name == "" {
			return nil, liberr.New(liberr.FromQemu, liberr.InternalError, "qemu agent didn't provide 'name' field")
		}
		name, _, _ := strings.Cut(n.Name, ":")
		at := slices.IndexFunc(out, func(o protocol.DomainInterface) bool { return o.Name == name })
		if at < 0 {
			out = append(out, protocol.DomainInterface{Name: name})
			at = len(out) - 1
			if n.HWAddr != "" {
				hw := n.HWAddr
				out[at].Hwaddr = &hw
			}
		}
		for _, ip := range n.IPs {
			a := protocol.DomainIPAddr{Addr: ip.Address, Prefix: ip.Prefix}
			switch ip.Type {
			case "ipv4":
				a.Type = virt.IPAddrTypeIPv4
			case "ipv6":
				a.Type = virt.IPAddrTypeIPv6
			default:
				return nil, liberr.New(liberr.FromQemu, liberr.InternalError, "unknown ip address type '%s'", ip.Type)
			}
			out[at].Addrs = append(out[at].Addrs, a)
		}
	}
	return out, nil
}

// guestDisk is a disk as the guest addresses it.
type guestDisk struct {
	BusNo  uint `json:"bus"`
	Unit   uint `json:"unit"`
	Target uint `json:"target"`
	PCI    struct {
		Domain   int `json:"domain"`
		Bus      int `json:"bus"`
		Slot     int `json:"slot"`
		Function int `json:"function"`
	} `json:"pci-controller"`
	CCW *struct {
		CSSID uint `json:"cssid"`
		SSID  uint `json:"ssid"`
		DevNo uint `json:"devno"`
	} `json:"ccw-address"`
	Serial string `json:"serial"`
	Dev    string `json:"dev"`
}

// alias finds the disk in a definition and returns the name by which clients know it; "" for one of other making.
func (g *guestDisk) alias(def *libvirtxml.Domain) string {
	for i := range def.Devices.Disks {
		disk := &def.Devices.Disks[i]
		switch a := disk.Address; {
		case a == nil || disk.Target == nil:
		case a.PCI != nil && atPCI(a.PCI, g):
			return disk.Target.Dev
		case a.Drive != nil && is(a.Drive.Bus, g.BusNo) && is(a.Drive.Target, g.Target) && is(a.Drive.Unit, g.Unit) && onController(def, disk, g):
			return disk.Target.Dev
		}
	}
	return ""
}

func is(p *uint, v uint) bool { return p != nil && *p == v || p == nil && v == 0 }

func atPCI(a *libvirtxml.DomainAddressPCI, g *guestDisk) bool {
	p := g.PCI
	return p.Domain >= 0 && p.Bus >= 0 && is(a.Domain, uint(p.Domain)) && is(a.Bus, uint(p.Bus)) && is(a.Slot, uint(p.Slot)) && is(a.Function, uint(p.Function))
}

// onController tells whether the disk's controller is where the guest says.
func onController(def *libvirtxml.Domain, disk *libvirtxml.DomainDisk, g *guestDisk) bool {
	for _, c := range def.Devices.Controllers {
		if c.Type == disk.Target.Bus && is(c.Index, pointed(disk.Address.Drive.Controller)) && c.Address != nil && c.Address.PCI != nil {
			return atPCI(c.Address.PCI, g)
		}
	}
	return false
}

func pointed(p *uint) uint {
	if p == nil {
		return 0
	}
	return *p
}

// guestFS is one mounted file system.
type guestFS struct {
	Mountpoint string      `json:"mountpoint"`
	Name       string      `json:"name"`
	Type       string      `json:"type"`
	Total      *uint64     `json:"total-bytes"`
	Used       *uint64     `json:"used-bytes"`
	Disks      []guestDisk `json:"disk"`
}

// guestFilesystems lists what the guest has mounted, in the order in which it was.
func guestFilesystems(ctx context.Context, ag *agent.Client, timeout int, optional bool) ([]guestFS, error) {
	var list []guestFS
	if err := ag.Execute(ctx, agent.Command{Name: "guest-get-fsinfo", Timeout: timeout, Optional: optional}, &list); err != nil {
		return nil, err
	}
	slices.Reverse(list) // the agent begins with the last one
	return list, nil
}

func (d *domain) fsInfo(ctx actor.Context, r *call.Request, a *protocol.DomainGetFSInfoArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainGetFSInfo"); err != nil {
		return err
	}
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			return guestFilesystems(jc, ag, timeout, false)
		},
		answer: func(d *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			def, err := d.liveDef()
			if err != nil {
				return nil, err
			}
			ret := &protocol.DomainGetFSInfoRet{}
			for _, fs := range out.([]guestFS) {
				info := protocol.DomainFSInfo{Mountpoint: fs.Mountpoint, Name: fs.Name, Fstype: fs.Type}
				for _, g := range fs.Disks {
					if dst := g.alias(def); dst != "" {
						info.DevAliases = append(info.DevAliases, dst)
					}
				}
				ret.Info = append(ret.Info, info)
			}
			ret.Ret = uint32(len(ret.Info))
			return ret, nil
		},
	})
}

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

func (d *domain) sshKeys(ctx actor.Context, r *call.Request, a *protocol.DomainAuthorizedSSHKeysGetArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainAuthorizedSSHKeysGet"); err != nil {
		return err
	}
	user := a.User
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			var ret struct {
				Keys []string `json:"keys"`
			}
			err := ag.Execute(jc, agent.Command{Name: "guest-ssh-get-authorized-keys", Args: map[string]any{"username": user}, Timeout: timeout}, &ret)
			return ret.Keys, err
		},
		answer: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			return &protocol.DomainAuthorizedSSHKeysGetRet{Keys: out.([]string)}, nil
		},
	})
}

func (d *domain) setSSHKeys(ctx actor.Context, r *call.Request, a *protocol.DomainAuthorizedSSHKeysSetArgs) error {
	const more, less = virt.DomainAuthorizedSSHKeysSetAppend, virt.DomainAuthorizedSSHKeysSetRemove
	if err := call.CheckFlags(a.Flags, more|less, liberr.FromQemu, "qemuDomainAuthorizedSSHKeysSet"); err != nil {
		return err
	}
	type args struct {
		User  string   `json:"username"`
		Keys  []string `json:"keys"`
		Reset *bool    `json:"reset,omitempty"`
	}
	v := args{User: a.User, Keys: append([]string{}, a.Keys...)}
	name := "guest-ssh-remove-authorized-keys"
	if a.Flags&less == 0 {
		reset := a.Flags&more == 0
		v.Reset, name = &reset, "guest-ssh-add-authorized-keys"
	}
	return d.tellAgent(ctx, r, func(int) agent.Command { return agent.Command{Name: name, Args: v} })
}

const guestInfoTypes = virt.DomainGuestInfoUsers | virt.DomainGuestInfoOS | virt.DomainGuestInfoTimezone | virt.DomainGuestInfoHostname |
	virt.DomainGuestInfoFilesystem | virt.DomainGuestInfoDisks | virt.DomainGuestInfoInterfaces

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
