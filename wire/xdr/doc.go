// Package xdr encodes and decodes the part of XDR (RFC 4506) that libvirt's protocol uses, without
// reflection.
//
// Encoding appends to a byte slice the caller owns, so a packet is built in one buffer. Decoding walks
// a byte slice with a sticky error: a generated decoder reads all its fields and asks for the error
// once. Lengths are checked against the protocol's limit and against the bytes that are left before
// anything is allocated, so a hostile length costs nothing.
//
// All integers are big endian; everything is padded to four bytes. char, uchar, short and ushort take
// a whole unit each, also inside arrays.
package xdr
