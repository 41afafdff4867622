package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"virtree/wire/liberr"
)

// imageHeader begins a save image, in the byte order of the host that wrote it:
//
//	header (92 bytes) | definition NUL cookie NUL padding: DataLen bytes | what QEMU wrote, perhaps compressed
//
// Compat: libvirt's format, version 2, so that images move between its daemons and ours both ways.
type imageHeader struct {
	Magic   [16]byte
	Version uint32
	DataLen uint32
	Running uint32 // the guest ran when it was saved
	Format  uint32 // imageFormat
	Cookie  uint32 // offset of the cookie in the data; 0: there is none
	_       [14]uint32
}

const (
	imageMagic   = "LibvirtQemudSave"
	imagePartial = "LibvirtQemudPart" // until the last byte is written
	imageVersion = 2
	imageSize    = 16 + 5*4 + 14*4
	// imagePad is room for a definition that a client puts there later.
	imagePad = 64 << 10
	// imageDataMax bounds what a file may claim; libvirt's limit of an XML document on the wire is 4 MiB.
	imageDataMax = 16 << 20
)

// imageFormat is how the part of QEMU is compressed.
type imageFormat uint32

// imageFormats are the programs, by libvirt's numbers; the first is none.
var imageFormats = []string{"raw", "gzip", "bzip2", "xz", "lzop"}

func imageFormatOf(name string) (imageFormat, bool) {
	if name == "" {
		return 0, true
	}
	for i, s := range imageFormats {
		if s == name {
			return imageFormat(i), true
		}
	}
	return 0, false
}

// saveImage is a save image without what QEMU wrote.
type saveImage struct {
	header imageHeader
	order  binary.ByteOrder
	xml    string
	cookie string
}

// errImageCorrupt marks images that nothing can be made of; a managed one is thrown away and the guest booted.
var errImageCorrupt = errors.New("corrupt save image")

func corrupt(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.OperationFailed, format, args...).WithCause(errImageCorrupt)
}

// readImage reads header and data; the file stands at QEMU's part then.
func readImage(f io.Reader) (*saveImage, error) {
	raw := make([]byte, imageSize)
	if _, err := io.ReadFull(f, raw); err != nil {
		return nil, corrupt("failed to read qemu header")
	}
	img := &saveImage{order: binary.NativeEndian}
	_ = binary.Read(bytes.NewReader(raw), img.order, &img.header)
	switch string(img.header.Magic[:]) {
	case imageMagic:
	case imagePartial:
		return nil, corrupt("save image is incomplete")
	default:
		return nil, corrupt("image magic is incorrect")
	}
	if img.header.Version > imageVersion {
		img.order = swapped() // from a host of the other byte order
		_ = binary.Read(bytes.NewReader(raw), img.order, &img.header)
	}
	h := &img.header
	if h.Version > imageVersion {
		return nil, liberr.New(liberr.FromQemu, liberr.OperationFailed, "image version is not supported (%d > %d)", h.Version, imageVersion)
	}
	if h.DataLen == 0 || h.DataLen > imageDataMax {
		return nil, liberr.New(liberr.FromQemu, liberr.OperationFailed, "invalid header data length: %d", int32(h.DataLen))
	}
	if h.Cookie > h.DataLen {
		return nil, liberr.New(liberr.FromQemu, liberr.OperationFailed, "invalid cookie offset: %d", h.Cookie)
	}
	data := make([]byte, h.DataLen)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, liberr.New(liberr.FromQemu, liberr.OperationFailed, "failed to read domain XML")
	}
	xml := data
	if h.Cookie > 0 {
		xml = data[:h.Cookie]
		img.cookie, _, _ = strings.Cut(string(data[h.Cookie:]), "\x00")
	}
	img.xml, _, _ = strings.Cut(string(xml), "\x00")
	return img, nil
}

func swapped() binary.ByteOrder {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// openImage opens a save image; the caller closes the file.
func openImage(path string, write bool) (*saveImage, *os.File, error) {
	mode := os.O_RDONLY
	if write {
		mode = os.O_RDWR
	}
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, nil, liberr.System(liberr.FromQemu, err, "Failed to open file '%s'", path)
	}
	img, err := readImage(f)
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return img, f, nil
}

// newImage makes the image of a definition, with room for a longer one.
func newImage(xml, cookie string, running bool, format imageFormat) *saveImage {
	img := &saveImage{order: binary.NativeEndian, xml: xml, cookie: cookie}
	h := &img.header
	h.Version, h.Format = imageVersion, uint32(format)
	if running {
		h.Running = 1
	}
	h.DataLen = uint32(len(xml) + 1 + imagePad)
	if cookie != "" {
		h.Cookie = uint32(len(xml) + 1)
		h.DataLen += uint32(len(cookie) + 1)
	}
	return img
}

// setXML puts another definition into an image whose data keep their length.
func (img *saveImage) setXML(xml string) error {
	need := len(xml) + 1
	if img.cookie != "" {
		need += len(img.cookie) + 1
	}
	if need > int(img.header.DataLen) {
		return liberr.New(liberr.FromQemu, liberr.OperationFailed, "new xml too large to fit in file")
	}
	img.xml = xml
	if img.cookie != "" {
		img.header.Cookie = uint32(len(xml) + 1)
	}
	return nil
}

// write puts header and data at the beginning of the file. Until finish the image counts as incomplete.
func (img *saveImage) write(f io.Writer, magic string) error {
	copy(img.header.Magic[:], magic)
	var b bytes.Buffer
	_ = binary.Write(&b, img.order, &img.header)
	b.WriteString(img.xml)
	b.WriteByte(0)
	b.WriteString(img.cookie)
	b.Write(make([]byte, imageSize+int(img.header.DataLen)-b.Len()))
	_, err := f.Write(b.Bytes())
	return err
}

// finish marks the image as complete and makes it durable.
func (img *saveImage) finish(f *os.File) error {
	if _, err := f.WriteAt([]byte(imageMagic), 0); err != nil {
		return err
	}
	return f.Sync()
}

// program is the command that compresses or, with back, restores; nil for raw.
func (f imageFormat) program(back bool) ([]string, error) {
	if f == 0 {
		return nil, nil
	}
	if int(f) >= len(imageFormats) {
		return nil, liberr.New(liberr.FromQemu, liberr.OperationFailed, "Invalid compressed save format %d", f)
	}
	flag := "-c"
	if back {
		flag = "-dc"
	}
	return []string{imageFormats[f], flag}, nil
}

// cookieXML is what libvirt keeps in an image beside the definition: the CPU that the guest saw.
func cookieXML(cpu string) string {
	if cpu == "" {
		return ""
	}
	return fmt.Sprintf("<cookie>\n%s  <slirpHelper/>\n</cookie>\n", cpu)
}

// cpuElement cuts the CPU out of a printed definition.
func cpuElement(xml string) string {
	start := strings.Index(xml, "  <cpu ")
	if start < 0 {
		return ""
	}
	rest := xml[start:]
	line, _, _ := strings.Cut(rest, "\n")
	if strings.HasSuffix(line, "/>") {
		return line + "\n"
	}
	end := strings.Index(rest, "  </cpu>\n")
	if end < 0 {
		return ""
	}
	return rest[:end+len("  </cpu>\n")]
}
