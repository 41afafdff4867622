//go:build !race

package actors

const slowdown = 1
