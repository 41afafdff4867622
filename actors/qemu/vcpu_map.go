package qemu

import "virtree/actors/internal/node"

// Sets of CPUs: as bits on the wire, as lists in definitions.

// mapLen is the number of bytes for so many CPUs (VIR_CPU_MAPLEN).
func mapLen(cpus int) int { return (cpus + 7) / 8 }

// cpuMap sets the bits of the CPUs in a map of length bytes; what does not fit is left out.
func cpuMap(cpus []int, length int) []byte {
	b := make([]byte, length)
	for _, c := range cpus {
		if c/8 < length {
			b[c/8] |= 1 << (c % 8)
		}
	}
	return b
}

// mapCPUs lists the CPUs whose bits are set.
func mapCPUs(b []byte) []int {
	var cpus []int
	for i := range b {
		for bit := range 8 {
			if b[i]&(1<<bit) != 0 {
				cpus = append(cpus, i*8+bit)
			}
		}
	}
	return cpus
}

// mapSet is a map in the form of a definition ("0-3,8").
func mapSet(b []byte) string { return node.FormatList(mapCPUs(b)) }
