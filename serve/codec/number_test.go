package codec

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// checkFloat compares what float32 reads with what strconv does.
func checkFloat(t interface {
	Helper()
	Errorf(string, ...any)
}, text string) {
	t.Helper()
	r := &Reader{text: []byte(text)}
	got, wrong := r.float32()
	want, err := strconv.ParseFloat(text, 32)
	if err != nil {
		if wrong != tooLarge {
			t.Errorf("%s: %v %q, want it refused as too large", text, got, wrong)
		}
		return
	}
	if wrong != "" || math.Float32bits(got) != math.Float32bits(float32(want)) {
		t.Errorf("%s: %v (%x) %q, want %v (%x)", text, got, math.Float32bits(got), wrong, float32(want), math.Float32bits(float32(want)))
	}
	if r.at != len(text) {
		t.Errorf("%s: read %d of %d bytes", text, r.at, len(text))
	}
}

func TestFloatsAreTheNearest(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"0", "-0", "0.0", "-0.0e5", "0e99", "1", "-1", "0.1", "1e22", "1e23", "1E+2", "1e-45", "7e-46", "1e-46",
		"1.1754943508222875e-38", "1.1754942e-38", "3.4028234663852886e38", "3.4028235677973366e38", "3.4028235e38",
		"3.4028236e38", "1e39", "-1e39", "1e400", "1e-400", "16777217", "16777219", "33554434.0000000001", "9007199254740993",
		"12345678901234567890", "123456789012345678901234567890", "0.00000000000000000000000000000000000000000000011",
		"1.00000017881393432617187499", "1.00000017881393432617187500", "1.00000017881393432617187501", "9999999999999999999", "0.9999999999999999999",
		"1000000000000000000000000000000000000000000e-40", "1e99999999999999999999", "1e-99999999999999999999",
	} {
		checkFloat(t, text)
	}
}

func TestFloatsNearMidpointsAreTheNearest(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		// A number halfway between two float32, cut to a length at which the
		// rounding to float64 may fall on the midpoint.
		low := math.Float32frombits(random.Uint32N(0x7f000000))
		high := math.Nextafter32(low, math.MaxFloat32)
		middle := (float64(low) + float64(high)) / 2
		checkFloat(t, strconv.FormatFloat(middle, 'e', 4+random.IntN(16), 64))
		if t.Failed() {
			return
		}
	}
}

func TestFloatsOfAnyFormAreTheNearest(t *testing.T) {
	t.Parallel()
	form := rapid.StringMatching(`-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?`)
	rapid.Check(t, func(t *rapid.T) { checkFloat(t, form.Draw(t, "text")) })
}

func TestWrittenFloatsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := math.Float32frombits(rapid.Uint32().Draw(t, "bits"))
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			t.Skip("not a finite number")
		}
		text := appendFloat32(nil, v)
		got, wrong := (&Reader{text: text}).float32()
		if wrong != "" || math.Float32bits(got) != math.Float32bits(v) {
			t.Errorf("%x was written as %s and read as %x %q", math.Float32bits(v), text, math.Float32bits(got), wrong)
		}
	})
}

func TestWholeNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text  string
		want  int64
		wrong string
	}{
		{text: "0"}, {text: "-0"}, {text: "12", want: 12}, {text: "-7", want: -7},
		{text: "9223372036854775807", want: math.MaxInt64}, {text: "-9223372036854775808", want: math.MinInt64},
		{text: "9223372036854775808", wrong: tooWide}, {text: "-9223372036854775809", wrong: tooWide},
		{text: "18446744073709551616", wrong: tooWide}, {text: "99999999999999999999999999", wrong: tooWide},
		{text: "1.0", wrong: fraction}, {text: "10.5", wrong: fraction}, {text: "1e3", wrong: fraction}, {text: "-2E-1", wrong: fraction},
		{text: "1.", wrong: grammar}, {text: "1e", wrong: grammar}, {text: "-", wrong: grammar}, {text: "+1", wrong: grammar}, {text: "", wrong: grammar},
	} {
		got, wrong := (&Reader{text: []byte(c.text)}).int64()
		if got != c.want || wrong != c.wrong {
			t.Errorf("%q: %d %q, want %d %q", c.text, got, wrong, c.want, c.wrong)
		}
	}
}

func FuzzFloat(f *testing.F) {
	for _, seed := range []string{"1.5", "-0", "1e400", "0.000001", "1e", ".5", "16777217"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := &Reader{text: []byte(text)}
		if _, wrong := r.float32(); wrong == "" || wrong == tooLarge {
			checkFloat(t, text[:r.at])
		}
	})
}
