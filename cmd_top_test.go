package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"virtree/actors"
	"virtree/actors/follow"
	"virtree/supervisors"
)

// topSample is a host of two branches with a stuck domain among n.
func topSample(n int) *follow.Sample {
	s := &follow.Sample{
		At: time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC), Mode: "split", Guests: map[string]int{"running": n - 1, "paused": 1}, Actors: n,
		Processes: []follow.Process{{Name: "root", Daemon: "virtree", State: "running", PID: 1, Actors: 1}, {Name: "qemu", Daemon: "virtqemud", State: "running", PID: 2, Actors: n, CPU: 0.25}},
		Branches: []follow.Branch{
			{Name: "network", State: "running"},
			{Name: "qemu", State: "running", Objects: n, Ailing: 1, Calls: follow.Latency{Rate: 10, Count: 5, P50: 0.001, P99: 2}},
		},
		Records: []follow.Record{{Process: "qemu", Trouble: supervisors.Trouble{
			At: time.Date(2024, 5, 1, 11, 59, 0, 0, time.UTC), Kind: supervisors.TroubleStuck, Actor: "root/qemu/u0", Title: "web", Message: "*call.Call", Reason: "no way\nback", Stack: "virtree/x.f x.go:1\n",
		}}},
		Picture: &actors.Picture{},
	}
	for i := range n {
		node := &supervisors.Node{Name: fmt.Sprintf("u%d", i), ID: fmt.Sprintf("root/qemu/u%d", i), Kind: "domain", Title: fmt.Sprintf("guest-%03d", i), State: "running", Life: "running"}
		if i == 0 {
			node.Title, node.Busy, node.Doing, node.Depth, node.Age = "web", 5, "*call.Call", 7, 4
		}
		s.Rows = append(s.Rows, follow.Row{Process: "qemu", Branch: "qemu", Node: node, Rate: float64(i)})
	}
	return s
}

func pageText(s *follow.Sample, st *topState, width, height int, p palette) (string, *topPage) {
	page := &topPage{sample: s, state: st, width: width, height: height, palette: p}
	var b bytes.Buffer
	page.draw(&b)
	return b.String(), page
}

func TestThePageFitsTheTerminal(t *testing.T) {
	for _, size := range [][2]int{{200, 60}, {120, 24}, {80, 24}, {60, 12}} {
		for _, view := range []topView{viewMain, viewActor, viewFaults, viewStack, viewHelp} {
			text, _ := pageText(topSample(300), &topState{view: view, idle: true}, size[0], size[1], noStyle)
			lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			if len(lines) > size[1]+3 { // what is too much is cut by the screen, but the list must not be longer than its room
				t.Errorf("%v view %d: %d lines", size, view, len(lines))
			}
			for _, l := range lines {
				if textWidth(l) > size[0] {
					t.Errorf("%v view %d: %d columns: %s", size, view, textWidth(l), l)
				}
			}
		}
	}
}

func TestWhatIsWrongStandsFirstAndIsRed(t *testing.T) {
	text, _ := pageText(topSample(50), &topState{}, 150, 40, inColour)
	at := func(what string) int {
		i := strings.Index(text, what)
		if i < 0 {
			t.Fatalf("no %q in\n%s", what, text)
		}
		return i
	}
	if at("domain web") > at("domain guest-049") {
		t.Error("the stuck domain does not come first")
	}
	for _, want := range []string{inColour[alarm] + "trouble: 1 stuck", inColour[alarm] + "  11:59:00 stuck", "web (root/qemu/u0) in call.Call: no way back", inColour[alarm] + "  qemu"} {
		at(want)
	}
	for name, p := range map[string]palette{"no colours": noColour, "nothing at all": noStyle} {
		text, _ := pageText(topSample(50), &topState{}, 150, 40, p)
		if strings.Contains(text, "\x1b[3") || strings.Contains(text, ";3") || name == "nothing at all" && strings.Contains(text, "\x1b") {
			t.Errorf("%s: %q", name, text)
		}
	}
}

func TestNamesCannotMoveTheCursor(t *testing.T) {
	s := topSample(2)
	evil := "a\x1b[2Jb\u009b31mc\u202ed\x07\n"
	s.Rows[0].Node.Title, s.Rows[0].Node.LastError, s.Rows[0].Node.State = evil, evil, "failed"
	s.Records[0].Title, s.Records[0].Reason, s.Records[0].Stack = evil, evil, evil
	s.Guests[evil] = 1
	for _, view := range []topView{viewMain, viewActor, viewFaults, viewStack} {
		text, _ := pageText(s, &topState{view: view}, 0, 0, noStyle)
		if strings.ContainsAny(text, "\x1b\x07\u009b\u202e") {
			t.Errorf("view %d: %q", view, text)
		}
	}
	var b bytes.Buffer
	printTree(&b, &actors.Picture{Tree: &supervisors.Node{Name: "root", State: "running", Kind: "host", Children: []*supervisors.Node{s.Rows[0].Node}}}, 0, true)
	if strings.ContainsAny(b.String(), "\x1b\x07\u009b\u202e") {
		t.Errorf("the tree: %q", b.String())
	}
}

func TestKeys(t *testing.T) {
	s := topSample(100)
	st := &topState{every: time.Second, branches: []string{"network", "qemu"}}
	_, page := pageText(s, st, 120, 40, noStyle)
	press := func(keys ...string) {
		for _, k := range keys {
			st.press(k, page.lines, page.visible)
			_, page = pageText(s, st, 120, 40, noStyle)
		}
	}
	first := func() string { return called(st.rows(s)[0].Node) }
	press("s")
	if first() != "domain guest-099" {
		t.Errorf("by rate the first is %s", first())
	}
	press(keyDown, keyDown)
	if st.actor != "qemu\x00root/qemu/u97" {
		t.Errorf("two down is %q", st.actor)
	}
	s.Rows[97].Rate = 1000 // it moves, and stays selected
	_, page = pageText(s, st, 120, 40, noStyle)
	if st.chosen != 0 {
		t.Errorf("selected is line %d", st.chosen)
	}
	press("\r")
	if text, _ := pageText(s, st, 120, 40, noStyle); st.view != viewActor || !strings.Contains(text, "root/qemu/u97") {
		t.Errorf("its details: %s", text)
	}
	press(keyEscape, "b")
	if st.view != viewMain || st.branch != "network" || len(st.rows(s)) != 0 {
		t.Errorf("b: %+v", st)
	}
	press("b", "/", "g", "u", "e", "x", "\x7f", "s", "t", "-", "0", "4", keyEnter)
	if st.branch != "qemu" || st.filter != "guest-04" || st.typing || len(st.rows(s)) != 10 {
		t.Errorf("filter: %+v", st)
	}
	press(keyEscape, "f", keyEnter)
	if text, _ := pageText(s, st, 120, 40, noStyle); st.filter != "" || st.view != viewStack || !strings.Contains(text, "virtree/x.f x.go:1") {
		t.Errorf("the stack: %s", text)
	}
	press(keyEscape, "f", "+", "+", "-", "-", "-", "-", "p", "q")
	if st.view != viewMain || st.every != 500*time.Millisecond || !st.paused || !st.quit {
		t.Errorf("%+v", st)
	}
}

func TestKeysAreCutApart(t *testing.T) {
	got := fmt.Sprintf("%q", splitKeys("aä\x1b[A\x1b[5~q\x1bOB\x1b"))
	if want := `["a" "ä" "\x1b[A" "\x1b[5~" "q" "\x1bOB" "\x1b"]`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTextTakesRoom(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"hello", 0, "hello"}, {"hello", 5, "hello"}, {"hello", 4, "hel…"}, {"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"},
		{"e\u0301tude", 5, "e\u0301tude"},
	} {
		if got := cut(c.text, c.width); got != c.want || c.width > 0 && textWidth(got) > c.width {
			t.Errorf("cut(%q, %d) = %q", c.text, c.width, got)
		}
	}
}

func TestATableDropsWhatMattersLeast(t *testing.T) {
	columns := []column{{title: "NAME", left: true}, {title: "A", rank: 2}, {title: "B", rank: 1}, {title: "WHY", left: true, fill: true}}
	rows := []tableRow{{cells: []cell{{text: "long-name"}, {text: "111111"}, {text: "22"}, {text: strings.Repeat("x", 50)}}}}
	for width, want := range map[int]string{
		0:  "NAME            A   B  WHY\nlong-name  111111  22  " + strings.Repeat("x", 50) + "\n",
		40: "NAME            A   B  WHY\nlong-name  111111  22  " + strings.Repeat("x", 16) + "…\n",
		32: "NAME        B  WHY\nlong-name  22  " + strings.Repeat("x", 16) + "…\n",
	} {
		var b bytes.Buffer
		table(&b, &palette{}, columns, rows, width)
		if b.String() != want {
			t.Errorf("%d columns:\n%s\nwant\n%s", width, b.String(), want)
		}
	}
}
