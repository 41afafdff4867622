package rules

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// batch is one transaction of nf_tables as it goes over netlink.
//
// It is written here and not by nftables.Conn because that asks for an echo and an acknowledgement of every rule, which
// takes longer than all else and overflows the socket when there are many, and because it cannot say which protocol a
// match of ebtables is for. Expressions are the library's.
type batch struct {
	buf    []byte
	seq    uint32
	sets   uint32 // sets without name
	cached map[cachedMatch][]byte
}

type cachedMatch struct {
	match  match
	family nftables.TableFamily
	six    bool
}

func newBatch() *batch {
	b := &batch{cached: map[cachedMatch][]byte{}}
	b.control(unix.NFNL_MSG_BATCH_BEGIN)
	return b
}

// messageHead is a netlink header and nfnetlink's.
const messageHead = unix.SizeofNlMsghdr + 4

// begin starts a message; end, with what begin gave, ends it.
func (b *batch) begin(kind uint16, flags uint16, family nftables.TableFamily, resource uint16) int {
	at := len(b.buf)
	b.buf = append(b.buf, 0, 0, 0, 0) // length
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, unix.NLM_F_REQUEST|flags)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, b.seq)
	b.buf = append(b.buf, 0, 0, 0, 0, byte(family), unix.NFNETLINK_V0)
	b.buf = binary.BigEndian.AppendUint16(b.buf, resource)
	b.seq++
	return at
}

func (b *batch) end(at int) {
	binary.NativeEndian.PutUint32(b.buf[at:], uint32(len(b.buf)-at))
}

func (b *batch) control(kind uint16) {
	b.end(b.begin(kind, 0, unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES))
}

func (b *batch) message(kind int, flags uint16, t *nftables.Table) int {
	return b.begin(unix.NFNL_SUBSYS_NFTABLES<<8|uint16(kind), flags, t.Family, 0)
}

// open starts an attribute that has others in it.
func (b *batch) open(kind uint16) int {
	at := len(b.buf)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, 0)
	binary.NativeEndian.PutUint16(b.buf[at+2:], kind|unix.NLA_F_NESTED)
	return at
}

func (b *batch) close(at int) { binary.NativeEndian.PutUint16(b.buf[at:], uint16(len(b.buf)-at)) }

func (b *batch) bytes(kind uint16, data []byte) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(4+len(data)))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
	b.buf = append(b.buf, data...)
	b.pad()
}

func (b *batch) pad() {
	for len(b.buf)%4 != 0 {
		b.buf = append(b.buf, 0)
	}
}

func (b *batch) str(kind uint16, s string) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(5+len(s)))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
	b.buf = append(append(b.buf, s...), 0)
	b.pad()
}

func (b *batch) u32(kind uint16, n uint32) {
	b.bytes(kind, binary.BigEndian.AppendUint32(nil, n))
}

func (b *batch) addTable(t *nftables.Table) {
	at := b.message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, t)
	b.str(unix.NFTA_TABLE_NAME, t.Name)
	b.u32(unix.NFTA_TABLE_FLAGS, 0)
	b.end(at)
}

func (b *batch) deleteTable(t *nftables.Table) {
	at := b.message(unix.NFT_MSG_DELTABLE, 0, t)
	b.str(unix.NFTA_TABLE_NAME, t.Name)
	b.end(at)
}

// addPortMap adds a map from the name of a link to a verdict.
func (b *batch) addPortMap(t *nftables.Table, name string, id uint32) {
	at := b.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, t)
	b.str(unix.NFTA_SET_TABLE, t.Name)
	b.str(unix.NFTA_SET_NAME, name)
	b.u32(unix.NFTA_SET_FLAGS, unix.NFT_SET_MAP)
	b.u32(unix.NFTA_SET_KEY_TYPE, nftables.TypeIFName.GetNFTMagic())
	b.u32(unix.NFTA_SET_KEY_LEN, unix.IFNAMSIZ)
	b.u32(unix.NFTA_SET_DATA_TYPE, unix.NFT_DATA_VERDICT)
	b.u32(unix.NFTA_SET_DATA_LEN, 0)
	b.u32(unix.NFTA_SET_ID, id)
	// For nft, which prints names the wrong way round unless told that keys are in the host's order.
	b.bytes(unix.NFTA_SET_USERDATA, binary.NativeEndian.AppendUint32([]byte{0, 4}, 1))
	b.end(at)
}

// elementsAtOnce is how many elements of a map go into one message, whose attributes have lengths of 16 bits.
const elementsAtOnce = 256

// elements adds ports to a map or takes them out; chains says where packets of each port are to go on.
func (b *batch) elements(t *nftables.Table, set string, ports []string, chains map[string]string) {
	for len(ports) > 0 {
		n := min(elementsAtOnce, len(ports))
		kind, flags := unix.NFT_MSG_DELSETELEM, uint16(0)
		if chains != nil {
			kind, flags = unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE
		}
		at := b.message(kind, flags, t)
		b.str(unix.NFTA_SET_ELEM_LIST_TABLE, t.Name)
		b.str(unix.NFTA_SET_ELEM_LIST_SET, set)
		list := b.open(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		for _, port := range ports[:n] {
			element := b.open(unix.NFTA_LIST_ELEM)
			key := b.open(unix.NFTA_SET_ELEM_KEY)
			name := make([]byte, unix.IFNAMSIZ)
			copy(name, port)
			b.bytes(unix.NFTA_DATA_VALUE, name)
			b.close(key)
			if chains != nil {
				data := b.open(unix.NFTA_SET_ELEM_DATA)
				verdict := b.open(unix.NFTA_DATA_VERDICT)
				code := int32(expr.VerdictGoto)
				b.u32(unix.NFTA_VERDICT_CODE, uint32(code))
				b.str(unix.NFTA_VERDICT_CHAIN, chains[port])
				b.close(verdict)
				b.close(data)
			}
			b.close(element)
		}
		b.close(list)
		b.end(at)
		ports = ports[n:]
	}
}

// spansName is the name of every set without one, as the kernel wants it.
const spansName = "__set%d"

// addSpans adds a set without name, for the next rule, and gives its number.
func (b *batch) addSpans(t *nftables.Table, of nftables.SetDatatype, length uint8, spans []span) (id uint32) {
	b.sets++
	id = firstSet + b.sets
	at := b.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, t)
	b.str(unix.NFTA_SET_TABLE, t.Name)
	b.str(unix.NFTA_SET_NAME, spansName)
	b.u32(unix.NFTA_SET_FLAGS, unix.NFT_SET_ANONYMOUS|unix.NFT_SET_CONSTANT|unix.NFT_SET_INTERVAL)
	b.u32(unix.NFTA_SET_KEY_TYPE, of.GetNFTMagic())
	b.u32(unix.NFTA_SET_KEY_LEN, uint32(length))
	b.u32(unix.NFTA_SET_ID, id)
	b.end(at)
	for len(spans) > 0 {
		n := min(spansAtOnce, len(spans))
		at := b.message(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, t)
		b.str(unix.NFTA_SET_ELEM_LIST_TABLE, t.Name)
		b.str(unix.NFTA_SET_ELEM_LIST_SET, spansName)
		b.u32(unix.NFTA_SET_ELEM_LIST_SET_ID, id)
		list := b.open(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		for _, s := range spans[:n] {
			b.element(s.lo[:length], 0)
			if next, over := after(s.hi, length); !over {
				b.element(next[:length], unix.NFT_SET_ELEM_INTERVAL_END)
			}
		}
		b.close(list)
		b.end(at)
		spans = spans[n:]
	}
	return id
}

func (b *batch) element(key []byte, flags uint32) {
	at := b.open(unix.NFTA_LIST_ELEM)
	if flags != 0 {
		b.u32(unix.NFTA_SET_ELEM_FLAGS, flags)
	}
	k := b.open(unix.NFTA_SET_ELEM_KEY)
	b.bytes(unix.NFTA_DATA_VALUE, key)
	b.close(k)
	b.close(at)
}

// firstSet is above the numbers of the maps of ports.
const firstSet = 1000

// spansAtOnce is how many spans go into one message.
const spansAtOnce = 500

// addChain adds a chain; one at a hook if there is one.
func (b *batch) addChain(t *nftables.Table, name string, hook *nftables.ChainHook, priority nftables.ChainPriority) {
	at := b.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, t)
	b.str(unix.NFTA_CHAIN_TABLE, t.Name)
	b.str(unix.NFTA_CHAIN_NAME, name)
	if hook != nil {
		h := b.open(unix.NFTA_CHAIN_HOOK)
		b.u32(unix.NFTA_HOOK_HOOKNUM, uint32(*hook))
		b.u32(unix.NFTA_HOOK_PRIORITY, uint32(priority))
		b.close(h)
		b.str(unix.NFTA_CHAIN_TYPE, string(nftables.ChainTypeFilter))
	}
	b.end(at)
}

func (b *batch) deleteChain(t *nftables.Table, name string) {
	at := b.message(unix.NFT_MSG_DELCHAIN, 0, t)
	b.str(unix.NFTA_CHAIN_TABLE, t.Name)
	b.str(unix.NFTA_CHAIN_NAME, name)
	b.end(at)
}

// flush deletes the rules of a chain.
func (b *batch) flush(t *nftables.Table, chain string) {
	at := b.message(unix.NFT_MSG_DELRULE, 0, t)
	b.str(unix.NFTA_RULE_TABLE, t.Name)
	b.str(unix.NFTA_RULE_CHAIN, chain)
	b.end(at)
}

// beginRule starts a rule of a chain; exprs follow, and endRule.
func (b *batch) beginRule(t *nftables.Table, chain string) (at [2]int) {
	at[0] = b.message(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, t)
	b.str(unix.NFTA_RULE_TABLE, t.Name)
	b.str(unix.NFTA_RULE_CHAIN, chain)
	at[1] = b.open(unix.NFTA_RULE_EXPRESSIONS)
	return at
}

// endRule ends it. proto is the protocol that a match of ebtables is for, or 0.
func (b *batch) endRule(at [2]int, userData []byte, proto uint16) {
	b.close(at[1])
	if proto != 0 {
		c := b.open(unix.NFTA_RULE_COMPAT)
		b.u32(unix.NFTA_RULE_COMPAT_PROTO, uint32(proto))
		b.u32(unix.NFTA_RULE_COMPAT_FLAGS, 0)
		b.close(c)
	}
	if userData != nil {
		b.bytes(unix.NFTA_RULE_USERDATA, userData)
	}
	b.end(at[0])
}

// exprs appends expressions to a rule.
func (b *batch) exprs(family nftables.TableFamily, list ...expr.Any) error {
	for _, e := range list {
		data, err := expr.Marshal(byte(family), e)
		if err != nil {
			return err
		}
		b.bytes(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, data)
	}
	return nil
}

// addRule adds a rule that is no filter's.
func (b *batch) addRule(t *nftables.Table, chain string, list ...expr.Any) error {
	at := b.beginRule(t, chain)
	if err := b.exprs(t.Family, list...); err != nil {
		return err
	}
	b.endRule(at, nil, 0)
	return nil
}

// empty tells whether nothing has been asked for.
func (b *batch) empty() bool { return len(b.buf) <= messageHead }

// maxSend is the kernel's limit of a socket's buffer, halved by its own accounting.
const maxSend = 1<<30 - 1

// commit sends the transaction and waits for what the kernel says. It is done as a whole or not at all.
func (b *batch) commit() error {
	b.control(unix.NFNL_MSG_BATCH_END)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, min(maxSend, 2*len(b.buf)+1<<16)); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	if err := unix.Sendto(fd, b.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	// The kernel has done it by now. It says nothing but what is wrong.
	answer := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(fd, answer, 0)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("netlink: %w", err)
		}
		for rest := answer[:n]; len(rest) >= unix.SizeofNlMsghdr+4; {
			size := int(binary.NativeEndian.Uint32(rest))
			if binary.NativeEndian.Uint16(rest[4:]) == unix.NLMSG_ERROR {
				if errno := int32(binary.NativeEndian.Uint32(rest[unix.SizeofNlMsghdr:])); errno != 0 {
					return fmt.Errorf("nf_tables: %w", unix.Errno(-errno))
				}
			}
			rest = rest[min(len(rest), max((size+3)&^3, unix.SizeofNlMsghdr)):]
		}
	}
}
