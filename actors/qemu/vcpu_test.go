package qemu

import (
	"reflect"
	"testing"

	"libvirt.org/go/libvirtxml"
)

func TestCPUMaps(t *testing.T) {
	if got := cpuMap([]int{0, 3, 8, 99}, 2); !reflect.DeepEqual(got, []byte{0x09, 0x01}) {
		t.Errorf("%x", got)
	}
	if got := mapCPUs([]byte{0x09, 0x01}); !reflect.DeepEqual(got, []int{0, 3, 8}) {
		t.Error(got)
	}
	if got := mapSet([]byte{0x0f, 0x01}); got != "0-3,8" {
		t.Error(got)
	}
	if got := tightMap([]int{0, 8}); len(got) != 2 {
		t.Errorf("%x", got)
	}
	if mapLen(0) != 0 || mapLen(1) != 1 || mapLen(8) != 1 || mapLen(9) != 2 {
		t.Error("lengths of maps")
	}
}

func counts(current, most uint) *libvirtxml.Domain {
	return &libvirtxml.Domain{VCPU: &libvirtxml.DomainVCPU{Current: current, Value: most}}
}

func TestWantedVCPUs(t *testing.T) {
	listed := counts(2, 4)
	recordVCPUs(listed, []int{0, 3}, map[int]bool{3: true}, false)
	for name, c := range map[string]struct {
		def  *libvirtxml.Domain
		n    int
		want []int
	}{
		"more":                     {counts(2, 4), 3, []int{0, 1, 2}},
		"fewer":                    {counts(3, 4), 1, []int{0}},
		"the lowest missing comes": {listed, 3, []int{0, 1, 3}},
	} {
		if got := wantCount(c.def, c.n); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestVCPUsAreRecordedOneByOne(t *testing.T) {
	def := counts(2, 4)
	recordVCPUs(def, []int{0, 1}, map[int]bool{}, true)
	recordVCPUs(def, []int{0, 1, 3}, map[int]bool{3: true}, true)
	type row struct {
		enabled, hot string
		order        uint
	}
	var got []row
	for _, v := range def.VCPUs.VCPU {
		r := row{v.Enabled, v.Hotpluggable, 0}
		if v.Order != nil {
			r.order = *v.Order
		}
		got = append(got, r)
	}
	want := []row{{"yes", "no", 1}, {"yes", "no", 2}, {"no", "yes", 0}, {"yes", "yes", 3}}
	if !reflect.DeepEqual(got, want) || def.VCPU.Current != 3 {
		t.Errorf("%v, current %d", got, def.VCPU.Current)
	}
	recordVCPUs(def, []int{0, 1, 2, 3}, map[int]bool{2: true, 3: true}, true)
	if def.VCPU.Current != 0 {
		t.Error("all plugged in, and current is still said")
	}
	if o := def.VCPUs.VCPU[2].Order; o == nil || *o != 4 {
		t.Error("the last to come is not last in order")
	}
}

func TestPinsFallBack(t *testing.T) {
	def := counts(1, 1)
	def.VCPU.CPUSet = "2-3"
	if got := pinSet(def, ""); !reflect.DeepEqual(got, []int{2, 3}) {
		t.Error(got)
	}
	if got := pinSet(def, "1"); !reflect.DeepEqual(got, []int{1}) {
		t.Error(got)
	}
	def.VCPU.CPUSet = ""
	if len(pinSet(def, "")) == 0 {
		t.Error("no CPU of the host may be used")
	}
}

func TestWaitingTimeOfAThread(t *testing.T) {
	const text = "qemu (1, #threads: 1)\n-----\nse.exec_start  :  12.5\nse.statistics.wait_sum  :   1.250000\n"
	if got := schedWait(text); got != 1250000 {
		t.Error(got)
	}
	if schedWait("wait_sum : x\n") != 0 || schedWait("") != 0 {
		t.Error("nonsense is a time")
	}
}
