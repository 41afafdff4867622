// Package caps knows what this host's QEMU binaries can do and says it in libvirt's words.
//
// Three layers, none of them an actor:
//
//   - Probing (probe.go, store.go, finder.go): every qemu-system-* binary is started once without a machine, asked over
//     QMP, and the answer is kept on disk until the binary, the kernel or the host CPU changes. The result is a *Caps,
//     immutable, shared freely between goroutines.
//   - CPU models (cpumap.go, cpuid.go, cpumodel.go, ...): a compact table of x86 models and features, the search for the
//     model nearest to a set of CPUID bits, comparison and baseline, and the expansion of host-model.
//   - Documents (capabilities.go, domcaps.go): the XML of virConnectGetCapabilities and virConnectGetDomainCapabilities.
//
// Nothing here holds a lock a driver could wait on for long: callers run the blocking parts (Finder.Get, Probe) in a
// job with a context. The counterpart in libvirt is src/qemu/qemu_capabilities.c and src/cpu.
package caps
