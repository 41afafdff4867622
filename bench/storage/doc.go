// Package storage measures pools of many volumes against libvirtd: a refresh, lists beside and without one, and volumes
// that many clients make at the same time, calls while one pool hangs. It fails when a promise breaks.
package storage
