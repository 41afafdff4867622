package main

import (
	"io"
	"os"
	"strings"
)

// style is how a piece of a line looks. Without colours what is bad still has its words.
type style uint8

const (
	plain style = iota
	bold
	dim
	alarm    // something is wrong
	caution  // something may be
	good     // it is over
	selected // the line that keys are for
)

// palette turns styles into what the terminal understands; the zero value into nothing.
type palette [selected + 1]string

var (
	inColour = palette{bold: "\x1b[1m", dim: "\x1b[2m", alarm: "\x1b[1;31m", caution: "\x1b[33m", good: "\x1b[32m", selected: "\x1b[7m"}
	noColour = palette{bold: "\x1b[1m", alarm: "\x1b[1m", selected: "\x1b[7m"}
	noStyle  = palette{}
)

// paletteFor follows https://no-color.org and terminals that can only print.
func paletteFor(out *os.File) palette {
	switch {
	case !isTerminal(out) || os.Getenv("TERM") == "dumb":
		return noStyle
	case os.Getenv("NO_COLOR") != "":
		return noColour
	}
	return inColour
}

func (p *palette) paint(text string, s style) string {
	if code := p[s]; code != "" && text != "" {
		return code + text + plainText
	}
	return text
}

// column of a table. Those of the highest rank go first when the terminal is too narrow.
type column struct {
	title string
	left  bool // text; numbers stand at the right
	rank  int  // 0: never goes
	fill  bool // takes what room is left, and is cut
}

type cell struct {
	text  string
	style style
}

// tableRow is a row; its style is that of all cells that have none of their own.
type tableRow struct {
	cells    []cell
	style    style
	selected bool
}

const columnGap = 2

// table lays out rows below a head, in so many columns of the terminal; 0 is any number.
func table(w io.Writer, p *palette, columns []column, rows []tableRow, width int) {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = textWidth(c.title)
		for _, r := range rows {
			widths[i] = max(widths[i], textWidth(r.cells[i].text))
		}
	}
	shown := fit(columns, widths, width)
	head := make([]cell, len(columns))
	for i, c := range columns {
		head[i] = cell{text: c.title}
	}
	for _, r := range append([]tableRow{{cells: head, style: bold}}, rows...) {
		var line strings.Builder
		for n, i := range shown {
			text := cut(r.cells[i].text, widths[i])
			last := n == len(shown)-1
			if !last || r.selected {
				text = pad(text, widths[i], !columns[i].left)
			} else if !columns[i].left {
				text = pad(text, widths[i], true)
			}
			s := r.cells[i].style
			if s == plain || r.selected {
				s = r.style
			}
			if !last {
				text += strings.Repeat(" ", columnGap)
			}
			if r.selected { // in reverse, and red if it is red
				text = p[selected] + text
			}
			text = p.paint(text, s)
			if r.selected && s == plain && p[selected] != "" {
				text += plainText
			}
			line.WriteString(text)
		}
		_, _ = io.WriteString(w, strings.TrimRight(line.String(), " ")+"\n")
	}
}

// fit drops columns until the rest has room, and gives the one that fills what is left.
func fit(columns []column, widths []int, width int) (shown []int) {
	for i := range columns {
		shown = append(shown, i)
	}
	if width <= 0 {
		return shown
	}
	need := func() (n int) {
		for _, i := range shown {
			if columns[i].fill {
				n += min(widths[i], minFill)
			} else {
				n += widths[i]
			}
		}
		return n + columnGap*(len(shown)-1)
	}
	for need() > width {
		worst := -1
		for n, i := range shown {
			if columns[i].rank > 0 && (worst < 0 || columns[i].rank >= columns[shown[worst]].rank) {
				worst = n
			}
		}
		if worst < 0 {
			break
		}
		shown = append(shown[:worst], shown[worst+1:]...)
	}
	for _, i := range shown {
		if columns[i].fill {
			room := width - need() + min(widths[i], minFill)
			widths[i] = max(minFill/2, min(widths[i], room))
		}
	}
	return shown
}

// minFill is what a column that is cut keeps.
const minFill = 16
