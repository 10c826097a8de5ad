package term_test

import (
	"strings"
	"testing"

	"github.com/tftctl/tftctl/pkg/term"
)

func TestTables(t *testing.T) {
	t.Parallel()
	head, rows := []string{"name", "n"}, [][]string{{"a", "1"}, {"longer", "2"}}
	for aligned, want := range map[bool]string{
		true:  "NAME    N\na       1\nlonger  2\n",
		false: "a\t1\nlonger\t2\n",
	} {
		var b strings.Builder
		if err := term.Table(&b, aligned, head, rows); err != nil || b.String() != want {
			t.Errorf("aligned %v: %q, %v; want %q", aligned, b.String(), err, want)
		}
	}
	var b strings.Builder
	if term.IsTerminal(&b) || term.Width(&b) != 80 {
		t.Error("a builder is taken for a terminal")
	}
}

func TestAForecastShowsPastAndFutureInProportion(t *testing.T) {
	t.Parallel()
	line := func(n int, v float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = v
		}
		return out
	}
	s := term.Series{History: line(300, 10), P10: line(100, 20), P50: line(100, 30), P90: line(100, 40)}
	got := term.Forecast(s, 92, "the caption", false)
	for _, want := range []string{"the caption", "^", "o", "."} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for text := range strings.Lines(got) {
		if n := len([]rune(text)); n > 92 {
			t.Errorf("a line of %d columns where 92 are there:\n%s", n, got)
		}
		// 80 columns of plot: three quarters are history, one is forecast.
		if n := strings.Count(text, "o"); n > 5 && (n < 18 || n > 22) {
			t.Errorf("the median has %d columns, want about 20:\n%s", n, got)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Error("colour where none was wanted")
	}
	if !strings.Contains(term.Forecast(s, 92, "c", true), "\x1b") {
		t.Error("no colour where it was wanted")
	}
}
