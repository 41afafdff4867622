package backend

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"strings"

	"virtree/actors/storage/def"
)

// mpath are the multipath devices of the host, all of them.
type mpath struct{ blocks }

// Active needs nothing: a host without device-mapper has no multipath devices, and its pool is empty.
func (mpath) Active(context.Context, *def.Pool) (bool, error) { return true, nil }

func (b mpath) Refresh(ctx context.Context, p *def.Pool, _ map[string]*def.Volume) (*Content, error) {
	all, err := b.devices(ctx)
	if err != nil {
		return nil, err
	}
	var s Space
	for _, v := range all {
		s.Capacity += v.Capacity
		s.Allocation += v.Allocation
	}
	return content(p, s, all), nil
}

// devices asks device-mapper. A map's key is the identifier of the disk behind it, which multipathd puts into its UUID.
func (b mpath) devices(ctx context.Context) (all []*def.Volume, err error) {
	if _, err := os.Stat(b.at("/dev/mapper/control")); err != nil {
		return nil, nil
	}
	maps, err := b.output(ctx, "dmsetup", "ls", "--target", "multipath", "-o", "devname")
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(maps))
	for lines.Scan() { // NAME (dm-N)
		name, dm, ok := strings.Cut(lines.Text(), "\t")
		if !ok || !strings.HasPrefix(dm, "(dm-") {
			continue // "No devices found"
		}
		dm = strings.Trim(dm, "()")
		v, err := b.device(dm, "/dev/mapper/"+name)
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue // gone meanwhile
		}
		if id, err := os.ReadFile(b.at("/sys/block/" + dm + "/dm/uuid")); err == nil {
			if wwid, ok := strings.CutPrefix(strings.TrimSpace(string(id)), "mpath-"); ok {
				v.Key = wwid
			}
		}
		all = append(all, v)
	}
	return all, nil
}

func (b mpath) Look(ctx context.Context, p *def.Pool, name string) (*def.Volume, error) {
	return lookIn(ctx, b, p, name)
}

func (b mpath) Space(ctx context.Context, p *def.Pool) (Space, error) { return spaceIn(ctx, b, p) }
