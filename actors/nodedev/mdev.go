package nodedev

// mdevDef is how a mediated device is defined.
type mdevDef struct{}
