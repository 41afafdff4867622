// Package xmltree reads the XML documents that clients send, and those that lie on disk, into small trees, and prints trees
// as libvirt does. Every driver reads with it, so that a document which is no XML is refused in the same words by all.
//
// libvirt reads with libxml2, and hands libxml2's complaint to the client: the line, what is wrong, the line's text and an
// arrow below the place. Scripts and people compare those, so the scanner here finds the same fault first and points at the
// same place. It is no port: it knows no validation, loads nothing from outside and builds only what drivers look at.
//
//	parse.go      Reader and Scan; limits; the order of a document's parts
//	element.go    tags, attributes and namespaces
//	name.go       names
//	text.go       characters, references, CDATA
//	aside.go      comments and processing instructions
//	prolog.go     the XML declaration, the document type
//	entity.go     what its entities stand for, within bounds
//	syntax.go     SyntaxError: libvirt's form of a complaint
//	node.go       Node: looking
//	edit.go       Node: changing
//	metadata.go   <metadata>: what is kept of it, its pieces
//	values.go     what attributes and texts hold: UUIDs, addresses; complaints about them
//	print.go      trees as libvirt's buffers print them; metadata as libxml2 prints it
package xmltree
