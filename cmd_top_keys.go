package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"virtree/actors/follow"
)

// topState is what the keys of `virtree top` change. It is pure: key in, state out.
//
//	main <--f--> faults --Enter--> stack
//	  | \--Enter--> actor (its details)
//	  \--?--> help                          Esc, and the same key again, lead back
type topState struct {
	view     topView
	sort     topSort
	reverse  bool
	branch   string // only its actors; "" = all
	filter   string // only actors whose name holds it
	typing   bool   // the filter is being typed
	idle     bool   // show idle actors too
	paused   bool
	every    time.Duration
	chosen   int    // selected line of the list
	actor    string // key of the selected actor, so that it stays selected when the order changes
	scroll   int    // of a text that is longer than the page
	quit     bool
	branches []string // that there are, for b
}

type topView uint8

const (
	viewMain topView = iota
	viewActor
	viewFaults
	viewStack
	viewHelp
)

type topSort uint8

const (
	byTrouble topSort = iota // what is wrong, then what waits, then what is busy
	byRate
	byQueue
	byAge
	byName
	sorts
)

var sortNames = [sorts]string{"trouble", "messages/s", "queue", "age", "name"}

// intervals that + and - step through.
var intervals = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second}

const (
	keyUp, keyDown     = "\x1b[A", "\x1b[B"
	keyPageUp, keyPage = "\x1b[5~", "\x1b[6~"
	keyHome, keyEnd    = "\x1b[H", "\x1b[F"
	keyEscape          = "\x1b"
	keyEnter           = "\n"
)

// press does what a key is for. lines is how long the list is that is shown, page how much of it is visible.
func (s *topState) press(key string, lines, page int) {
	if key == "\r" {
		key = keyEnter
	}
	if s.typing {
		s.typed(key)
		return
	}
	switch key {
	case "q", "Q":
		s.quit = true
	case "?", "h":
		s.toggle(viewHelp)
	case "f":
		s.toggle(viewFaults)
	case keyEscape, "\x7f":
		s.back()
	case keyEnter, "e":
		s.open()
	case "p", " ":
		s.paused = !s.paused
	case "s":
		s.sort = (s.sort + 1) % sorts
	case "r":
		s.reverse = !s.reverse
	case "b":
		at := slices.Index(s.branches, s.branch) // -1 is all
		if s.branch = ""; at+1 < len(s.branches) {
			s.branch = s.branches[at+1]
		}
		s.chosen, s.actor = 0, ""
	case "i":
		s.idle = !s.idle
	case "/":
		s.view, s.typing, s.filter = viewMain, true, ""
	case "+", "=":
		s.step(1)
	case "-":
		s.step(-1)
	default:
		s.move(key, lines, page)
	}
}

func (s *topState) typed(key string) {
	switch {
	case key == keyEnter:
		s.typing = false
	case key == keyEscape:
		s.typing, s.filter = false, ""
	case key == "\x7f" || key == "\b":
		if r := []rune(s.filter); len(r) > 0 {
			s.filter = string(r[:len(r)-1])
		}
	case !strings.HasPrefix(key, "\x1b"):
		s.filter += clean(key)
	}
	s.chosen, s.actor = 0, ""
}

func (s *topState) toggle(v topView) {
	if s.view == v {
		v = viewMain
	}
	s.view, s.scroll, s.chosen = v, 0, 0
}

func (s *topState) back() {
	switch {
	case s.view == viewStack:
		s.view, s.scroll = viewFaults, 0
	case s.view != viewMain:
		s.view, s.scroll, s.chosen = viewMain, 0, 0
	default:
		s.filter, s.branch = "", ""
	}
}

func (s *topState) open() {
	switch s.view {
	case viewMain:
		s.view, s.scroll = viewActor, 0
	case viewFaults:
		s.view, s.scroll = viewStack, 0
	default:
		s.back()
	}
}

func (s *topState) step(by int) {
	at := 0
	for i, d := range intervals {
		if d <= s.every {
			at = i
		}
	}
	s.every = intervals[min(max(at+by, 0), len(intervals)-1)]
}

func (s *topState) move(key string, lines, page int) {
	by := map[string]int{
		keyUp: -1, "k": -1, "\x1bOA": -1, keyDown: 1, "j": 1, "\x1bOB": 1, keyPageUp: -page, keyPage: page,
		keyHome: -lines, "g": -lines, "\x1b[1~": -lines, keyEnd: lines, "G": lines, "\x1b[4~": lines,
	}[key]
	if by == 0 {
		return
	}
	at := &s.chosen
	if s.view == viewActor || s.view == viewStack || s.view == viewHelp {
		at = &s.scroll
		lines -= page - 1
	}
	*at = min(max(*at+by, 0), max(0, lines-1))
	if s.view == viewMain {
		s.actor = "" // the line is meant; whoever is there is selected at the next drawing
	}
}

// rows are the actors to show, in order.
func (s *topState) rows(sample *follow.Sample) []follow.Row {
	var rows []follow.Row
	want := strings.ToLower(s.filter)
	for _, r := range sample.Rows {
		if s.branch != "" && r.Branch != s.branch || want != "" && !strings.Contains(strings.ToLower(called(r.Node)+" "+r.Node.ID), want) {
			continue
		}
		if !s.idle && want == "" && s.branch == "" && weight(r.Node) == 0 && r.Node.Depth == 0 && r.Rate == 0 {
			continue
		}
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b follow.Row) int {
		var order int
		switch s.sort {
		case byRate:
			order = cmp.Compare(b.Rate, a.Rate)
		case byQueue:
			order = cmp.Compare(b.Node.Depth, a.Node.Depth)
		case byAge:
			order = cmp.Compare(b.Node.Age, a.Node.Age)
		case byName:
			order = strings.Compare(called(a.Node), called(b.Node))
		default:
			order = cmp.Or(cmp.Compare(weight(b.Node), weight(a.Node)), cmp.Compare(b.Node.Depth, a.Node.Depth), cmp.Compare(b.Rate, a.Rate))
		}
		if s.reverse {
			order = -order
		}
		return cmp.Or(order, strings.Compare(a.Node.ID, b.Node.ID), strings.Compare(a.Process, b.Process))
	})
	return rows
}

// busyFrom is how long a message must have been in hand to count: what takes less is just a call being served.
const busyFrom = 0.05

func rowKey(r follow.Row) string { return r.Process + "\x00" + r.Node.ID }
