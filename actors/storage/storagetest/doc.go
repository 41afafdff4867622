// Package storagetest is the conformance test of storage backends: what the pool actor relies on, whatever the storage is.
// Only tests import it.
package storagetest
