package qmp

import "context"

// NetdevAdd makes a network back end; props has "type", "id" and the rest.
func NetdevAdd(ctx context.Context, x Executor, props any) error {
	return x.Execute(ctx, "netdev_add", props, nil)
}

// NetdevDel removes one.
func NetdevDel(ctx context.Context, x Executor, id string) error {
	return x.Execute(ctx, "netdev_del", map[string]any{"id": id}, nil)
}

// SetLink plugs or pulls the cable of a network device.
func SetLink(ctx context.Context, x Executor, name string, up bool) error {
	return x.Execute(ctx, "set_link", map[string]any{"name": name, "up": up}, nil)
}

// AnnounceSelf makes the network cards tell the switches where they are.
type AnnounceSelf struct {
	InitialMS int `json:"initial"`
	MaxMS     int `json:"max"`
	Rounds    int `json:"rounds"`
	StepMS    int `json:"step"`
}

// Run sends announce-self.
func (a AnnounceSelf) Run(ctx context.Context, x Executor) error {
	return x.Execute(ctx, "announce-self", a, nil)
}

// RXFilter is what a card receives.
type RXFilter struct {
	Name           string   `json:"name"`
	Promiscuous    bool     `json:"promiscuous"`
	Multicast      string   `json:"multicast"` // "normal", "none", "all"
	Unicast        string   `json:"unicast"`
	VLAN           string   `json:"vlan"`
	BroadcastOK    bool     `json:"broadcast-allowed"`
	MulticastOver  bool     `json:"multicast-overflow"`
	UnicastOver    bool     `json:"unicast-overflow"`
	MainMAC        string   `json:"main-mac"`
	VLANTable      []uint   `json:"vlan-table"`
	UnicastTable   []string `json:"unicast-table"`
	MulticastTable []string `json:"multicast-table"`
}

// QueryRXFilter reads the filter of one card; it also lets QEMU send the next NIC_RX_FILTER_CHANGED.
func QueryRXFilter(ctx context.Context, x Executor, name string) (RXFilter, error) {
	var ret []RXFilter
	if err := x.Execute(ctx, "query-rx-filter", map[string]any{"name": name}, &ret); err != nil {
		return RXFilter{}, err
	}
	if len(ret) == 0 {
		return RXFilter{}, &Error{Command: "query-rx-filter", Class: ClassGeneric, Desc: "empty reply"}
	}
	return ret[0], nil
}
