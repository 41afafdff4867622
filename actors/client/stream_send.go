package client

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"virtree/wire/rpc"
)

// send is the goroutine that sends what the descriptor yields, no faster than the client takes it.
func (s *stream) send(conn *rpc.Conn) error {
	conn.Bulk()
	next, tty := s.sendSome, true
	if st, err := s.file.Stat(); err == nil && (st.Mode().IsRegular() || isBlock(st)) {
		tty = false
		if next = s.sendFull; s.spec.Sparse && st.Mode().IsRegular() {
			next = (&sparse{stream: s}).send
		}
	}
	left := s.spec.Limit
	for left != 0 {
		if conn.Congested() && conn.WaitDrained(s.ctx) != nil {
			return nil
		}
		n, err := next(conn, left)
		if s.ctx.Err() != nil || errors.Is(err, errGone) {
			return nil
		}
		if left > 0 {
			left -= n
		}
		// A terminal whose other side is gone answers EIO, which is its way to say end of file.
		if err == io.EOF || tty && errors.Is(err, unix.EIO) {
			break
		}
		if err != nil {
			return err
		}
	}
	_ = conn.SendEOF(s.header) // a connection that is gone has taken the client with it
	return nil
}

// errGone is what a sender says when the connection is gone, and the client with it.
var errGone = errors.New("connection is gone")

// room is what a packet may carry of the left bytes, -1 for no limit.
func room(b []byte, left int64) []byte {
	if left >= 0 && int64(len(b)) > left {
		return b[:left]
	}
	return b
}

// sendSome sends what a terminal, a pipe or a socket has now. An idle console keeps a small buffer, and there is one, not one per
// packet, because it is held while there is nothing to send.
func (s *stream) sendSome(conn *rpc.Conn, left int64) (int64, error) {
	if s.buf == nil {
		s.buf = make([]byte, 16<<10)
	}
	n, err := s.file.Read(room(s.buf, left))
	if n > 0 && s.ctx.Err() == nil && conn.SendData(s.header, s.buf[:n]) != nil {
		return 0, errGone
	}
	return int64(n), err
}

// sendFull sends as much of a file as a packet takes, read where it is sent from.
func (s *stream) sendFull(conn *rpc.Conn, left int64) (int64, error) {
	d := rpc.NewData()
	n, err := s.file.Read(room(d.Room(), left))
	if n <= 0 || s.ctx.Err() != nil {
		d.Release()
		return 0, err
	}
	if conn.SendFilled(s.header, d, n) != nil {
		return 0, errGone
	}
	return int64(n), err
}

// sparse sends a regular file section by section.
type sparse struct {
	*stream
	data int64 // bytes left of the section of data at the file's position
}

func (s *sparse) send(conn *rpc.Conn, left int64) (int64, error) {
	if s.data == 0 {
		gap, err := s.section()
		if gap == 0 || err != nil {
			return 0, err
		}
		if left >= 0 {
			gap = min(gap, left)
		}
		if conn.SendHole(s.header, gap) != nil {
			return 0, errGone
		}
		return gap, nil
	}
	if left < 0 || left > s.data {
		left = s.data
	}
	n, err := s.sendFull(conn, left)
	s.data -= n
	return n, err
}

// section moves to the next byte of data, or to the end of the file, and returns how far that was. io.EOF says that the file's
// end had been reached.
func (s *sparse) section() (gap int64, err error) {
	at, err := s.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	begin, err := s.file.Seek(at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) { // no data from here on
		end, err := s.file.Seek(0, io.SeekEnd)
		if err == nil && end <= at {
			err = io.EOF
		}
		return max(end-at, 0), err
	}
	if err != nil {
		return 0, err
	}
	end, err := s.file.Seek(begin, unix.SEEK_HOLE)
	if err != nil {
		return 0, err
	}
	if _, err := s.file.Seek(begin, io.SeekStart); err != nil {
		return 0, err
	}
	s.data = end - begin
	return begin - at, nil
}
