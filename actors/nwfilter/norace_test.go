//go:build !race

package nwfilter

const raceFactor = 1
