// Package logging sets up the log of a daemon: zerolog in front, libvirt's filters and outputs behind.
//
//	Logger("qemu.domain").Info().Str("domain", "vm1").Msg("started")
//	   | source's priority: the first filter that matches its name, else the level
//	   v
//	Log --> each output whose priority allows it: stderr, file, syslog, journald
//
// Text outputs write libvirt's line, since people and programs parse it:
//
//	2026-01-01 10:00:00.123+0000: 1234: info : started:57 : started domain=vm1
//
// Fields follow the message as name=value. The journal gets them as fields of their own.
//
// Filters and outputs have libvirt's syntax ("1:qemu 3:util", "3:stderr 1:file:/var/log/x.log 3:syslog:name 2:journald") and
// its order of precedence: LIBVIRT_DEBUG, LIBVIRT_LOG_FILTERS and LIBVIRT_LOG_OUTPUTS beat the configuration file. All can
// be changed while the daemon runs, which is what virt-admin's daemon-log-filters and daemon-log-outputs do.
//
// Loggers may be used from everywhere at once. A line below its source's priority costs one atomic load. An output that fails is
// skipped: there is nowhere to complain. The counterpart in libvirt is virlog.
package logging
