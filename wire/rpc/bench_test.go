package rpc

import "testing"

// BenchmarkRoundTrip is a call and its reply of 100 bytes each over a UNIX socket,
// reader and writer in one process: two wake-ups and four system calls.
func BenchmarkRoundTrip(b *testing.B) {
	x, y := unixPair(b)
	client, server := NewConn(x, nil), NewConn(y, nil)
	go func() {
		for {
			p, err := server.ReadPacket()
			if err != nil {
				return
			}
			server.Send(p.Header.ReplyTo(OK), p.Payload)
			p.Release()
		}
	}()
	payload := make([]byte, 100)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		client.Send(Header{Program: 0x20008086, Version: 1, Proc: 1, Serial: uint32(i)}, payload)
		p, err := client.ReadPacket()
		if err != nil {
			b.Fatal(err)
		}
		p.Release()
	}
}

// BenchmarkPipelined is one direction with many packets waiting, so that a system
// call carries many.
func BenchmarkPipelined(b *testing.B) {
	x, y := unixPair(b)
	client, server := NewConn(x, nil), NewConn(y, nil)
	payload := make([]byte, 100)
	b.ReportAllocs()
	const batch = 64
	for b.Loop() {
		client.Cork()
		for i := range batch {
			client.Send(Header{Serial: uint32(i)}, payload)
		}
		client.Uncork()
		for range batch {
			p, err := server.ReadPacket()
			if err != nil {
				b.Fatal(err)
			}
			p.Release()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/packet")
}

// BenchmarkStreamData moves 256 KiB packets, as a volume download does.
func BenchmarkStreamData(b *testing.B) {
	x, y := unixPair(b)
	client, server := NewConn(x, nil), NewConn(y, nil)
	data := make([]byte, MaxData)
	b.SetBytes(MaxData)
	b.ReportAllocs()
	for b.Loop() {
		client.Send(Header{Type: Stream, Status: Continue}, data)
		p, err := server.ReadPacket()
		if err != nil {
			b.Fatal(err)
		}
		p.Release()
	}
}

// TestHotPathAllocations holds the promise of doc.go and of the benchmarks: nothing
// per packet once the pools are warm. A collection can empty a pool in the middle,
// hence the tolerance.
func TestHotPathAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget at random")
	}
	x, y := unixPair(t)
	a, c := NewConn(x, nil), NewConn(y, nil)
	payload := make([]byte, 200)
	perPacket := testing.AllocsPerRun(2000, func() {
		a.Send(Header{Serial: 1}, payload)
		p, err := c.ReadPacket()
		if err != nil {
			t.Fatal(err)
		}
		p.Release()
	})
	if perPacket > 0.1 {
		t.Errorf("%v allocations to send and read one packet", perPacket)
	}
}
