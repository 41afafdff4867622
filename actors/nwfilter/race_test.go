//go:build race

package nwfilter

// raceFactor is how much slower the race detector makes the tests.
const raceFactor = 10
