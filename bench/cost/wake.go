package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"virtree/bench/internal/lab"
)

// switches is the number of voluntary context switches of a process's threads so far, by thread.
func switches(pid int) map[string]int64 {
	counts := map[string]int64{}
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/status")
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		_, rest, ok := strings.Cut(string(text), "\nvoluntary_ctxt_switches:")
		if !ok {
			continue
		}
		line, _, _ := strings.Cut(rest, "\n")
		n, _ := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		counts[path] = n
	}
	return counts
}

// woken is how many of them came between two looks. A thread that has ended meanwhile is not counted; one that was
// started is, from its first.
func woken(before, after map[string]int64) (n int64) {
	for task, count := range after {
		n += count - before[task]
	}
	return n
}

// wakeups counts, for each process, in several windows, and gives the median of each: in wake-ups a second. What
// happens once in a while, a collection of garbage every two minutes, does not make the figure.
func wakeups(procs []process, window time.Duration, windows int) []float64 {
	rates := make([][]float64, len(procs))
	before := make([]map[string]int64, len(procs))
	for i, p := range procs {
		before[i] = switches(p.pid)
	}
	for range windows {
		begin := time.Now()
		time.Sleep(window) // the passing of time is what is measured against
		took := time.Since(begin).Seconds()
		for i, p := range procs {
			now := switches(p.pid)
			rates[i] = append(rates[i], float64(woken(before[i], now))/took)
			before[i] = now
		}
	}
	out := make([]float64, len(procs))
	for i := range procs {
		out[i] = lab.Median(rates[i])
	}
	return out
}
