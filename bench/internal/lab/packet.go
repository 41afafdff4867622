package lab

import (
	"encoding/binary"

	"virtree/wire/protocol"
)

// PacketHeader is the length word and the header of a packet, in bytes.
const PacketHeader = 28

// Packet is a call as it is on the wire, encoded once for a load that is to cost little; the serial, at byte 20, is 0.
func Packet(p *protocol.Procedure, payload []byte) []byte {
	b := make([]byte, PacketHeader, PacketHeader+len(payload))
	binary.BigEndian.PutUint32(b[0:], uint32(PacketHeader+len(payload)))
	binary.BigEndian.PutUint32(b[4:], p.Program)
	binary.BigEndian.PutUint32(b[8:], p.Version)
	binary.BigEndian.PutUint32(b[12:], uint32(p.Number))
	return append(b, payload...)
}

// PacketError is the message of an answer whose status says error.
func PacketError(payload []byte) string {
	var e protocol.RemoteError
	if err := protocol.Unmarshal(payload, &e); err != nil || e.Message == nil {
		return "an error that says nothing"
	}
	return *e.Message
}
