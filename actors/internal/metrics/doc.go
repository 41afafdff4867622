// Package metrics writes figures in the Prometheus text format, and puts together what several parts of a process, or
// several processes, have to show.
//
//	Page     the text of one process: families of samples, each sample with the process's daemon as a label
//	Merge    one page of the pages of several processes
//	Sources  who in a process has figures: drivers enter themselves, the inspector asks all at a scrape
//
// A Page costs one buffer, not an object per sample: a host with 1,000 guests has some 30,000 of them.
package metrics
