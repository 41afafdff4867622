// Command gen makes Go of the schema files below wire/: types, codecs and procedure descriptors of
// every program (wire/protocol), error codes (wire/liberr) and public constants (wire/virt).
//
// It is run by `go generate ./wire/...` (`make gen`), and `make check` fails when its output differs
// from what is checked in.
//
// A program's schema is line based; indented lines belong to the entry above them:
//
//	program NAME NUMBER VERSION
//	const NAME VALUE
//	struct NAME            then  FIELD TYPE
//	union NAME             then  discriminant FIELD int,  VALUE FIELD TYPE
//	enum NAME              then  NAME VALUE
//	KIND NUMBER NAME API ARGS RET [ATTRIBUTE...]
//	eventid OBJECT NAME VALUE PROCEDURE LEGACY-PROCEDURE
//
// TYPE is one of int uint hyper uhyper double char uchar short ushort uuid string<LIMIT> opaque<LIMIT>
// opaque[N] "opt TYPE" array<TYPE,LIMIT> fixed<TYPE,N> or the name of a struct, union or enum.
// KIND is call, event, message, stream-in, stream-out or stream-bidi.
// ATTRIBUTE is one of
//
//	high                   may not block: libvirt's own daemons answer it from reserved workers
//	noauth                 allowed before authentication
//	ro:allowed|refused     on a read-only connection; ro:FIELD&MASK and ro:FIELD=N refuse on a condition
//	acl:RULE,...           OBJECT:PERMISSION with an optional condition :flags&MASK, :flags!&MASK, :FIELD=N
//	filter:OBJECT:PERM     permission by which listed objects are filtered
//	fds:in:N,out:N         descriptors that travel with the call or its reply; n is any number
//	sparse:MASK            flag by which the stream may carry holes
//	driver:NAME            the part of the daemon that serves it
//	since:VERSION          libvirt's version that introduced the API
package main
