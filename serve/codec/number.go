package codec

import (
	"math"
	"strconv"
	"unsafe"
)

// What can be wrong with a number, as messages say it behind its text.
const (
	grammar  = "is not a JSON number"
	tooLarge = "is too large for float32"
	tooWide  = "is too large for int64"
	fraction = "has a fraction or an exponent, want a whole number"
)

// powers of ten that float64 holds exactly.
var tens = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// float32 reads a number and returns the float32 nearest to it, or what is
// wrong with it. A number too small for float32 becomes zero, as in strconv.
func (r *Reader) float32() (v float32, wrong string) {
	text, p := r.text, r.at
	start := p
	negative := p < len(text) && text[p] == '-'
	if negative {
		p++
	}

	// mantissa × 10^exponent is the number, as long as no digit is dropped.
	var mantissa uint64
	digits, exponent, dropped := 0, 0, false
	switch {
	case p < len(text) && text[p] == '0':
		p++
	case p < len(text) && '1' <= text[p] && text[p] <= '9':
		for ; p < len(text) && isDigit(text[p]); p++ {
			if digits == 19 { // 10^19 fits into uint64, 10^20 does not
				dropped = true
				continue
			}
			mantissa = mantissa*10 + uint64(text[p]-'0')
			digits++
		}
	default:
		r.at = p
		return 0, grammar
	}
	if p < len(text) && text[p] == '.' {
		p++
		first := p
		for ; p < len(text) && isDigit(text[p]); p++ {
			if digits == 19 {
				dropped = true
				continue
			}
			mantissa = mantissa*10 + uint64(text[p]-'0')
			if mantissa != 0 {
				digits++
			}
			exponent--
		}
		if p == first {
			r.at = p
			return 0, grammar
		}
	}
	if p < len(text) && text[p]|0x20 == 'e' {
		p++
		down := p < len(text) && text[p] == '-'
		if p < len(text) && (text[p] == '-' || text[p] == '+') {
			p++
		}
		first, e := p, 0
		for ; p < len(text) && isDigit(text[p]); p++ {
			e = min(e*10+int(text[p]-'0'), 1<<20)
		}
		if p == first {
			r.at = p
			return 0, grammar
		}
		if down {
			e = -e
		}
		exponent += e
	}
	r.at = p

	if !dropped && mantissa < 1<<53 && -len(tens) < exponent && exponent < len(tens) {
		if v, exact := narrow(scale(mantissa, exponent)); exact {
			if negative {
				v = -v
			}
			return v, ""
		}
	}
	// strconv keeps no hold of its argument but in an error, which is dropped here.
	slow, err := strconv.ParseFloat(unsafe.String(&text[start], p-start), 32)
	if err != nil {
		return 0, tooLarge
	}
	return float32(slow), ""
}

// scale returns mantissa × 10^exponent as float64, rounded once: both factors
// are exact.
func scale(mantissa uint64, exponent int) float64 {
	if exponent < 0 {
		return float64(mantissa) / tens[-exponent]
	}
	return float64(mantissa) * tens[exponent]
}

// narrow returns x, which is at least 0, as float32, and whether that is also
// what the number comes to whose rounding to float64 gave x. Rounding twice can
// only differ from rounding once where x lies exactly between two float32: for
// normal ones, where its last 29 bits are a one followed by zeros.
func narrow(x float64) (v float32, exact bool) {
	if x == 0 {
		return 0, true // only a mantissa of 0 gets here: 1e-22 is far above the smallest float64
	}
	if x < 0x1p-126 || x > math.MaxFloat32 || math.Float64bits(x)&(1<<29-1) == 1<<28 {
		return 0, false
	}
	return float32(x), true
}

// int64 reads a whole number, or returns what is wrong with it.
func (r *Reader) int64() (v int64, wrong string) {
	text, p := r.text, r.at
	negative := p < len(text) && text[p] == '-'
	if negative {
		p++
	}
	var n uint64
	overflow := false
	switch {
	case p < len(text) && text[p] == '0':
		p++
	case p < len(text) && '1' <= text[p] && text[p] <= '9':
		for ; p < len(text) && isDigit(text[p]); p++ {
			if n > (math.MaxUint64-9)/10 {
				overflow = true
				continue
			}
			n = n*10 + uint64(text[p]-'0')
		}
	default:
		r.at = p
		return 0, grammar
	}
	r.at = p
	if p < len(text) && (text[p] == '.' || text[p]|0x20 == 'e') {
		if _, wrong := (&Reader{text: text, at: p - 1}).float32(); wrong == grammar {
			return 0, grammar // 1.x is no number at all
		}
		for ; r.at < len(text) && isNumeric(text[r.at]); r.at++ {
		}
		return 0, fraction
	}
	switch {
	case overflow, !negative && n > math.MaxInt64, negative && n > 1<<63:
		return 0, tooWide
	case negative:
		return int64(-n), ""
	}
	return int64(n), ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isNumeric(c byte) bool {
	return isDigit(c) || c == '.' || c == '-' || c == '+' || c|0x20 == 'e'
}
