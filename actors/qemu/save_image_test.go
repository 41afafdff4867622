package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func imageBytes(t *testing.T, img *saveImage, magic string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := img.write(&b, magic); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The layout is libvirt's, byte by byte: its daemons read these files.
func TestImageLayout(t *testing.T) {
	b := imageBytes(t, newImage("<domain/>\n", "<cookie/>\n", true, 3), imageMagic)
	le := binary.NativeEndian
	for _, f := range []struct {
		at   int
		want uint32
	}{{16, 2}, {20, 11 + 11 + 65536}, {24, 1}, {28, 3}, {32, 11}, {36, 0}} {
		if got := le.Uint32(b[f.at:]); got != f.want {
			t.Errorf("header field at %d is %d, want %d", f.at, got, f.want)
		}
	}
	if string(b[:16]) != "LibvirtQemudSave" || string(b[92:102]) != "<domain/>\n" || b[102] != 0 || string(b[103:113]) != "<cookie/>\n" {
		t.Errorf("image begins with %q", b[:120])
	}
	if len(b) != 92+11+11+65536 {
		t.Errorf("length %d", len(b))
	}
}

func TestImagesAreReadBack(t *testing.T) {
	img := newImage("<domain/>\n", "<cookie/>\n", false, 1)
	got, err := readImage(bytes.NewReader(imageBytes(t, img, imageMagic)))
	if err != nil {
		t.Fatal(err)
	}
	if got.xml != img.xml || got.cookie != img.cookie || got.header.Running != 0 || got.header.Format != 1 {
		t.Errorf("read back %+v", got)
	}
	if err := got.setXML(strings.Repeat("x", imagePad)); err != nil {
		t.Errorf("a longer definition does not fit: %v", err)
	}
	if err := got.setXML(strings.Repeat("x", 2*imagePad)); err == nil {
		t.Error("a definition beyond the room fits")
	}
}

func TestImageOfTheOtherByteOrder(t *testing.T) {
	img := newImage("<domain/>\n", "", true, 0)
	img.order = swapped()
	got, err := readImage(bytes.NewReader(imageBytes(t, img, imageMagic)))
	if err != nil || got.xml != img.xml || got.header.Running != 1 {
		t.Fatal(got, err)
	}
}

func TestBadImages(t *testing.T) {
	good := imageBytes(t, newImage("<domain/>\n", "", true, 0), imageMagic)
	newer := bytes.Clone(good)
	binary.NativeEndian.PutUint32(newer[16:], 3)
	for name, c := range map[string]struct {
		data    []byte
		want    string
		corrupt bool
	}{
		"short":              {good[:40], "failed to read qemu header", true},
		"not one":            {append([]byte("NotAnImageAtAll!"), good[16:]...), "image magic is incorrect", true},
		"incomplete":         {imageBytes(t, newImage("<domain/>\n", "", true, 0), imagePartial), "save image is incomplete", true},
		"no document":        {good[:100], "failed to read domain XML", false},
		"of a later version": {newer, "image version is not supported", false},
	} {
		_, err := readImage(bytes.NewReader(c.data))
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, errImageCorrupt) != c.corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzImage(f *testing.F) {
	var b bytes.Buffer
	_ = newImage("<domain/>\n", "<cookie/>\n", true, 0).write(&b, imageMagic)
	f.Add(b.Bytes()[:200])
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = readImage(bytes.NewReader(data)) })
}

// An image becomes one by its last write: what a crash leaves is told from what is whole.
func TestImageIsIncompleteUntilFinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.save")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img := newImage("<domain/>\n", "", true, 0)
	if err := img.write(f, imagePartial); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openImage(path, false); !errors.Is(err, errImageCorrupt) {
		t.Errorf("unfinished image: %v", err)
	}
	if err := img.finish(f); err != nil {
		t.Fatal(err)
	}
	_, g, err := openImage(path, false)
	if err != nil {
		t.Fatal(err)
	}
	g.Close()
}
