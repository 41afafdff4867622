package rules

func compile(b *Binding) (*Program, error) { return &Program{Port: b.Port}, nil }

func defaultPriority(string) int { return 0 }
