package isolation

func (rep *Report) page() ([]byte, error) { return nil, nil }
