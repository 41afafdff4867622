// Package caps knows what this host's QEMU binaries can do and says it in libvirt's words.
//
// Three layers, none of them an actor:
//
//   - Probing (probe.go, probecpu.go, schema.go, devices.go; store.go, finder.go): every qemu-system-* binary is started
//     once without a machine (twice where KVM works, for the emulator's CPU models), asked over QMP, and the answer is
//     kept on disk until the binary, its modules, the kernel or the host's processor changes. The result is a *Caps,
//     immutable, shared freely between goroutines.
//   - Processors (cpumap.txt, cpumap.go, cpudata.go, decode.go, hostcpu.go, cpudef.go, compare.go, guestcpu.go): a compact
//     table of x86 features and models, the search for the model nearest to a set of CPUID bits, comparison and baseline,
//     host-model for starting a guest, and what a started guest's XML shows.
//   - Documents (capabilities.go, domcaps.go, domcaps_devices.go, firmware.go): the XML of virConnectGetCapabilities and
//     virConnectGetDomainCapabilities.
//
// What differs from libvirt 9.0.0, as far as known:
//   - CPUs can be compared on x86 only; libvirt also knows ppc64, ARM and s390.
//   - The search for the nearest model of a processor that no model's signature fits agrees with libvirt for all pairs of
//     models, but its penalty was found by observation, and rare mixtures of features come out one model off.
//   - The documents of XML errors (code 35) have Go's words for the fault, not libxml2's.
//
// Nothing here holds a lock a driver could wait on for long: callers run the blocking parts (Finder.Get, Probe) in a
// job with a context. The counterpart in libvirt is src/qemu/qemu_capabilities.c and src/cpu.
package caps
