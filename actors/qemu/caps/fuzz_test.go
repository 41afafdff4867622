package caps

import (
	"encoding/json"
	"testing"
)

func FuzzParseCPU(f *testing.F) {
	for _, doc := range comparedCPUs {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		for _, host := range []bool{true, false} {
			def, err := ParseCPU(doc, host)
			if err != nil {
				continue
			}
			if def.Host && (def.Model == "" || !ValidArch(def.Arch)) {
				t.Errorf("%q is a host without model or architecture", doc)
			}
			if def.Host {
				Baseline([]string{doc, doc}, true, true)
			}
			CompareCPU(doc, true)
		}
	})
}

// A schema comes from the binary, which is not ours to trust.
func FuzzSchema(f *testing.F) {
	f.Add([]byte(`[{"name":"q","meta-type":"command","arg-type":"1","ret-type":"1"},{"name":"1","meta-type":"object","members":[{"name":"a","type":"1"}]}]`), "q/a/a/^x")
	f.Add([]byte(`[{"name":"1","meta-type":"array","element-type":"2"},{"name":"2","meta-type":"array","element-type":"1"},{"name":"q","meta-type":"command","arg-type":"1"}]`), "q/a")
	f.Fuzz(func(t *testing.T, raw []byte, query string) {
		s, err := parseSchema(json.RawMessage(raw))
		if err != nil {
			return
		}
		s.args()
		s.events()
		s.has(query)
	})
}
