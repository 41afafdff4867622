package nwfilter

import (
	"libvirt.org/go/libvirtxml"

	"virtree/actors/nwfilter/def"
	"virtree/actors/nwfilter/rules"
)

// What a port may do until its address is known.

// whileLearning lets the guest speak ARP and IPv4 from its own MAC address, for its address to be seen; whatever is for
// the guest reaches it.
var whileLearning = builtIn(`<filter name='virtree-learning'>
  <rule action='drop' direction='out' priority='1'><mac match='no' srcmacaddr='$MAC'/></rule>
  <rule action='accept' direction='out' priority='2'><mac protocolid='ipv4'/></rule>
  <rule action='accept' direction='out' priority='3'><mac protocolid='arp'/></rule>
  <rule action='drop' direction='out' priority='4'><mac/></rule>
</filter>`)

// dhcpOnly lets the guest ask for an address by DHCP, and anybody answer.
var dhcpOnly = builtIn(`<filter name='virtree-dhcp'>
  <rule action='accept' direction='out' priority='1'>
    <ip srcmacaddr='$MAC' dstmacaddr='ff:ff:ff:ff:ff:ff' protocol='udp' srcportstart='68' dstportstart='67'/></rule>
  <rule action='drop' direction='out' priority='2'><mac/></rule>
  <rule action='accept' direction='in' priority='1'>
    <ip dstmacaddr='$MAC' protocol='udp' srcportstart='67' dstportstart='68'/></rule>
  <rule action='accept' direction='in' priority='1'>
    <ip dstmacaddr='ff:ff:ff:ff:ff:ff' protocol='udp' srcportstart='67' dstportstart='68'/></rule>
  <rule action='drop' direction='in' priority='2'><mac/></rule>
</filter>`)

// dhcpFromServers is the same for answers of certain servers.
var dhcpFromServers = builtIn(`<filter name='virtree-dhcp'>
  <rule action='accept' direction='out' priority='1'>
    <ip srcmacaddr='$MAC' dstmacaddr='ff:ff:ff:ff:ff:ff' protocol='udp' srcportstart='68' dstportstart='67'/></rule>
  <rule action='drop' direction='out' priority='2'><mac/></rule>
  <rule action='accept' direction='in' priority='1'>
    <ip dstmacaddr='$MAC' srcipaddr='$DHCPSERVER' protocol='udp' srcportstart='67' dstportstart='68'/></rule>
  <rule action='accept' direction='in' priority='1'>
    <ip dstmacaddr='ff:ff:ff:ff:ff:ff' srcipaddr='$DHCPSERVER' protocol='udp' srcportstart='67' dstportstart='68'/></rule>
  <rule action='drop' direction='in' priority='2'><mac/></rule>
</filter>`)

// nothing is for a port whose address cannot be learned.
var nothing = builtIn(`<filter name='virtree-nothing'><rule action='drop' direction='inout'><mac/></rule></filter>`)

func builtIn(doc string) *libvirtxml.NWFilter {
	f, err := def.ParseFilter(doc, true)
	if err != nil {
		panic(err)
	}
	return f.Shared()
}

// restricted makes the program of a port that learns its address so.
func restricted(b *def.Binding, vars def.Params, how method) (*rules.Program, error) {
	root := whileLearning
	switch {
	case how == learnDHCP && len(vars[varServers]) > 0:
		root = dhcpFromServers
	case how == learnDHCP:
		root = dhcpOnly
	}
	return builtInProgram(b, vars, root)
}

func builtInProgram(b *def.Binding, vars def.Params, root *libvirtxml.NWFilter) (*rules.Program, error) {
	return rules.Compile(&rules.Binding{
		Port: b.Port, MAC: b.Address(), Root: root, Vars: vars,
		Filters: func(string) *libvirtxml.NWFilter { return nil },
	})
}
