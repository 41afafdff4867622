package kit

import (
	"bytes"
	"runtime/pprof"
	"strconv"
	"strings"
)

// Stack returns the stack of the goroutine that works for an actor; of one of its jobs when job is not empty. Empty when
// there is none. It stops the world for a moment: for reports, not for measuring.
func Stack(actor, job string) string { return newStacks().find(actor, job) }

// stacks is one profile of all goroutines, in blocks of equal stack and labels.
type stacks []string

func newStacks() stacks {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return nil
	}
	return strings.Split(b.String(), "\n\n")
}

func (s stacks) find(actor, job string) string {
	want, jobWant := `"actor":`+strconv.Quote(actor), `"job":`+strconv.Quote(job)
	for _, block := range s {
		_, rest, ok := strings.Cut(block, "# labels: ")
		if !ok {
			continue
		}
		labels, frames, _ := strings.Cut(rest, "\n")
		if !strings.Contains(labels, want) || strings.Contains(labels, `"job":`) != (job != "") {
			continue
		}
		// A goroutine keeps its label when the actor is done with it, and those that an actor starts inherit it. The one
		// that is inside the actor has the mailbox on its stack.
		if job == "" && strings.Contains(frames, "mailbox.(*Mailbox).burst") || job != "" && strings.Contains(labels, jobWant) {
			return trimFrames(frames)
		}
	}
	return ""
}

// trimFrames drops the addresses: function and place are what a reader needs.
func trimFrames(frames string) string {
	var out strings.Builder
	for line := range strings.Lines(frames) {
		fields := strings.Fields(line) // "#", address, function+offset, file:line
		if len(fields) >= 4 {
			out.WriteString(fields[2] + " " + fields[3] + "\n")
		}
	}
	return out.String()
}
