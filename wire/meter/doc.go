// Package meter counts how long things take. It is for hot paths: an observation is a few atomic additions, takes no
// lock and allocates nothing. What is counted is read by whoever makes figures of it, such as actors/internal/metrics.
//
// A reader may see an observation half made: its bucket is counted and its duration is not. The next reading is right.
package meter
