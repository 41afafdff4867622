// Package supervisors is the tree itself.
package supervisors
