package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"reflect"
	"testing"

	"virtree/wire/xdr"
)

// fill sets v to random values that keep every limit of the protocol (small ones do for all).
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if r.Intn(2) == 0 {
			v.SetZero()
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem())
	case reflect.Struct:
		if f := v.FieldByName("Type"); f.IsValid() && v.Type() == reflect.TypeFor[TypedParamValue]() {
			fillTypedParam(r, v)
			return
		}
		for i := range v.NumField() {
			fill(r, v.Field(i))
		}
	case reflect.Slice:
		n := r.Intn(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		v.SetString(fmt.Sprint(r.Intn(1000)))
	case reflect.Int32, reflect.Int64, reflect.Int16:
		v.SetInt(int64(int16(r.Uint32())))
	case reflect.Uint32, reflect.Uint64, reflect.Uint16, reflect.Uint8:
		v.SetUint(uint64(uint8(r.Uint32())))
	case reflect.Float64:
		v.SetFloat(r.NormFloat64())
	default:
		panic(v.Type())
	}
}

// fillTypedParam sets the one arm that the discriminant names.
func fillTypedParam(r *rand.Rand, v reflect.Value) {
	typ := 1 + r.Intn(7)
	v.FieldByName("Type").SetInt(int64(typ))
	fill(r, v.Field(typ))
}

// TestEveryTypeRoundTrips encodes and decodes random values of every generated type, and checks that
// every shorter payload is refused and none makes a decoder read past its end.
func TestEveryTypeRoundTrips(t *testing.T) {
	if len(allTypes) < 600 {
		t.Fatalf("only %d types", len(allTypes))
	}
	for _, typ := range allTypes {
		r := rand.New(rand.NewSource(int64(len(typ.name))))
		for range 20 {
			in, back := typ.make(), typ.make()
			fill(r, reflect.ValueOf(in).Elem())
			b := in.AppendXDR(nil)
			if err := Unmarshal(b, back); err != nil {
				t.Fatalf("%s: %v", typ.name, err)
			}
			if !reflect.DeepEqual(in, back) {
				t.Fatalf("%s: %+v came back as %+v", typ.name, in, back)
			}
			for n := 0; n < len(b); n += 4 {
				if Unmarshal(b[:n], typ.make()) == nil {
					t.Fatalf("%s: %d of %d bytes were accepted", typ.name, n, len(b))
				}
			}
		}
	}
}

func TestLimitsAreEnforced(t *testing.T) {
	over := xdr.AppendUint32(nil, RemoteDomainListMax+1)
	over = append(over, make([]byte, 4*(RemoteDomainListMax+1))...)
	over = xdr.AppendUint32(over, 0)
	if err := Unmarshal(over, new(ConnectListDomainsRet)); !errors.Is(err, xdr.ErrLimit) {
		t.Fatalf("got %v", err)
	}
	hostile := []byte{0, 0, 0x3f, 0xff} // a legal count with nothing behind it
	n := testing.AllocsPerRun(10, func() {
		if Unmarshal(hostile, new(ConnectListAllDomainsRet)) == nil {
			t.Error("accepted")
		}
	})
	if n > 4 {
		t.Fatalf("%v allocations for a hostile count", n)
	}
}

func TestLookup(t *testing.T) {
	p, err := Lookup(RemoteProgram, 1, 212)
	if err != nil || p != DomainGetState.Procedure || p.Name != "DOMAIN_GET_STATE" || p.API != "virDomainGetState" {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, c := range []struct {
		prog, vers uint32
		proc       int32
		want       error
	}{{1, 1, 1, ErrProgram}, {RemoteProgram, 2, 1, ErrVersion}, {RemoteProgram, 1, 0, ErrProcedure},
		{RemoteProgram, 1, -1, ErrProcedure}, {RemoteProgram, 1, 100000, ErrProcedure}} {
		if _, err := Lookup(c.prog, c.vers, c.proc); !errors.Is(err, c.want) {
			t.Errorf("%+v: got %v", c, err)
		}
	}
	total := 0
	for prog := range tables {
		total += len(Procedures(prog))
	}
	if total != 498 {
		t.Errorf("%d procedures, want 498", total)
	}
}

func TestPeek(t *testing.T) {
	dom := Domain{Name: "web", UUID: UUID{1, 2, 3}, ID: 7}
	args := (&DomainGetStateArgs{Dom: dom}).AppendXDR(nil)
	if u, ok := DomainGetState.PeekUUID(args); !ok || u != dom.UUID {
		t.Fatal("domain", u, ok)
	}
	if n, ok := DomainGetState.PeekName(args); !ok || n != "web" {
		t.Fatal("domain name", n, ok)
	}
	snap := (&DomainSnapshotGetXMLDescArgs{Snap: DomainSnapshot{Name: "s1", Dom: dom}}).AppendXDR(nil)
	if u, ok := DomainSnapshotGetXMLDesc.PeekUUID(snap); !ok || u != dom.UUID {
		t.Fatal("snapshot", u, ok)
	}
	if _, ok := DomainGetState.PeekUUID(args[:8]); ok {
		t.Fatal("a short payload has a UUID")
	}
	if n := testing.AllocsPerRun(100, func() { DomainGetState.PeekUUID(args) }); n != 0 {
		t.Fatalf("PeekUUID allocates %v", n)
	}
}

func TestReadOnlyConditions(t *testing.T) {
	xml := func(flags uint32) []byte { return (&DomainGetXMLDescArgs{Flags: flags}).AppendXDR(nil) }
	if DomainGetXMLDesc.RefusedReadOnly(xml(0)) || !DomainGetXMLDesc.RefusedReadOnly(xml(1)) || !DomainGetXMLDesc.RefusedReadOnly(xml(8)) {
		t.Error("virDomainGetXMLDesc")
	}
	if !DomainDestroy.RefusedReadOnly(nil) || DomainGetInfo.RefusedReadOnly(nil) {
		t.Error("unconditional ones")
	}
}

// FuzzArguments decodes arbitrary bytes as every type: none may panic, and what decodes must encode to
// something that decodes to the same.
func FuzzArguments(f *testing.F) {
	r := rand.New(rand.NewSource(1))
	for i, typ := range allTypes {
		if i%25 == 0 {
			v := typ.make()
			fill(r, reflect.ValueOf(v).Elem())
			f.Add(uint16(i), v.AppendXDR(nil))
		}
	}
	f.Fuzz(func(t *testing.T, which uint16, b []byte) {
		typ := allTypes[int(which)%len(allTypes)]
		v := typ.make()
		if Unmarshal(b, v) != nil {
			return
		}
		again := v.AppendXDR(nil)
		w := typ.make()
		if err := Unmarshal(again, w); err != nil || !bytes.Equal(again, w.AppendXDR(nil)) {
			t.Fatalf("%s: %v", typ.name, err)
		}
	})
}
