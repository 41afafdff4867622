package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"virtree/bench/internal/lab"
	"virtree/wire/protocol"
	"virtree/wire/xdr"
)

const headerSize = lab.PacketHeader

// session is one connection used for set-up: plain, one call at a time.
type session struct {
	net.Conn
	serial uint32
}

// dial connects, asks what authentication there is and opens the QEMU driver, as
// every client does.
func dial(socket string) (*session, error) {
	c, err := net.DialTimeout("unix", socket, 5*time.Second)
	if err != nil {
		return nil, err
	}
	s := &session{Conn: c}
	if err := s.open(); err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

func (s *session) open() error {
	if _, err := s.call(protocol.AuthList.Procedure, nil); err != nil {
		return fmt.Errorf("auth list: %w", err)
	}
	uri := "qemu:///system"
	if _, err := s.call(protocol.ConnectOpen.Procedure, (&protocol.ConnectOpenArgs{Name: &uri}).AppendXDR(nil)); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	return nil
}

// call sends one call and returns the payload of its answer.
func (s *session) call(p *protocol.Procedure, payload []byte) ([]byte, error) {
	b := lab.Packet(p, payload)
	binary.BigEndian.PutUint32(b[20:], s.serial)
	s.serial++
	s.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := s.Write(b); err != nil {
		return nil, err
	}
	var head [headerSize]byte
	if _, err := io.ReadFull(s, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < headerSize || n > 33554436 {
		return nil, fmt.Errorf("length word %d", n)
	}
	body := make([]byte, n-headerSize)
	if _, err := io.ReadFull(s, body); err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(head[24:]) != 0 {
		return nil, fmt.Errorf("%s: %s", p.Name, lab.PacketError(body))
	}
	return body, nil
}

// define makes a domain of the given definition.
func (s *session) define(xml string) (protocol.Domain, error) {
	var ret protocol.DomainDefineXMLRet
	body, err := s.call(protocol.DomainDefineXML.Procedure, xdr.AppendString(nil, xml))
	if err == nil {
		err = protocol.Unmarshal(body, &ret)
	}
	return ret.Dom, err
}

func (s *session) start(d protocol.Domain) error {
	_, err := s.call(protocol.DomainCreate.Procedure, d.AppendXDR(nil))
	return err
}

func (s *session) destroy(d protocol.Domain) error {
	_, err := s.call(protocol.DomainDestroy.Procedure, d.AppendXDR(nil))
	return err
}

func (s *session) undefine(d protocol.Domain) error {
	_, err := s.call(protocol.DomainUndefine.Procedure, d.AppendXDR(nil))
	return err
}
