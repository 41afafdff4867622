package secret

import (
	"virtree/actors/internal/call"
	"virtree/wire/protocol"
)

// routes is the driver's table of contents.
var routes = call.NewTable(
	call.Answer(protocol.ConnectNumOfSecrets, (*driver).count),
	call.Answer(protocol.ConnectListSecrets, (*driver).list),
	call.Answer(protocol.ConnectListAllSecrets, (*driver).listAll),
	call.Answer(protocol.SecretLookupByUUID, (*driver).lookupByUUID),
	call.Answer(protocol.SecretLookupByUsage, (*driver).lookupByUsage),
	call.Answer(protocol.SecretGetXMLDesc, (*driver).xml),
	call.Answer(protocol.SecretGetValue, (*driver).value),
	call.Later(protocol.SecretDefineXML, (*driver).define),
	call.Later(protocol.SecretSetValue, (*driver).setValue),
	call.Later(protocol.SecretUndefine, (*driver).undefine),
)
