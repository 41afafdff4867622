// Package sample keeps what a scrape shows of guests. The figures are collected in rounds, in the background, and a
// scrape takes them from the cache, so that it waits for no guest:
//
//	scrape --Write--> Cache --wake--> driver: a round (a job) --Put--> Cache
//	                    |                        ^                       |
//	                    '--> page                '---- after a while ----'  while somebody scrapes
//
// There are rounds only while somebody scrapes: the first scrape begins them, and they end when none has come for some
// times of the usual distance between two. How often they come goes by that distance too, and a round that takes long
// is followed by a rest ten times as long.
//
// A Prober asks a guest that may not answer. One that does not is left alone until its answer is there: it costs the
// patience of one round, once, and one goroutine, and its own figures.
package sample
