package qemu

import (
	"context"
	"encoding/xml"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// A disk on a volume is found out about when it is needed: the storage driver says what the volume is. The definition keeps
// the volume, and beside it what that was (domxml.Resolved).

// resolveVolumes looks up the volumes of all disks of a guest that is about to start.
func (p *launchPlan) resolveVolumes(ctx context.Context, _ *kit.Undo) error {
	for i := len(p.def.Devices.Disks) - 1; i >= 0; i-- { // Compat: events of missing disks come in this order
		d := &p.def.Devices.Disks[i]
		err := p.drv.resolveVolume(ctx, d)
		if err != nil && p.mayBeMissing(d) {
			p.drv.env.Log.Warn().Err(err).Str("domain", p.name).Str("disk", diskTarget(d)).Msg("a disk is left out, as its startup policy says")
			err = p.leaveOut(i)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// resolveVolume looks up the volume of a disk that is on one.
func (s *shared) resolveVolume(ctx context.Context, d *libvirtxml.DomainDisk) error {
	if d.Source == nil || d.Source.Volume == nil {
		return nil
	}
	v := d.Source.Volume
	pool, kind, err := s.poolOf(ctx, v)
	if err != nil {
		return err
	}
	vol, err := s.volumeOf(ctx, pool, v.Volume)
	if err != nil {
		return err
	}
	d.Source.File, d.Source.Block, d.Source.Dir, d.Source.Network = nil, nil, nil, nil
	switch kind.Type {
	case "dir", "fs", "netfs", "logical", "disk", "scsi", "zfs", "vstorage":
		if v.Mode != "" {
			return liberr.New(liberr.FromStorage, liberr.XMLError, "disk source mode is only valid when storage pool is of iscsi type")
		}
		err = s.sourceOf(ctx, d, vol, kind.Type)
	case "iscsi", "iscsi-direct":
		if d.Source.StartupPolicy != "" {
			return liberr.New(liberr.FromStorage, liberr.XMLError, "'startupPolicy' is only valid for 'file' type volume")
		}
		if v.Mode == "direct" || kind.Type == "iscsi-direct" {
			err = iscsiDirect(d, kind)
		} else {
			if v.Mode == "" {
				v.Mode = "host"
			}
			err = s.sourceOf(ctx, d, vol, kind.Type)
		}
	default:
		err = liberr.New(liberr.FromStorage, liberr.ConfigUnsupported, "using '%s' pools for backing 'volume' disks isn't yet supported", kind.Type)
	}
	if err != nil {
		return err
	}
	if d.Source.StartupPolicy != "" && d.Source.File == nil {
		return liberr.New(liberr.FromStorage, liberr.XMLError, "'startupPolicy' is only valid for 'file' type volume")
	}
	if d.Driver == nil {
		d.Driver = &libvirtxml.DomainDiskDriver{Name: "qemu"}
	}
	if d.Driver.Type == "" {
		d.Driver.Type = "raw" // Compat: whatever the volume's own format is
		if d.Source.Dir != nil {
			d.Driver.Type = "fat"
		}
	}
	return nil
}

// poolOf finds an active pool, and what kind it is.
func (s *shared) poolOf(ctx context.Context, v *libvirtxml.DomainDiskSourceVolume) (protocol.StoragePool, *libvirtxml.StoragePool, error) {
	var found protocol.StoragePoolLookupByNameRet
	if err := s.askStorage(ctx, protocol.StoragePoolLookupByName.Procedure, &protocol.StoragePoolLookupByNameArgs{Name: v.Pool}, &found); err != nil {
		return found.Pool, nil, err
	}
	var active protocol.StoragePoolIsActiveRet
	if err := s.askStorage(ctx, protocol.StoragePoolIsActive.Procedure, &protocol.StoragePoolIsActiveArgs{Pool: found.Pool}, &active); err != nil {
		return found.Pool, nil, err
	}
	if active.Active == 0 {
		return found.Pool, nil, liberr.New(liberr.FromStorage, liberr.ConfigUnsupported, "storage pool '%s' containing volume '%s' is not active", v.Pool, v.Volume)
	}
	var doc protocol.StoragePoolGetXMLDescRet
	if err := s.askStorage(ctx, protocol.StoragePoolGetXMLDesc.Procedure, &protocol.StoragePoolGetXMLDescArgs{Pool: found.Pool}, &doc); err != nil {
		return found.Pool, nil, err
	}
	kind := &libvirtxml.StoragePool{}
	if err := xml.Unmarshal([]byte(doc.XML), kind); err != nil {
		return found.Pool, nil, liberr.New(liberr.FromStorage, liberr.InternalError, "cannot read the document of storage pool '%s': %v", v.Pool, err)
	}
	return found.Pool, kind, nil
}

func (s *shared) volumeOf(ctx context.Context, pool protocol.StoragePool, name string) (protocol.StorageVol, error) {
	var vol protocol.StorageVolLookupByNameRet
	err := s.askStorage(ctx, protocol.StorageVolLookupByName.Procedure, &protocol.StorageVolLookupByNameArgs{Pool: pool, Name: name}, &vol)
	return vol.Vol, err
}

// sourceOf makes the disk's source what the volume is on this host.
func (s *shared) sourceOf(ctx context.Context, d *libvirtxml.DomainDisk, vol protocol.StorageVol, kind string) error {
	var path protocol.StorageVolGetPathRet
	if err := s.askStorage(ctx, protocol.StorageVolGetPath.Procedure, &protocol.StorageVolGetPathArgs{Vol: vol}, &path); err != nil {
		return err
	}
	var info protocol.StorageVolGetInfoRet
	if err := s.askStorage(ctx, protocol.StorageVolGetInfo.Procedure, &protocol.StorageVolGetInfoArgs{Vol: vol}, &info); err != nil {
		return err
	}
	switch info.Type {
	case virt.StorageVolFile:
		d.Source.File = &libvirtxml.DomainDiskSourceFile{File: path.Name}
	case virt.StorageVolBlock:
		d.Source.Block = &libvirtxml.DomainDiskSourceBlock{Dev: path.Name}
	case virt.StorageVolDir:
		d.Source.Dir = &libvirtxml.DomainDiskSourceDir{Dir: path.Name}
	default:
		return liberr.New(liberr.FromStorage, liberr.InternalError, "unexpected storage volume type '%s' for storage pool type '%s'",
			map[byte]string{virt.StorageVolNetwork: "network", virt.StorageVolNetdir: "netdir", virt.StorageVolPloop: "ploop"}[info.Type], kind)
	}
	return nil
}

// iscsiDirect has QEMU itself log in to the pool's target, with the pool's credentials.
func iscsiDirect(d *libvirtxml.DomainDisk, pool *libvirtxml.StoragePool) error {
	v := d.Source.Volume
	parts := strings.Split(v.Volume, ":") // unit:host:bus:lun
	if len(parts) != 4 {
		return liberr.New(liberr.FromStorage, liberr.InternalError, "unexpected iscsi volume name '%s'", v.Volume)
	}
	n := &libvirtxml.DomainDiskSourceNetwork{Protocol: "iscsi"}
	if src := pool.Source; src != nil {
		for _, h := range src.Host {
			n.Hosts = append(n.Hosts, libvirtxml.DomainDiskSourceHost{Transport: "tcp", Name: h.Name, Port: h.Port})
		}
		if len(src.Device) > 0 {
			n.Name = src.Device[0].Path + "/" + parts[3]
		}
		if src.Initiator != nil && src.Initiator.IQN.Name != "" {
			n.Initiator = &libvirtxml.DomainDiskSourceNetworkInitiator{IQN: &libvirtxml.DomainDiskSourceNetworkIQN{Name: src.Initiator.IQN.Name}}
		}
		if a := src.Auth; a != nil && a.Secret != nil {
			n.Auth = &libvirtxml.DomainDiskAuth{Username: a.Username, Secret: &libvirtxml.DomainDiskSecret{Type: "iscsi", Usage: a.Secret.Usage, UUID: a.Secret.UUID}}
		}
	}
	d.Source.Network = n
	return nil
}

// askStorage makes a call to the storage driver and reads its answer.
func (s *shared) askStorage(ctx context.Context, proc *protocol.Procedure, args protocol.Encoder, ret protocol.Decodable) error {
	r, err := s.ask(ctx, "storage", proc, args)
	if err != nil {
		return err
	}
	return protocol.Unmarshal(r.Ret, ret)
}
