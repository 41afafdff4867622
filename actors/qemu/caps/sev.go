package caps

// sevGuests reads from CPUID how many encrypted guests the processor can hold: with SEV, and with SEV-ES.
func sevGuests() (sev, es uint32) {
	if !haveCPUID {
		return 0, 0
	}
	max, _, _, _ := cpuidex(0x80000000, 0)
	if max < 0x8000001f {
		return 0, 0
	}
	_, _, ecx, edx := cpuidex(0x8000001f, 0)
	if edx == 0 {
		return ecx, 0
	}
	return ecx - edx + 1, edx - 1
}
