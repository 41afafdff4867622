package backend

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// iscsiDirect is a target of an iSCSI server that this host does not log in to: qemu opens its units over the network itself.
// libiscsi's tools look at them.
//
// Compat: libvirt wipes such volumes too.
type iscsiDirect struct {
	bare
	*Host
}

func (iscsiDirect) server(h def.Host) string {
	port := h.Port
	if port == 0 {
		port = iscsiPort
	}
	return fmt.Sprintf("%s:%d", bracketed(h.Name), port)
}

// withPassword reads name and password and runs a tool with them in its environment: arguments can be read by everybody.
const withPassword = `IFS= read -r LIBISCSI_CHAP_USERNAME; IFS= read -r LIBISCSI_CHAP_PASSWORD; export LIBISCSI_CHAP_USERNAME LIBISCSI_CHAP_PASSWORD; exec "$@"`

func (b iscsiDirect) iscsi(ctx context.Context, s *def.Source, tool string, args ...string) ([]byte, error) {
	args = append([]string{"-i", s.Initiator}, args...)
	if s.Auth == nil {
		return b.output(ctx, tool, args...)
	}
	if s.Auth.Type != "chap" {
		return nil, liberr.New(from, liberr.XMLError, "iscsi-direct pool only supports 'chap' auth type")
	}
	path, err := b.tools().Find(tool)
	if err != nil {
		return nil, err
	}
	secret, err := b.secret(ctx, "iscsi", s.Auth)
	if err != nil {
		return nil, err
	}
	input := append([]byte(s.Auth.Username+"\n"), append(secret, '\n')...)
	defer clear(input)
	defer clear(secret)
	return b.feed(ctx, input, "sh", append([]string{"-c", withPassword, "sh", path}, args...)...)
}

// unit is one of a target.
type unit struct {
	number int
	disk   bool
}

// units lists what targets a server has, with their units: Target:NAME Portal:..., Lun:N Type:KIND ... below each.
func (b iscsiDirect) units(ctx context.Context, s *def.Source) (names []string, units map[string][]unit, err error) {
	out, err := b.iscsi(ctx, s, "iscsi-ls", "-s", "iscsi://"+b.server(s.Hosts[0]))
	if err != nil {
		return nil, nil, err
	}
	units = map[string][]unit{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 2 {
			continue
		}
		if name, ok := strings.CutPrefix(f[0], "Target:"); ok {
			names = append(names, name)
		} else if lun, ok := strings.CutPrefix(f[0], "Lun:"); ok && len(names) > 0 {
			n, err := strconv.Atoi(lun)
			if err == nil {
				last := names[len(names)-1]
				units[last] = append(units[last], unit{n, f[1] == "Type:DIRECT_ACCESS"})
			}
		}
	}
	return names, units, nil
}

func (b iscsiDirect) check(p *def.Pool) error {
	if len(p.Source.Hosts) != 1 {
		return liberr.New(from, liberr.InternalError, "Expected exactly 1 host for the storage pool")
	}
	return nil
}

// Active asks nobody: there is nothing on this host that could be or not be.
func (b iscsiDirect) Active(context.Context, *def.Pool) (bool, error) { return true, nil }

func (b iscsiDirect) Refresh(ctx context.Context, p *def.Pool, _ map[string]*def.Volume) (*Content, error) {
	if err := b.check(p); err != nil {
		return nil, err
	}
	s := &p.Source
	names, units, err := b.units(ctx, s)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, liberr.New(from, liberr.InternalError, "Failed to connect to LUN : no target on '%s'", b.server(s.Hosts[0]))
	}
	var all []*def.Volume
	var space Space
	for _, u := range units[s.Device()] {
		path := fmt.Sprintf("ip-%s-iscsi-%s-lun-%d", b.server(s.Hosts[0]), s.Device(), u.number)
		v := &def.Volume{Name: fmt.Sprintf("unit:0:0:%d", u.number), Key: path, Path: path, Type: virt.StorageVolNetwork, Permissions: def.NoPermissions, CapacityGiven: true, AllocationGiven: true}
		if u.disk {
			if v.Capacity, err = b.capacity(ctx, s, u.number); err != nil {
				return nil, err
			}
			v.Allocation = v.Capacity
		}
		space.Capacity += v.Capacity
		space.Allocation += v.Capacity
		all = append(all, v)
	}
	return content(p, space, all), nil
}

// capacity multiplies the last block's address by the length of a block.
//
// Compat: which is a block less than there are, as libvirt has it.
func (b iscsiDirect) capacity(ctx context.Context, s *def.Source, lun int) (uint64, error) {
	out, err := b.iscsi(ctx, s, "iscsi-readcapacity16", fmt.Sprintf("iscsi://%s/%s/%d", b.server(s.Hosts[0]), s.Device(), lun))
	if err != nil {
		return 0, err
	}
	var last, length uint64
	for _, line := range strings.Split(string(out), "\n") {
		if n, ok := strings.CutPrefix(line, "RETURNED LOGICAL BLOCK ADDRESS:"); ok {
			last = number(n)
		} else if n, ok := strings.CutPrefix(line, "LOGICAL BLOCK LENGTH IN BYTES:"); ok {
			length = number(n)
		}
	}
	return last * length, nil
}

func (b iscsiDirect) Look(ctx context.Context, p *def.Pool, name string) (*def.Volume, error) {
	return lookIn(ctx, b, p, name)
}

func (b iscsiDirect) Space(ctx context.Context, p *def.Pool) (Space, error) {
	return spaceIn(ctx, b, p)
}

// FindSources asks a server which targets it has.
func (b iscsiDirect) FindSources(ctx context.Context, at *def.Source) ([]def.Source, error) {
	switch {
	case len(at.Hosts) != 1:
		return nil, liberr.New(from, liberr.InternalError, "Expected exactly 1 host for the storage pool")
	case at.Initiator == "":
		return nil, liberr.New(from, liberr.ConfigUnsupported, "missing initiator IQN")
	}
	names, _, err := b.units(ctx, at)
	if err != nil {
		return nil, err
	}
	host := at.Hosts[0]
	if host.Port == 0 {
		host.Port = iscsiPort
	}
	var found []def.Source
	for _, n := range names {
		found = append(found, def.Source{Hosts: []def.Host{host}, Devices: []def.Device{{Path: n}}, Initiator: at.Initiator})
	}
	return found, nil
}
