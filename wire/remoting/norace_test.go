//go:build !race

package remoting

const slowness = 1
