package client

import "virtree/wire/meter"

// CallFigures are what a server has counted of one kind of calls.
type CallFigures struct {
	Driver, Class string
	Took          meter.Reading
	Failed        uint64 // answered with an error of any kind
}

// Calls returns what was counted so far, of all kinds of calls that there were.
func (f *Figures) Calls() (all []CallFigures) {
	for i := range f.calls {
		c := f.calls[i].Load()
		if c == nil {
			continue
		}
		n := CallFigures{Driver: allSeries[i].driver, Class: allSeries[i].class, Took: c.took.Read()}
		for r := range c.results {
			if r != resultOK {
				n.Failed += c.results[r].Load()
			}
		}
		all = append(all, n)
	}
	return all
}
