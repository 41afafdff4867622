//go:build !race

package nodedev

const raceDetector = false
