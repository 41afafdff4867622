package qmp

// Data of the events that a domain reacts to, for Event.Decode. Events without data are not listed.

// ShutdownData: the machine goes off. Guest is set when the guest asked for it.
type ShutdownData struct {
	Guest  bool   `json:"guest"`
	Reason string `json:"reason"`
}

// ResetData: the machine was reset.
type ResetData ShutdownData

// DeviceDeletedData: the guest let go of a device. Device is "" for one without id.
type DeviceDeletedData struct {
	Device string `json:"device"`
	Path   string `json:"path"`
}

// RTCChangeData: the guest set its clock, by so many seconds from the base.
type RTCChangeData struct {
	Offset  int64  `json:"offset"`
	QOMPath string `json:"qom-path"`
}

// WatchdogData: what QEMU did when the watchdog expired.
type WatchdogData struct {
	Action string `json:"action"`
}

// BalloonChangeData: the guest has so many bytes now.
type BalloonChangeData struct {
	Actual uint64 `json:"actual"`
}

// BlockIOErrorData: a disk failed.
type BlockIOErrorData struct {
	Device    string `json:"device"`
	NodeName  string `json:"node-name"`
	QOMPath   string `json:"qom-path"`
	Operation string `json:"operation"` // "read", "write"
	Action    string `json:"action"`    // "report", "ignore", "stop"
	NoSpace   bool   `json:"nospace"`
	Reason    string `json:"reason"`
}

// TrayMovedData: the guest opened or closed a drive.
type TrayMovedData struct {
	Device   string `json:"device"`
	ID       string `json:"id"`
	TrayOpen bool   `json:"tray-open"`
}

// JobStatusData: JOB_STATUS_CHANGE.
type JobStatusData struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// BlockJobData: BLOCK_JOB_COMPLETED, BLOCK_JOB_CANCELLED, BLOCK_JOB_READY, BLOCK_JOB_ERROR.
type BlockJobData struct {
	Device string `json:"device"`
	Type   string `json:"type"`
	Len    uint64 `json:"len"`
	Offset uint64 `json:"offset"`
	Speed  uint64 `json:"speed"`
	Error  string `json:"error"`
}

// WriteThresholdData: BLOCK_WRITE_THRESHOLD.
type WriteThresholdData struct {
	NodeName       string `json:"node-name"`
	AmountExceeded uint64 `json:"amount-exceeded"`
	Threshold      uint64 `json:"write-threshold"`
}

// MigrationData: the new state of a migration.
type MigrationData struct {
	Status string `json:"status"`
}

// MigrationPassData: a round over the memory began.
type MigrationPassData struct {
	Pass int `json:"pass"`
}

// SerialPortData: VSERPORT_CHANGE, the guest opened or closed a channel.
type SerialPortData struct {
	ID   string `json:"id"`
	Open bool   `json:"open"`
}

// RXFilterChangedData: the guest changed what a card receives.
type RXFilterChangedData struct {
	Name string `json:"name"`
	Path string `json:"path"`
}

// PanickedData: GUEST_PANICKED and GUEST_CRASHLOADED. Info depends on the guest.
type PanickedData struct {
	Action string         `json:"action"`
	Info   map[string]any `json:"info"`
}

// UnplugErrorData: DEVICE_UNPLUG_GUEST_ERROR, the guest refused to let go.
type UnplugErrorData struct {
	Device string `json:"device"`
	Path   string `json:"path"`
}

// ACPIOSTData: ACPI_DEVICE_OST.
type ACPIOSTData struct {
	Info struct {
		Device   string `json:"device"`
		Slot     string `json:"slot"`
		SlotType string `json:"slot-type"`
		Source   int    `json:"source"`
		Status   int    `json:"status"`
	} `json:"info"`
}

// MemorySizeData: MEMORY_DEVICE_SIZE_CHANGE.
type MemorySizeData struct {
	ID   string `json:"id"`
	Size uint64 `json:"size"`
	Path string `json:"qom-path"`
}

// DisplayPeer is one end of a viewer's connection.
type DisplayPeer struct {
	Host         string `json:"host"`
	Port         string `json:"port"` // SPICE
	Service      string `json:"service"`
	Family       string `json:"family"`
	Auth         string `json:"auth"`
	X509DName    string `json:"x509_dname"`
	SASLUsername string `json:"sasl_username"`
}

// DisplayData: VNC_CONNECTED, VNC_INITIALIZED, VNC_DISCONNECTED and the same of SPICE.
type DisplayData struct {
	Server DisplayPeer `json:"server"`
	Client DisplayPeer `json:"client"`
}

// DumpCompletedData: the end of a detached dump.
type DumpCompletedData struct {
	Result DumpStatus `json:"result"`
	Error  string     `json:"error"`
}
