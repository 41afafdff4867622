package backend

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// createImage has qemu-img make an image that is not raw.
func createImage(ctx context.Context, path string, v *def.Volume, flags uint32) error {
	args := []string{"create", "-f", toolFormat(v.Format)}
	if v.Backing != nil {
		args = append(args, "-b", v.Backing.Path)
	}
	if o := options(v, flags, v.Backing); o != "" {
		args = append(args, "-o", o)
	}
	args = append(args, path)
	if v.CapacityGiven || v.Backing == nil {
		args = append(args, fmt.Sprintf("%dK", (v.Capacity+1023)/1024))
	}
	return qemuImg(ctx, args...)
}

// toolFormat is qemu-img's name of a format: an ISO image is raw to it.
func toolFormat(format string) string {
	if format == "iso" {
		return "raw"
	}
	return format
}

// convertImage copies a volume into an image of its own: it has no backing file, whatever the source has.
func convertImage(ctx context.Context, path string, v, source *def.Volume, flags uint32) error {
	args := []string{"convert", "-f", toolFormat(source.Format), "-O", toolFormat(v.Format)}
	if o := options(v, flags, nil); o != "" {
		args = append(args, "-o", o)
	}
	if err := qemuImg(ctx, append(args, source.Path, path)...); err != nil {
		return err
	}
	if v.Capacity > source.Capacity {
		return qemuImg(ctx, "resize", "-f", toolFormat(v.Format), path, fmt.Sprint(v.Capacity))
	}
	return nil
}

// options are those of the format that is made.
func options(v *def.Volume, flags uint32, backing *def.Backing) string {
	var o []string
	if backing != nil {
		o = append(o, "backing_fmt="+backing.Format)
	}
	if flags&virt.StorageVolCreatePreallocMetadata != 0 {
		how := "metadata"
		if v.Allocation >= v.Capacity {
			how = "falloc"
		}
		o = append(o, "preallocation="+how)
	}
	if v.NoCOW {
		o = append(o, "nocow=on")
	}
	if v.Format == "qcow2" {
		compat := v.Compat
		if compat == "" {
			compat = "0.10" // Compat: libvirt's default, unless the volume has features
		}
		o = append(o, "compat="+compat)
		if v.ClusterSize != 0 {
			o = append(o, fmt.Sprintf("cluster_size=%d", v.ClusterSize))
		}
		if v.Features != nil && v.Features.LazyRefcounts {
			o = append(o, "lazy_refcounts")
		}
		if v.Features != nil && v.Features.ExtendedL2 {
			o = append(o, "extended_l2=on")
		}
	}
	for i := range o {
		o[i] = strings.ReplaceAll(o[i], ",", ",,")
	}
	return strings.Join(o, ",")
}

// qemuImg runs it; its complaint is in the error, as libvirt's is.
func qemuImg(ctx context.Context, args ...string) error {
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		return liberr.New(from, liberr.InternalError, "creation of non-raw file images is not supported without qemu-img.").WithCause(err)
	}
	return run(ctx, tool, args...)
}
