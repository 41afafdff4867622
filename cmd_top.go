package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"virtree/actors"
	"virtree/actors/follow"
	"virtree/supervisors"
)

// lookGrace is how long a drawing waits for processes that take long to describe themselves.
const lookGrace = 400 * time.Millisecond

// topCommand is the live screen of what is busy.
func topCommand(code *supervisors.ExitCode) *cobra.Command {
	var root, sortBy string
	var once, asJSON bool
	state := topState{every: time.Second}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "show what is busy now, and what is wrong",
		Long: "Show what is busy now, and what is wrong: processes and branches, latencies of calls, guests by state, the last\n" +
			"faults, and the actors that have most to do.\n\n" + strings.Join(helpText, "\n"),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			at := -1
			for i, name := range sortNames {
				if name == sortBy || sortBy == "rate" && topSort(i) == byRate {
					at = i
				}
			}
			if at < 0 {
				return fmt.Errorf("cannot sort by %q: there are trouble, rate, queue, age and name", sortBy)
			}
			if state.every < 100*time.Millisecond {
				return fmt.Errorf("an interval of %v is too short: the least is 100ms", state.every)
			}
			state.sort = topSort(at)
			return visit(root, code, func(v *actors.Visitor) error {
				f := follow.New(v, lookGrace)
				switch {
				case once:
					follow.New(v, answerLimit+lookGrace).Look() // those that are stuck are known to be before we begin
					f.Look()
					time.Sleep(state.every) // rates need two looks
					s := f.Look()
					if asJSON {
						return printSample(os.Stdout, s, &state)
					}
					page := topPage{sample: s, state: &state, width: width(), palette: paletteFor(os.Stdout)}
					page.draw(os.Stdout)
					return nil
				case asJSON:
					return streamSamples(os.Stdout, f, &state)
				}
				return liveTop(f, &state)
			})
		},
	}
	rootFlag(cmd, &root)
	cmd.Flags().BoolVarP(&once, "once", "1", false, "look for one interval, print, and leave")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per interval, until Ctrl-C; with --once one")
	cmd.Flags().DurationVarP(&state.every, "interval", "n", state.every, "time between two looks")
	cmd.Flags().StringVarP(&sortBy, "sort", "s", sortNames[byTrouble], "order of actors: trouble, rate, queue, age, name")
	cmd.Flags().StringVarP(&state.branch, "branch", "b", "", "show only actors of this branch")
	cmd.Flags().BoolVarP(&state.idle, "idle", "i", false, "show idle actors too")
	return cmd
}

// liveTop draws until q, Ctrl-C or the end of the terminal. Looking happens beside it, so that keys are answered at once
// also while a process takes long.
func liveTop(f *follow.Follower, state *topState) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGTSTP, syscall.SIGWINCH)
	defer signal.Stop(signals)
	s := openScreen(os.Stdout)
	defer s.close()
	keys := s.keys(os.Stdin)
	colours := paletteFor(os.Stdout)
	page := &topPage{state: state, palette: colours}
	looks := make(chan *follow.Sample)
	look := func() { looks <- f.Look() }
	go look()
	looking := true
	due := time.NewTimer(state.every)
	defer due.Stop()
	draw := func() {
		page.width, page.height = width(), height()
		if !s.terminal {
			page.height = 0
		}
		s.show(page.draw)
	}
	if s.terminal {
		draw()
	}
	for !state.quit {
		select {
		case sig := <-signals:
			switch sig {
			case syscall.SIGWINCH:
			case syscall.SIGTSTP:
				s.suspend()
			default:
				return nil
			}
		case key, more := <-keys:
			if !more {
				return nil // the terminal is gone
			}
			state.press(key, page.lines, page.visible)
		case sample := <-looks:
			looking = false
			if !state.paused || page.sample == nil {
				page.sample = sample
				state.branches = state.branches[:0]
				for _, b := range sample.Branches {
					state.branches = append(state.branches, b.Name)
				}
			}
		case <-due.C:
			due.Reset(state.every)
			if !looking && !state.paused {
				looking = true
				go look()
			}
			continue // the sample is what there is to draw
		}
		if s.terminal || page.sample != nil {
			draw()
		}
	}
	return nil
}

// topJSON is a sample with its busiest actors.
type topJSON struct {
	*follow.Sample
	Busiest []topActor `json:"busiest"`
}

type topActor struct {
	Process string  `json:"process"`
	Branch  string  `json:"branch,omitempty"`
	ID      string  `json:"id"`
	Kind    string  `json:"kind"`
	Title   string  `json:"title,omitempty"`
	State   string  `json:"state"`
	Life    string  `json:"life,omitempty"`
	Rate    float64 `json:"messages_per_second"`
	Depth   int     `json:"depth"`
	Age     float64 `json:"age"`
	Busy    float64 `json:"busy"`
	Doing   string  `json:"doing,omitempty"`
	Failed  int     `json:"restarts"`
	Error   string  `json:"last_error,omitempty"`
}

// busiestShown is how many actors a JSON sample has.
const busiestShown = 50

func printSample(w io.Writer, s *follow.Sample, state *topState) error {
	out := topJSON{Sample: s, Busiest: []topActor{}}
	for _, r := range state.rows(s) {
		n := r.Node
		out.Busiest = append(out.Busiest, topActor{
			r.Process, r.Branch, n.ID, n.Kind, n.Title, n.State, n.Life, r.Rate, n.Depth, n.Age, n.Busy, n.Doing, n.Restarts, n.LastError,
		})
		if len(out.Busiest) == busiestShown {
			break
		}
	}
	return json.NewEncoder(w).Encode(out)
}

// streamSamples prints one object per line until it is interrupted or nobody reads.
func streamSamples(w io.Writer, f *follow.Follower, state *topState) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)
	f.Look()
	tick := time.NewTicker(state.every)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-tick.C:
		}
		if err := printSample(w, f.Look(), state); err != nil {
			return err
		}
	}
}
