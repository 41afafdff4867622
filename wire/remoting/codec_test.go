package remoting

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"
)

func genHeader(t *rapid.T) *header {
	h := &header{
		kind:      kind(rapid.IntRange(int(kindHello), int(kindError)).Draw(t, "kind")),
		flags:     rapid.Uint64Range(0, 3).Draw(t, "flags"),
		address:   rapid.String().Draw(t, "address"),
		sender:    rapid.String().Draw(t, "sender"),
		requestID: rapid.Uint32().Draw(t, "requestID"),
		serial:    rapid.Uint64().Draw(t, "serial"),
		deadline:  rapid.Uint64().Draw(t, "deadline"),
		code:      rapid.Uint64().Draw(t, "code"),
		fds:       rapid.IntRange(0, maxDescriptors).Draw(t, "fds"),
		headers:   rapid.MapOfN(rapid.String(), rapid.String(), 0, 20).Draw(t, "headers"),
	}
	if h.kind == kindMulti {
		h.targets = rapid.SliceOfN(rapid.String(), 0, 40).Draw(t, "targets")
	} else {
		h.target = rapid.StringN(0, 300, 70000).Draw(t, "target")
	}
	return h
}

// check compares what was decoded with what was encoded.
func check(t rapid.TB, h *header, payload string, e *envelope) {
	targets := make([]string, len(e.targets))
	for i, b := range e.targets {
		targets[i] = string(b)
	}
	headers := map[string]string{}
	for i := 0; i < len(e.headers); i += 2 {
		headers[string(e.headers[i])] = string(e.headers[i+1])
	}
	got := header{e.kind, e.flags, string(e.target), targets, string(e.address), string(e.sender), e.requestID, e.serial, e.deadline, e.code, e.fds, headers}
	want := *h
	if len(want.targets) == 0 {
		want.targets = []string{}
	}
	if len(want.headers) == 0 {
		want.headers = map[string]string{}
	}
	if !reflect.DeepEqual(got, want) || string(e.payload) != payload {
		t.Fatalf("got %+v %q\nwant %+v %q", got, e.payload, want, payload)
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, payload := genHeader(t), rapid.String().Draw(t, "payload")
		frame := h.appendFrame([]byte("before"), payload)[len("before"):]
		var e envelope
		if err := e.decode(frame[prefix:]); err != nil {
			t.Fatal(err)
		}
		check(t, h, payload, &e)
		// Any MessagePack reader understands it.
		var fields []any
		if err := msgpack.Unmarshal(frame[prefix:], &fields); err != nil || len(fields) != envelopeFields {
			t.Fatalf("%d fields, %v", len(fields), err)
		}
		for n := range len(frame) - prefix {
			if n%7 == 0 && e.decode(frame[prefix:prefix+n]) == nil {
				t.Fatalf("%d of %d bytes are a frame", n, len(frame)-prefix)
			}
		}
	})
}

func TestNumbersAreMessagePack(t *testing.T) {
	for _, u := range []uint64{0, 1, 127, 128, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, math.MaxUint64} {
		b := appendUint(nil, u)
		var lib uint64
		if err := msgpack.Unmarshal(b, &lib); err != nil || lib != u {
			t.Errorf("%d is read as %d, %v", u, lib, err)
		}
		c := cursor{b: b}
		if got := c.uint(); got != u || c.bad || len(c.b) != 0 {
			t.Errorf("%d comes back as %d", u, got)
		}
	}
	for _, n := range []int{0, 31, 32, 255, 256, 65535, 65536} {
		s := strings.Repeat("x", n)
		var lib string
		if err := msgpack.Unmarshal(appendString(nil, s), &lib); err != nil || lib != s {
			t.Errorf("string of %d: %v", n, err)
		}
	}
	for _, n := range []int{0, 15, 16, 65536} {
		c := cursor{b: append(appendArray(nil, n), make([]byte, n)...)}
		if c.array() != n || c.bad {
			t.Errorf("array of %d", n)
		}
		c = cursor{b: append(appendMap(nil, n), make([]byte, n)...)}
		if c.maplen() != n || c.bad {
			t.Errorf("map of %d", n)
		}
	}
}

func nested(depth int) any {
	var v any = 1
	for range depth {
		v = []any{v, map[string]any{"a": []byte("x"), "b": 1.5, "c": -70000, "d": strings.Repeat("s", 300)}, nil, true}
	}
	return v
}

func TestShallow(t *testing.T) {
	encode := func(v any) []byte {
		b, err := msgpack.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, depth := range []int{0, 1, 5, maxDepth - 1} {
		if !shallow(encode(nested(depth))) {
			t.Errorf("depth %d is refused", depth)
		}
	}
	for _, b := range [][]byte{encode(nested(maxDepth + 1)), bytes.Repeat([]byte{0x91}, 1000), {0xc1}, {0x91}, {0x92, 1}, {0xdd, 0xff, 0xff, 0xff, 0xff}, {0xc6, 0xff, 0xff, 0xff, 0xff}, {0xa5, 'x'}} {
		if shallow(b) {
			t.Errorf("% x... passes", b[:min(len(b), 8)])
		}
	}
	if !shallow(encode(map[string]any{"x": []any{[]any{}, map[string]any{}, float32(1), int64(-1 << 40), uint16(9)}})) {
		t.Error("a plain value is refused")
	}
}

func FuzzFrame(f *testing.F) {
	for _, h := range []header{
		{kind: kindPing},
		{kind: kindUser, target: "a", sender: "b", serial: 300, code: 2, headers: map[string]string{"k": "v"}},
		{kind: kindMulti, targets: []string{"a", "b"}, code: 1 << 33},
		{kind: kindError, target: "x", address: "unix:/y", requestID: 70000, deadline: math.MaxUint64},
	} {
		f.Add(h.appendFrame(nil, "payload")[prefix:])
	}
	registry := testRegistry()
	types := registry.match(registry.names())
	f.Fuzz(func(t *testing.T, body []byte) {
		var e envelope
		if e.decode(body) != nil {
			return
		}
		h := header{kind: e.kind, flags: e.flags, target: string(e.target), address: string(e.address), sender: string(e.sender),
			requestID: e.requestID, serial: e.serial, deadline: e.deadline, code: e.code, fds: e.fds, headers: map[string]string{}}
		for _, b := range e.targets {
			h.targets = append(h.targets, string(b))
		}
		for i := 0; i < len(e.headers); i += 2 {
			h.headers[string(e.headers[i])] = string(e.headers[i+1])
		}
		var again envelope
		if err := again.decode(h.appendFrame(nil, string(e.payload))[prefix:]); err != nil {
			t.Fatalf("encoded again: %v", err)
		}
		check(t, &h, string(e.payload), &again)
		// Whatever it says it is, decoding gives a message or an error.
		if e.code < uint64(len(types)) {
			_, _ = types[e.code].local.decodePayload(e.payload, false)
		}
		for _, other := range types {
			if msg, err := other.local.decodePayload(e.payload, false); err == nil && msg == nil {
				t.Fatal("no message and no error")
			}
		}
	})
}

// FuzzStream feeds a link what a peer could send after the handshake.
func FuzzStream(f *testing.F) {
	h := header{kind: kindUser, target: "echo", sender: "x", code: 5}
	two := h.appendFrame(h.appendFrame(nil, "12345678"), "\x80")
	f.Add(two, 7)
	f.Add([]byte{0, 0, 0, 1, 0}, 1)
	watch := header{kind: kindWatch, target: "echo", sender: "w"}
	f.Add(watch.appendFrame(nil, ""), 100)
	p := start(f, f.TempDir()+"/a", quick)
	p.spawn(f, "echo", echo)
	var serial int
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		serial++
		c := dialRaw(t, p)
		c.hello(p, fmt.Sprintf("%sfuzz-%d", anonymous, serial))
		if cut < 0 || cut > len(stream) {
			cut = len(stream) / 2
		}
		_, _ = c.Write(stream[:cut]) // an error is the link's right
		_, _ = c.Write(stream[cut:])
		_ = c.CloseWrite()
		c.mustClose()
	})
}
