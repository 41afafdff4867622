package nwfilter

import (
	"virtree/actors/internal/call"
	"virtree/wire/protocol"
)

// routes is the driver's table of contents.
var routes = call.NewTable(
	call.Answer(protocol.ConnectNumOfNwfilters, (*driver).count),
	call.Answer(protocol.ConnectListNwfilters, (*driver).list),
	call.Answer(protocol.ConnectListAllNwfilters, (*driver).listAll),
	call.Answer(protocol.NwfilterLookupByName, (*driver).lookupByName),
	call.Answer(protocol.NwfilterLookupByUUID, (*driver).lookupByUUID),
	call.Later(protocol.NwfilterGetXMLDesc, (*driver).xml),
	call.Later(protocol.NwfilterDefineXML, (*driver).define),
	call.Later(protocol.NwfilterDefineXMLFlags, (*driver).defineXMLFlags),
	call.Later(protocol.NwfilterUndefine, (*driver).undefine),

	call.Answer(protocol.ConnectListAllNwfilterBindings, (*driver).listBindings),
	call.Answer(protocol.NwfilterBindingLookupByPortDev, (*driver).lookupBinding),
	call.Answer(protocol.NwfilterBindingGetXMLDesc, (*driver).bindingXML),
	call.Later(protocol.NwfilterBindingCreateXML, (*driver).createBinding),
	call.Later(protocol.NwfilterBindingDelete, (*driver).deleteBinding),
)
