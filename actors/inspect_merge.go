package actors

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// label puts a label on every line of a family.
func label(family *dto.MetricFamily, name, value string) {
	for _, m := range family.Metric {
		m.Label = append(m.Label, &dto.LabelPair{Name: &name, Value: &value})
		slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	}
}

// MergeMetrics makes one page of the pages of several processes: a name may head only one block.
func MergeMetrics(pages [][]byte) ([]byte, error) {
	all := map[string]*dto.MetricFamily{}
	for _, page := range pages {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
		if err != nil {
			return nil, err
		}
		for name, f := range families {
			if have := all[name]; have != nil {
				have.Metric = append(have.Metric, f.Metric...)
			} else {
				all[name] = f
			}
		}
	}
	var out bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if _, err := expfmt.MetricFamilyToText(&out, all[name]); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}
