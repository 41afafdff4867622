//go:build !amd64

package caps

const haveCPUID = false

func cpuidex(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32) { return 0, 0, 0, 0 }
