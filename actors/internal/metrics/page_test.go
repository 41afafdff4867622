package metrics

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"virtree/wire/meter"
)

func TestAPageIsReadBackAsItWasMeant(t *testing.T) {
	p := NewPage("virtqemud")
	p.Family("empty", Gauge, "Has no sample.")
	p.Family("a_total", Counter, "Whole numbers.")
	p.Count(1<<63, "alpha", "x", "zeta", "y")
	p.Count(2)
	p.Family("b", Gauge, "Others.")
	p.Value(0.25, "domain", "a \"b\" \\ \n \xff \u00e9")
	p.Value(math.Inf(1), "domain", "inf")
	p.Value(-3, "domain", "n")
	var h meter.Histogram
	h.Observe(time.Microsecond)
	h.Observe(time.Minute)
	p.Family("c_seconds", Histogram, "Durations.")
	p.Durations(h.Read(), "class", "x")

	text := string(p.Bytes())
	for _, want := range []string{
		"# HELP a_total Whole numbers.\n# TYPE a_total counter\na_total{alpha=\"x\",daemon=\"virtqemud\",zeta=\"y\"} 9223372036854775808\na_total{daemon=\"virtqemud\"} 2\n",
		`b{daemon="virtqemud",domain="a \"b\" \\ \n ` + "\uFFFD \u00e9" + `"} 0.25`, `domain="inf"} +Inf`, `domain="n"} -3`,
		`c_seconds_bucket{class="x",daemon="virtqemud",le="2.5e-05"} 1`, `c_seconds_bucket{class="x",daemon="virtqemud",le="+Inf"} 2`,
		`c_seconds_sum{class="x",daemon="virtqemud"} 60.000001`, `c_seconds_count{class="x",daemon="virtqemud"} 2`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil || len(families) != 3 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	if got := families["b"].Metric[0].Label[1].GetValue(); got != "a \"b\" \\ \n \uFFFD \u00e9" {
		t.Errorf("%q", got)
	}
	if n := len(families["c_seconds"].Metric[0].Histogram.Bucket); n != len(meter.Bounds)+1 {
		t.Errorf("%d buckets", n)
	}
}

func TestPagesOfSeveralProcessesBecomeOne(t *testing.T) {
	for name, c := range map[string]struct {
		pages []string
		want  string
	}{
		"a name heads one block": {
			[]string{"# HELP a help\n# TYPE a gauge\na{daemon=\"x\"} 1\n", "", "# HELP a help\n# TYPE a gauge\na{daemon=\"y\"} 2\n# TYPE b counter\nb 3\n"},
			"# HELP a help\n# TYPE a gauge\na{daemon=\"x\"} 1\na{daemon=\"y\"} 2\n# TYPE b counter\nb 3\n",
		},
		"a histogram's lines stay with it": {
			[]string{"# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 2\nh_count 2\n"},
			"# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 2\nh_count 2\n",
		},
		"families without samples": {
			[]string{"# HELP a x\n# TYPE a gauge\n# HELP b x\n# TYPE b gauge\nb 1\n", "# HELP a x\n# TYPE a gauge\na 1\n"},
			"# HELP a x\n# TYPE a gauge\na 1\n# HELP b x\n# TYPE b gauge\nb 1\n",
		},
		"nothing": {nil, ""},
	} {
		var pages [][]byte
		for _, p := range c.pages {
			pages = append(pages, []byte(p))
		}
		if diff := cmp.Diff(c.want, string(Merge(pages))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestASourceReplacesItsPredecessor(t *testing.T) {
	var s Sources
	for _, v := range []float64{1, 2} {
		s.Set("a", func(p *Page) {
			p.Family("x", Gauge, "X.")
			p.Value(v)
		})
	}
	p := NewPage("d")
	s.Write(p)
	if got := string(p.Bytes()); !strings.HasSuffix(got, "x{daemon=\"d\"} 2\n") || strings.Count(got, "\n") != 3 {
		t.Error(got)
	}
}
