// Package disk writes and removes small files so that a crash at any moment leaves either the old or the
// new state, and an acknowledged change survives power loss. Its functions block; jobs call them.
package disk
