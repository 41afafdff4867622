package qmp

import "context"

// Property is one line of qom-list, device-list-properties or qom-list-properties.
type Property struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Description string `json:"description"`
	Default     any    `json:"default-value"`
}

// QOMList names the properties of the object at path; children have the type "child<T>".
func QOMList(ctx context.Context, x Executor, path string) ([]Property, error) {
	var ret []Property
	err := x.Execute(ctx, "qom-list", map[string]any{"path": path}, &ret)
	return ret, err
}

// QOMGet reads a property into ret.
func QOMGet(ctx context.Context, x Executor, path, property string, ret any) error {
	return x.Execute(ctx, "qom-get", map[string]any{"path": path, "property": property}, ret)
}

// QOMSet writes a property.
func QOMSet(ctx context.Context, x Executor, path, property string, value any) error {
	return x.Execute(ctx, "qom-set", map[string]any{"path": path, "property": property, "value": value}, nil)
}

// DeviceAdd plugs a device; props has "driver", "id" and the rest with their JSON types.
func DeviceAdd(ctx context.Context, x Executor, props any) error {
	return x.Execute(ctx, "device_add", props, nil)
}

// DeviceDel asks the guest to let go of a device; it is gone when DEVICE_DELETED comes.
func DeviceDel(ctx context.Context, x Executor, id string) error {
	return x.Execute(ctx, "device_del", map[string]any{"id": id}, nil)
}

// ObjectAdd makes a user creatable object; props has "qom-type", "id" and the rest.
func ObjectAdd(ctx context.Context, x Executor, props any) error {
	return x.Execute(ctx, "object-add", props, nil)
}

// ObjectDel removes one.
func ObjectDel(ctx context.Context, x Executor, id string) error {
	return x.Execute(ctx, "object-del", map[string]any{"id": id}, nil)
}

// PCIDevice is a device of query-pci.
type PCIDevice struct {
	Bus      int    `json:"bus"`
	Slot     int    `json:"slot"`
	Function int    `json:"function"`
	QdevID   string `json:"qdev_id"`
	ID       struct {
		Device int `json:"device"`
		Vendor int `json:"vendor"`
	} `json:"id"`
	Bridge *struct {
		Devices []PCIDevice `json:"devices"`
	} `json:"pci_bridge"`
}

// QueryPCI lists the PCI devices by bus.
func QueryPCI(ctx context.Context, x Executor) ([][]PCIDevice, error) {
	var ret []struct {
		Devices []PCIDevice `json:"devices"`
	}
	if err := x.Execute(ctx, "query-pci", nil, &ret); err != nil {
		return nil, err
	}
	var buses [][]PCIDevice
	for _, b := range ret {
		buses = append(buses, b.Devices)
	}
	return buses, nil
}
