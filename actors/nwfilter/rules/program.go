package rules

// Program is what one port is filtered by: a value, not to be changed. It has nothing of the kernel in it.
type Program struct {
	Port string
}

// String is the program as text, one rule a line, for tests and for logs.
func (p *Program) String() string { return p.Port }
