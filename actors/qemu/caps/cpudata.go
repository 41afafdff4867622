package caps

// leaf names a block of processor facts: the answer to CPUID with two inputs, or a model specific register.
type leaf struct {
	msr       bool
	in, subin uint32 // CPUID's EAX and ECX; an MSR's index in in
}

// registers are EAX, EBX, ECX, EDX; an MSR uses EAX and EDX for its halves.
type registers [4]uint32

// cpuData is a set of processor bits. All-zero registers are as good as none.
type cpuData map[leaf]registers

func (d cpuData) clone() cpuData {
	c := make(cpuData, len(d))
	for k, v := range d {
		c[k] = v
	}
	return c
}

func (d cpuData) set(k leaf, bits registers) {
	v := d[k]
	for i := range v {
		v[i] |= bits[i]
	}
	d[k] = v
}

func (d cpuData) add(other cpuData) {
	for k, v := range other {
		d.set(k, v)
	}
}

func (d cpuData) subtract(other cpuData) {
	for k, bits := range other {
		v, ok := d[k]
		if !ok {
			continue
		}
		for i := range v {
			v[i] &^= bits[i]
		}
		d[k] = v
	}
}

func (d cpuData) intersect(other cpuData) {
	for k, v := range d {
		bits := other[k]
		for i := range v {
			v[i] &= bits[i]
		}
		d[k] = v
	}
}

func (d cpuData) empty() bool {
	for _, v := range d {
		if v != (registers{}) {
			return false
		}
	}
	return true
}

// contains says whether every bit of sub is set in d.
func (d cpuData) contains(sub cpuData) bool {
	for k, bits := range sub {
		v := d[k]
		for i := range v {
			if v[i]&bits[i] != bits[i] {
				return false
			}
		}
	}
	return true
}

// signature is a processor's family, model and stepping.
type signature struct{ family, model, stepping uint }

var leafSignature = leaf{in: 1}

// setSignature writes the signature in CPUID's form: the high parts of family and model lie apart.
func (d cpuData) setSignature(s signature) {
	var ext uint32
	family := uint32(s.family)
	if family > 15 {
		ext = family - 15
		family = 15
	}
	model := uint32(s.model)
	d.set(leafSignature, registers{ext<<20 | (model>>4)<<16 | family<<8 | (model&15)<<4 | uint32(s.stepping)&15})
}

func (d cpuData) signature() signature {
	eax := d[leafSignature][0]
	s := signature{family: uint(eax>>20&0xff + eax>>8&15), model: uint(eax>>16&15<<4 | eax>>4&15), stepping: uint(eax & 15)}
	return s
}

// withoutSignature drops what is no feature from leaf 1.
func (d cpuData) dropSignature() {
	if v, ok := d[leafSignature]; ok {
		v[0] = 0
		d[leafSignature] = v
	}
}

// vendorBits is a vendor's name as CPUID 0 spells it.
func vendorBits(name string) registers {
	var b [12]byte
	copy(b[:], name)
	word := func(i int) uint32 {
		return uint32(b[i]) | uint32(b[i+1])<<8 | uint32(b[i+2])<<16 | uint32(b[i+3])<<24
	}
	return registers{1: word(0), 2: word(8), 3: word(4)}
}
