// Package branch holds what every driver of the tree shares: the environment a branch is made with, and
// the bus that carries its events to the clients that subscribed.
package branch
