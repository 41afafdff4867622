package isolation

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"virtree/bench/internal/lab"
	"virtree/wire/protocol"
)

// What loud clients do. They run in helper processes, and print now and then what they have come to.

// open connects and opens the QEMU driver with nothing but writes and reads.
func (o helperOrder) open() (net.Conn, error) {
	c, err := net.DialTimeout("unix", o.Socket, 20*time.Second)
	if err != nil {
		return nil, err
	}
	uri := "qemu:///system"
	for _, p := range [][]byte{
		lab.Packet(protocol.AuthList.Procedure, nil),
		lab.Packet(protocol.ConnectOpen.Procedure, (&protocol.ConnectOpenArgs{Name: &uri}).AppendXDR(nil)),
	} {
		if _, err = c.Write(p); err == nil {
			err = skip(c)
		}
		if err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// skip reads one packet.
func skip(c net.Conn) error {
	var head [4]byte
	_, err := io.ReadFull(c, head[:])
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, binary.BigEndian.Uint32(head[:])-4))
	}
	return err
}

// question asks for a domain by its name, which every daemon answers from memory.
func (o helperOrder) question() []byte {
	return lab.Packet(protocol.DomainLookupByName.Procedure, (&protocol.DomainLookupByNameArgs{Name: o.Name}).AppendXDR(nil))
}

// flood keeps Count requests in flight, as far as the daemon takes them, on one connection after the other.
func flood(o helperOrder) {
	var answered, cut atomic.Int64
	for {
		c, err := o.open()
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		credit := make(chan struct{}, o.Count)
		go func() {
			packet := o.question()
			batch := make([]byte, 0, 64*len(packet))
			for serial := uint32(10); ; {
				batch = batch[:0]
				for range 64 {
					binary.BigEndian.PutUint32(packet[20:], serial)
					serial++
					batch = append(batch, packet...)
				}
				for range 64 {
					credit <- struct{}{}
				}
				if _, err := c.Write(batch); err != nil {
					c.Close()
					return
				}
			}
		}()
		for err == nil {
			if err = skip(c); err == nil {
				<-credit
				if n := answered.Add(1); n%1000 == 0 {
					fmt.Printf("%d answers, cut off %d times\n", n, cut.Load())
				}
			}
		}
		c.Close()
		for drained := false; !drained; { // so that the writer sees its end
			select {
			case <-credit:
			default:
				drained = true
			}
		}
		cut.Add(1)
		fmt.Printf("%d answers, cut off %d times\n", answered.Load(), cut.Load())
	}
}

// idle opens Count connections and keeps them.
func idle(o helperOrder) {
	var mu sync.Mutex
	var open []net.Conn
	failed := 0
	began := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				mu.Lock()
				full := len(open)+failed >= o.Count
				mu.Unlock()
				if full {
					return
				}
				c, err := o.open()
				mu.Lock()
				if err != nil {
					failed++
				} else {
					open = append(open, c)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	fmt.Printf("%d connections after %v, %d refused\n", len(open), time.Since(began).Round(time.Millisecond), failed)
	select {}
}

// deaf asks on Count connections as long as the daemon reads, and never reads itself.
func deaf(o helperOrder) {
	var sent atomic.Int64
	for range o.Count {
		go func() {
			for {
				c, err := o.open()
				if err != nil {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				all := int32(1)
				packet := lab.Packet(protocol.ConnectListAllDomains.Procedure, (&protocol.ConnectListAllDomainsArgs{NeedResults: all}).AppendXDR(nil))
				for {
					if _, err := c.Write(packet); err != nil {
						break
					}
					sent.Add(1)
				}
				c.Close()
			}
		}()
	}
	for range time.Tick(100 * time.Millisecond) {
		fmt.Printf("%d questions taken\n", sent.Load())
	}
}
