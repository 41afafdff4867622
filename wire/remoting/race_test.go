//go:build race

package remoting

// Under the race detector a copy of 36 MiB takes a good part of a second.
const slowness = 20
