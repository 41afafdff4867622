// Package image reads the headers of disk images: format, size, backing file, encryption, features.
//
// It opens nothing and starts nothing: the caller gives it a reader. It reads a bounded number of bytes (4 KiB of every
// image, never more than 64 KiB, and a backing file's name within the first MiB), whatever a header claims, and every
// number of a header is checked before it is used: an image comes from a guest's owner and may be hostile. A header that
// makes no sense gives what could be read of it and an error.
//
// Counterpart: src/storage_file/storage_file_probe.c.
package image
