package qemu

import (
	"errors"
	"reflect"
	"testing"

	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

func TestParametersAreChecked(t *testing.T) {
	spec := paramSpec{"a": virt.TypedParamUint, "b": virt.TypedParamString}
	for _, c := range []struct {
		name   string
		params []protocol.TypedParam
		code   liberr.Code
		text   string
	}{
		{"nothing at all", nil, 0, ""},
		{"both as they should be", []protocol.TypedParam{paramUInt("a", 1), paramString("b", "x")}, 0, ""},
		{"an unknown name", []protocol.TypedParam{paramUInt("c", 1)}, liberr.ArgumentUnsupported, "argument unsupported: parameter 'c' not supported"},
		{"a wrong type", []protocol.TypedParam{paramULLong("a", 1)}, liberr.InvalidArg,
			"invalid argument: invalid type 'ullong' for parameter 'a', expected 'uint'"},
		{"a repetition", []protocol.TypedParam{paramUInt("a", 1), paramUInt("a", 2)}, liberr.InvalidArg,
			"invalid argument: parameter 'a' occurs multiple times"},
		{"a type that does not exist", []protocol.TypedParam{{Field: "a", Value: protocol.TypedParamValue{Type: 99}}}, liberr.InvalidArg,
			"invalid argument: invalid type 'unknown' for parameter 'a', expected 'uint'"},
	} {
		err := checkParams(c.params, spec)
		if c.text == "" && err != nil || c.text != "" && (err == nil || err.Error() != c.text || !errors.Is(err, c.code)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.text)
		}
	}
}

func TestCounted(t *testing.T) {
	all := []protocol.TypedParam{paramInt("a", 1), paramInt("b", 2), paramInt("c", 3)}
	if p, n := counted(all, 0); p != nil || n != 3 {
		t.Error(p, n)
	}
	if p, n := counted(all, 2); len(p) != 2 || n != 0 {
		t.Error(p, n)
	}
	if p, _ := counted(all, 9); len(p) != 3 {
		t.Error(p)
	}
}

func TestBandwidthBounds(t *testing.T) {
	for _, c := range []struct {
		p    protocol.TypedParam
		fits bool
	}{
		{paramULLong("cpu_shares", 1), true},
		{paramULLong("vcpu_period", 0), true},
		{paramULLong("vcpu_period", 999), false},
		{paramULLong("vcpu_period", 1000), true},
		{paramULLong("global_period", 1000001), false},
		{paramLLong("vcpu_quota", -5), true},
		{paramLLong("vcpu_quota", 0), true},
		{paramLLong("iothread_quota", 5), false},
		{paramLLong("emulator_quota", 17592186044415), true},
		{paramLLong("emulator_quota", 17592186044416), false},
	} {
		if err := checkBandwidth(c.p); (err == nil) != c.fits {
			t.Errorf("%+v: %v", c.p, err)
		}
	}
}

func TestIOTuneRules(t *testing.T) {
	u := paramULLong
	for name, c := range map[string]struct {
		params []protocol.TypedParam
		text   string
	}{
		"total beside read":             {[]protocol.TypedParam{u("total_bytes_sec", 5), u("read_bytes_sec", 6)}, "invalid argument: total and read/write of bytes_sec cannot be set at the same time"},
		"total and a zero read":         {[]protocol.TypedParam{u("total_bytes_sec", 5), u("read_bytes_sec", 0)}, ""},
		"total bytes beside read iops":  {[]protocol.TypedParam{u("total_bytes_sec", 5), u("read_iops_sec", 6)}, ""},
		"bursts of iops, total and one": {[]protocol.TypedParam{u("total_iops_sec_max", 5), u("write_iops_sec_max", 6)}, "invalid argument: total and read/write of iops_sec_max cannot be set at the same time"},
		"too much":                      {[]protocol.TypedParam{u("total_bytes_sec", ioTuneMost+1)}, "argument unsupported: block I/O throttle limit value must be no more than 1000000000000000"},
	} {
		err := checkIOTune(c.params)
		if c.text == "" && err != nil || c.text != "" && (err == nil || err.Error() != c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIOTuneKindsAreSetTogether(t *testing.T) {
	old := &libvirtxml.DomainDiskIOTune{TotalBytesSec: 9, TotalIopsSec: 7, GroupName: "g"}
	got := mergeIOTune(old, []protocol.TypedParam{paramULLong("read_bytes_sec", 3)})
	want := libvirtxml.DomainDiskIOTune{ReadBytesSec: 3, TotalIopsSec: 7, GroupName: "g"}
	if got != want {
		t.Errorf("%+v", got)
	}
	if old.TotalBytesSec != 9 {
		t.Error("the old limits were changed")
	}
	burst := libvirtxml.DomainDiskIOTune{TotalBytesSecMax: 5}
	if err := checkMerged(&burst); err == nil || err.Error() != "unsupported configuration: cannot reset 'total_bytes_sec' when 'total_bytes_sec_max' is set" {
		t.Error(err)
	}
	if n := len(listIOTune(nil)); n != 20 {
		t.Errorf("%d parameters", n)
	}
}

func TestDeviceLimits(t *testing.T) {
	for in, want := range map[string]bool{"": true, "/dev/vda,5": true, "/dev/vda,5,/dev/vdb,6": true, "/dev/vda,5,": true,
		"zz": false, "/dev/vda,x": false, ",5": false, "/dev/vda,5000000000": false} {
		if _, err := parseDevices("device_weight", in); (err == nil) != want {
			t.Errorf("%q: %v", in, err)
		}
	}
	if _, err := parseDevices("device_read_bytes_sec", "/dev/vda,5000000000"); err != nil {
		t.Error(err)
	}
	tune := &libvirtxml.DomainBlockIOTune{}
	mergeDevices(tune, "device_weight", []deviceLimit{{"/dev/vda", 5}, {"/dev/vdb", 6}})
	mergeDevices(tune, "device_read_iops_sec", []deviceLimit{{"/dev/vda", 7}})
	mergeDevices(tune, "device_weight", []deviceLimit{{"/dev/vdb", 0}})
	def := &libvirtxml.Domain{BlockIOTune: tune}
	if w, r := blkioDevices(def, "device_weight"), blkioDevices(def, "device_read_iops_sec"); w != "/dev/vda,5" || r != "/dev/vda,7" || len(tune.Device) != 1 {
		t.Error(w, r, tune.Device)
	}
}

func TestInterfaceLimitsReplaceADirection(t *testing.T) {
	n := func(i int) *int { return &i }
	old := &libvirtxml.DomainInterfaceBandwidth{
		Inbound:  &libvirtxml.DomainInterfaceBandwidthParams{Average: n(1), Peak: n(2)},
		Outbound: &libvirtxml.DomainInterfaceBandwidthParams{Average: n(3)},
	}
	got := mergeBandwidth(old, []protocol.TypedParam{paramUInt("inbound.average", 10), paramUInt("inbound.burst", 4)})
	want := &libvirtxml.DomainInterfaceBandwidth{
		Inbound:  &libvirtxml.DomainInterfaceBandwidthParams{Average: n(10), Burst: n(4)},
		Outbound: old.Outbound,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if got := mergeBandwidth(want, []protocol.TypedParam{paramUInt("inbound.average", 0), paramUInt("outbound.average", 0)}); got != nil {
		t.Errorf("limits that are gone leave %+v", got)
	}
}

func TestSetsAreChecked(t *testing.T) {
	for in, want := range map[string][]int{"0": {0}, "0-2,^1": {0, 2}, "3,1": {1, 3}} {
		if got, err := parseSet(in); err != nil || len(got) != len(want) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "zz", "1-", "-1", "2-1", "1,,2", "99999999999"} {
		if got, err := parseSet(in); err == nil {
			t.Errorf("%q is accepted as %v", in, got)
		}
	}
}

func TestIOThreadIDs(t *testing.T) {
	def := &libvirtxml.Domain{IOThreads: 3, IOThreadIDs: &libvirtxml.DomainIOThreadIDs{IOThreads: []libvirtxml.DomainIOThread{{ID: 2}}}}
	if got := ioThreadIDs(def); !reflect.DeepEqual(got, []uint{2, 1, 3}) {
		t.Error(got)
	}
	listIOThreads(def, []uint{1, 5})
	if def.IOThreads != 2 || len(def.IOThreadIDs.IOThreads) != 2 || def.IOThreadIDs.IOThreads[1].ID != 5 {
		t.Errorf("%+v", def.IOThreadIDs)
	}
	listIOThreads(def, nil)
	if def.IOThreads != 0 || def.IOThreadIDs != nil {
		t.Error("threads that are gone are still listed")
	}
}
