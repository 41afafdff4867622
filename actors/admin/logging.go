package admin

import (
	"context"

	"virtree/actors/internal/call"
	"virtree/wire/protocol"
)

func outputs(_ context.Context, s subject, a *protocol.AdminConnectGetLoggingOutputsArgs) (*protocol.AdminConnectGetLoggingOutputsRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "adminConnectGetLoggingOutputs"); err != nil {
		return nil, err
	}
	return &protocol.AdminConnectGetLoggingOutputsRet{Outputs: s.log.Outputs(), Noutputs: uint32(s.log.CountOutputs())}, nil
}

func setOutputs(_ context.Context, s subject, a *protocol.AdminConnectSetLoggingOutputsArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "adminConnectSetLoggingOutputs"); err != nil {
		return nil, err
	}
	return &protocol.Void{}, s.log.SetOutputs(text(a.Outputs))
}

// filters prints a space behind each filter, the last one too, as libvirt does; no filters are no string.
func filters(_ context.Context, s subject, a *protocol.AdminConnectGetLoggingFiltersArgs) (*protocol.AdminConnectGetLoggingFiltersRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "adminConnectGetLoggingFilters"); err != nil {
		return nil, err
	}
	ret := &protocol.AdminConnectGetLoggingFiltersRet{Nfilters: uint32(s.log.CountFilters())}
	if f := s.log.Filters(); f != "" {
		f += " "
		ret.Filters = &f
	}
	return ret, nil
}

func setFilters(_ context.Context, s subject, a *protocol.AdminConnectSetLoggingFiltersArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "adminConnectSetLoggingFilters"); err != nil {
		return nil, err
	}
	return &protocol.Void{}, s.log.SetFilters(text(a.Filters))
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
