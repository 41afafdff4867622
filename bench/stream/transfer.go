package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// transfer is one way to move a volume's data.
type transfer struct {
	name     string
	up, thin bool
}

var transfers = []transfer{
	{"upload", true, false},
	{"download", false, false},
	{"sparse-upload", true, true},
	{"sparse-download", false, true},
}

// plan is what all systems do alike.
type plan struct {
	size      int64
	transfers []transfer
	full      string // a file without holes
	thin      string // one of the same size that is mostly holes
	scratch   string // where a download goes
}

func newPlan(dir string, size int64, names []string) (*plan, error) {
	p := &plan{size: size, full: filepath.Join(dir, "full"), thin: filepath.Join(dir, "thin"), scratch: filepath.Join(dir, "down")}
	for _, n := range names {
		found := false
		for _, t := range transfers {
			if t.name == n {
				p.transfers, found = append(p.transfers, t), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no transfer %q", n)
		}
	}
	if err := fill(p.full, size, 1); err != nil {
		return nil, err
	}
	return p, fill(p.thin, size, 8)
}

// source is the file whose content a transfer moves.
func (p *plan) source(t transfer) string {
	if t.thin {
		return p.thin
	}
	return p.full
}

// volume is the name of the volume that holds it.
func (t transfer) volume() string {
	if t.thin {
		return "thin"
	}
	return "full"
}

// fill writes one MiB of noise in every so many; the rest are holes.
func fill(path string, size int64, every int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	noise := make([]byte, 1<<20)
	src := rand.NewChaCha8([32]byte{byte(every)})
	for at := int64(0); at < size; at += every << 20 {
		_, _ = src.Read(noise)
		if _, err := f.WriteAt(noise[:min(int64(len(noise)), size-at)], at); err != nil {
			return err
		}
	}
	return f.Truncate(size)
}

// same compares two files byte by byte.
func same(a, b string) error {
	fa, err := os.Open(a)
	if err != nil {
		return err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return err
	}
	defer fb.Close()
	ra, rb := bufio.NewReaderSize(fa, 1<<20), bufio.NewReaderSize(fb, 1<<20)
	pa, pb := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); ; {
		na, ea := io.ReadFull(ra, pa)
		nb, _ := io.ReadFull(rb, pb)
		if !bytes.Equal(pa[:na], pb[:nb]) {
			return fmt.Errorf("%s and %s differ behind byte %d", a, b, at)
		}
		if ea != nil {
			return nil
		}
		at += int64(na)
	}
}
