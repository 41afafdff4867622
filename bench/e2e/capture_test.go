package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"virtree/bench/internal/lab"
)

// capture relays a UNIX socket and writes what passes as a packet capture in which
// both ends speak TCP: what tshark reads. One connection is one TCP stream.
type capture struct {
	listener net.Listener
	file     string
	mu       sync.Mutex
	out      bytes.Buffer
	streams  int
	wg       sync.WaitGroup
}

const (
	daemonPort  = 16509 // the dissector's own
	linkRaw     = 101   // LINKTYPE_RAW: the packet begins with its IP header
	maxSegment  = 32 << 10
	flagSyn     = 0x02
	flagAck     = 0x10
	flagPushAck = 0x18
)

func startCapture(socket, real, file string) (*capture, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	c := &capture{listener: l, file: file}
	c.begin()
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			daemon, err := net.Dial("unix", real)
			if err != nil {
				client.Close()
				continue
			}
			c.mu.Lock()
			c.streams++
			s := &tcpStream{capture: c, port: uint16(30000 + c.streams), seq: [2]uint32{1000, 5000}}
			s.segment(0, flagSyn, nil)
			s.segment(1, flagSyn|flagAck, nil)
			s.segment(0, flagAck, nil)
			c.mu.Unlock()
			c.wg.Add(2)
			go s.relay(0, client, daemon)
			go s.relay(1, daemon, client)
		}
	}()
	return c, nil
}

// begin writes the head of the file.
func (c *capture) begin() {
	for _, v := range []any{uint32(0xa1b2c3d4), uint16(2), uint16(4), int32(0), uint32(0), uint32(1 << 18), uint32(linkRaw)} {
		binary.Write(&c.out, binary.LittleEndian, v)
	}
}

func (c *capture) close() error {
	c.listener.Close()
	c.wg.Wait()
	return os.WriteFile(c.file, c.out.Bytes(), 0o644)
}

// tcpStream is one relayed connection; direction 0 is from client to daemon. It is
// guarded by its capture's lock.
type tcpStream struct {
	capture *capture
	port    uint16
	seq     [2]uint32
}

func (s *tcpStream) relay(direction int, from, to net.Conn) {
	defer s.capture.wg.Done()
	defer to.Close()
	buf := make([]byte, maxSegment)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			s.capture.mu.Lock()
			s.segment(direction, flagPushAck, buf[:n])
			s.capture.mu.Unlock()
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				from.Close()
			}
			return
		}
	}
}

// segment appends one packet with IP and TCP headers that fit.
func (s *tcpStream) segment(direction int, flags byte, data []byte) {
	ports := [2]uint16{s.port, daemonPort}
	p := make([]byte, 40, 40+len(data))
	p[0] = 0x45
	binary.BigEndian.PutUint16(p[2:], uint16(40+len(data)))
	p[8], p[9] = 64, 6
	copy(p[12:], []byte{127, 0, 0, byte(1 + direction)})
	copy(p[16:], []byte{127, 0, 0, byte(2 - direction)})
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum>>16+sum&0xffff))
	binary.BigEndian.PutUint16(p[20:], ports[direction])
	binary.BigEndian.PutUint16(p[22:], ports[1-direction])
	binary.BigEndian.PutUint32(p[24:], s.seq[direction])
	if flags&flagAck != 0 {
		binary.BigEndian.PutUint32(p[28:], s.seq[1-direction])
	}
	p[32], p[33] = 5<<4, flags
	binary.BigEndian.PutUint16(p[34:], 65535)
	p = append(p, data...)
	s.seq[direction] += uint32(len(data))
	if flags&flagSyn != 0 {
		s.seq[direction]++
	}
	now := time.Now()
	for _, v := range []uint32{uint32(now.Unix()), uint32(now.Nanosecond() / 1000), uint32(len(p)), uint32(len(p))} {
		binary.Write(&s.capture.out, binary.LittleEndian, v)
	}
	s.capture.out.Write(p)
}

// complaints is what tshark says of a packet that does not decode; the libvirt
// dissector files the bytes that it cannot read as unknown.
const complaints = "libvirt.unknown || _ws.malformed || _ws.unreassembled || (libvirt && _ws.expert.severity >= 6291456)"

// dissect lists the frames of a capture that a display filter picks.
func dissect(t *lab.Target, file, filter string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r := t.Run(ctx, "tshark", "-r", file, "-2", "-Y", filter, "-T", "fields",
		"-e", "frame.number", "-e", "_ws.col.Info", "-e", "_ws.expert.message")
	if r.Exit != 0 {
		return nil, fmt.Errorf("tshark: %s", r.Stderr)
	}
	return lab.Lines(r.Stdout), nil
}

// cmdCapture: "start" sets $CAPTURE to a URI whose traffic is recorded; "check N" has
// tshark decode it, which must find at least N packets and nothing to complain about.
func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 1)
	w, t := tree(ts)
	switch args[0] {
	case "start":
		uri, real, _ := strings.Cut(t.URI(), "?socket=")
		socket := filepath.Join(t.Dir, "capture.sock")
		var err error
		w.capture, err = startCapture(socket, real, ts.MkAbs("capture.pcap"))
		ts.Check(err)
		ts.Setenv("CAPTURE", uri+"?socket="+socket)
	case "check":
		c := w.capture
		w.capture = nil
		ts.Check(c.close())
		least, err := strconv.Atoi(args[1])
		ts.Check(err)
		packets, err := dissect(t, c.file, "libvirt")
		ts.Check(err)
		if len(packets) < least {
			ts.Fatalf("tshark saw %d frames of libvirt's protocol, not %d", len(packets), least)
		}
		bad, err := dissect(t, c.file, complaints)
		ts.Check(err)
		if len(bad) > 0 {
			ts.Fatalf("tshark complains:\n%s", strings.Join(bad, "\n"))
		}
		fmt.Fprintf(ts.Stdout(), "%d frames decoded\n", len(packets))
	default:
		ts.Fatalf("capture start|check N")
	}
}

func TestDissectorComplainsOfWhatDoesNotDecode(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	// A call of DOMAIN_LOOKUP_BY_NAME: length word, header, then a string of four bytes.
	call := []byte{0, 0, 0, 36, 0x20, 0, 0x80, 0x86, 0, 0, 0, 1, 0, 0, 0, 23, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 'n', 'a', 'm', 'e'}
	for _, c := range []struct {
		name   string
		length byte // of the string, as it claims
		bad    bool
	}{{"whole", 4, false}, {"longer than its packet", 200, true}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			record := &capture{file: filepath.Join(dir, "c.pcap")}
			record.begin()
			s := &tcpStream{capture: record, port: 30001, seq: [2]uint32{1, 1}}
			packet := append([]byte(nil), call...)
			packet[31] = c.length
			s.segment(0, flagSyn, nil)
			s.segment(1, flagSyn|flagAck, nil)
			s.segment(0, flagPushAck, packet)
			if err := os.WriteFile(record.file, record.out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := dissect(&lab.Target{Dir: dir}, record.file, complaints)
			if err != nil {
				t.Fatal(err)
			}
			if (len(got) > 0) != c.bad {
				t.Errorf("complaints: %v", got)
			}
		})
	}
}
