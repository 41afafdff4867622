//go:build race

package actors

// slowdown is what the race detector costs.
const slowdown = 10
