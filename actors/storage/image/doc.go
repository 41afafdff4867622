// Package image reads the headers of disk images: format, size, backing file, encryption, features.
//
// It opens nothing and starts nothing: the caller gives it a reader. It reads a bounded number of bytes (never more than
// 64 KiB at the front, and 1 MiB for a backing file's name that lies behind them), whatever a header claims, and every
// number of a header is checked before it is used: an image comes from a guest's owner and may be hostile. A header that
// makes no sense gives what could be read of it and an error.
//
// Counterpart: src/storage_file/storage_file_probe.c.
package image
