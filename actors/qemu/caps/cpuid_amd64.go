package caps

// haveCPUID says whether cpuidex asks a processor.
const haveCPUID = true

// cpuidex runs the CPUID instruction; in cpuid_amd64.s.
func cpuidex(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)
