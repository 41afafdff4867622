package remoting

import (
	"bytes"
	"fmt"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// buffer holds frames on their way out. Large ones are left to the garbage collector, so that one
// 36 MiB message does not stay in the pool.
type buffer struct{ b []byte }

const (
	bufferSize = 4 << 10
	bufferKeep = 64 << 10
)

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, bufferSize)} }}

func newBuffer() *buffer { return buffers.Get().(*buffer) }

func (b *buffer) free() {
	if cap(b.b) <= bufferKeep {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

func (b *buffer) grow(n int) {
	if free := cap(b.b) - len(b.b); free < n {
		b.b = append(make([]byte, 0, len(b.b)+n), b.b...)
	}
}

// Write lets the MessagePack encoder append.
func (b *buffer) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	return len(p), nil
}

// appendPayload encodes msg behind what the buffer holds. A panic of the message's own encoder is an error:
// the sender is an actor that has done nothing wrong.
func (t *messageType) appendPayload(b *buffer, msg any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if t.binary {
		if s, ok := msg.(Sizer); ok {
			b.grow(s.RemotingSize())
		}
		a, ok := msg.(Appender)
		if !ok { // a value whose methods are on the pointer
			p := reflect.New(t.elem)
			p.Elem().Set(reflect.ValueOf(msg))
			a = p.Interface().(Appender)
		}
		b.b, err = a.AppendRemoting(b.b)
		return err
	}
	enc := msgpack.GetEncoder()
	defer msgpack.PutEncoder(enc)
	enc.Reset(b)
	enc.UseCompactInts(true)
	return enc.Encode(msg)
}

// decodePayload makes the message. owned says that payload is not part of a reused buffer.
func (t *messageType) decodePayload(payload []byte, owned bool) (msg any, err error) {
	defer func() {
		if p := recover(); p != nil {
			msg, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	v := reflect.New(t.elem)
	if t.binary {
		if !owned {
			payload = bytes.Clone(payload)
		}
		err = v.Interface().(Decoder).DecodeRemoting(payload)
	} else {
		if !shallow(payload) {
			return nil, errFrame
		}
		err = msgpack.Unmarshal(payload, v.Interface())
	}
	if err != nil {
		return nil, err
	}
	if t.pointer {
		return v.Interface(), nil
	}
	return v.Elem().Interface(), nil
}
