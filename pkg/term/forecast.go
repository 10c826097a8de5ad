package term

import (
	"math"

	"github.com/guptarohit/asciigraph"
)

// Series are one server's past and its forecast, in the unit of the metric.
type Series struct {
	History       []float64 // one value a step, the last one is now
	P10, P50, P90 []float64 // one value a step from now on
}

// Forecast draws s as lines over width columns with caption below. Steps are
// thinned or stretched to the width evenly, so history and forecast keep their proportion.
func Forecast(s Series, width int, caption string, colour bool) string {
	pad := func(before int, values []float64, after int) []float64 {
		out := make([]float64, 0, before+len(values)+after)
		for range before {
			out = append(out, math.NaN())
		}
		out = append(out, values...)
		for range after {
			out = append(out, math.NaN())
		}
		return out
	}
	past, ahead := len(s.History), len(s.P50)
	lines := [][]float64{
		pad(past, s.P90, 0), pad(past, s.P10, 0), pad(past, s.P50, 0), pad(0, s.History, ahead),
	}
	plot := max(20, width-12) // the axis and its labels take the rest
	for i := range lines {
		lines[i] = thin(lines[i], plot)
	}
	opts := []asciigraph.Option{
		asciigraph.Height(12), asciigraph.Caption(caption), asciigraph.LowerBound(0), asciigraph.Precision(0),
	}
	if colour {
		opts = append(opts,
			asciigraph.SeriesColors(asciigraph.Red, asciigraph.Green, asciigraph.Blue, asciigraph.Default),
			asciigraph.SeriesLegends("p90", "p10", "p50", "history"))
	} else {
		opts = append(opts, asciigraph.SeriesChars(
			asciigraph.CreateCharSet("^"), asciigraph.CreateCharSet("."), asciigraph.CreateCharSet("o"), asciigraph.DefaultCharSet))
	}
	return asciigraph.PlotMany(lines, opts...)
}

// thin returns width values of v, evenly spaced; v itself where it has no more.
func thin(v []float64, width int) []float64 {
	if len(v) <= width {
		return v
	}
	out := make([]float64, width)
	for i := range out {
		out[i] = v[i*(len(v)-1)/(width-1)]
	}
	return out
}
