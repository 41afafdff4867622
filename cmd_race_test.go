//go:build race

package main

// slowdown is what the race detector costs; the daemons under test run with it too.
const slowdown = 5
