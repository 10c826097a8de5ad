package codec

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/tftctl/tftctl/pkg/fault"
)

// Reader reads one JSON text from front to back. It accepts what RFC 8259 does,
// but no bad UTF-8 in names; it never reads deeper than it is asked to, so
// nesting costs a sender nothing and us nothing.
type Reader struct {
	text []byte
	at   int
}

// NewReader returns a Reader of text, which must not change while it reads.
func NewReader(text []byte) *Reader { return &Reader{text: text} }

// Begin reads the opening '{' or '[' of the value at place.
func (r *Reader) Begin(open byte, place fmt.Stringer) error {
	if r.peek() == open {
		r.at++
		return nil
	}
	want := "an object"
	if open == '[' {
		want = "an array"
	}
	return r.mismatch(place, want)
}

// More tells whether the object or array that end closes has another member.
// It reads the comma before that member, or end. First is true before the
// first member.
func (r *Reader) More(first bool, end byte, place fmt.Stringer) (bool, error) {
	switch c := r.peek(); {
	case c == end:
		r.at++
		return false, nil
	case first:
		return true, nil
	case c == ',':
		r.at++
		return true, nil
	}
	return false, r.garbage(place)
}

// Name reads the name of an object's member and the colon behind it.
func (r *Reader) Name(place fmt.Stringer) (string, error) {
	name, err := r.name(place)
	return string(name), err
}

// End refuses anything but white space up to the end.
func (r *Reader) End() error {
	if r.peek(); r.at < len(r.text) {
		return fault.Newf(fault.Malformed, "byte %d: there is something behind the end of the JSON value", r.at).
			WithHint("send one JSON object and nothing else")
	}
	return nil
}

// name is Name without a copy: the result lies in the text, unless it has escapes.
func (r *Reader) name(place fmt.Stringer) ([]byte, error) {
	if r.peek() != '"' {
		return nil, r.garbage(place)
	}
	start, escaped := r.at+1, false
	for r.at++; ; r.at++ {
		if r.at >= len(r.text) {
			return nil, r.garbage(place)
		}
		c := r.text[r.at]
		if c == '"' {
			break
		}
		if c < ' ' {
			return nil, r.garbage(place)
		}
		if c == '\\' {
			escaped = true
			r.at++
		}
	}
	name := r.text[start:r.at]
	r.at++
	if !utf8.Valid(name) {
		return nil, fault.Newf(fault.Malformed, "%s: byte %d: a name is not UTF-8", place, start)
	}
	if escaped {
		var s string
		if err := json.Unmarshal(r.text[start-1:r.at], &s); err != nil {
			return nil, fault.Newf(fault.Malformed, "%s: byte %d: a name has a bad escape", place, start)
		}
		name = []byte(s)
	}
	if r.peek() != ':' {
		return nil, r.garbage(place)
	}
	r.at++
	return name, nil
}

// peek skips white space and returns the next byte, 0 at the end. A byte 0 in
// the text is no token either, so the two need no telling apart here.
func (r *Reader) peek() byte {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return c
		}
	}
	return 0
}

// garbage is the error for a byte that JSON does not allow here.
func (r *Reader) garbage(place fmt.Stringer) error {
	if r.at >= len(r.text) {
		return fault.Newf(fault.Malformed, "%s: the JSON text ends too soon, after %d bytes", place, len(r.text))
	}
	return fault.Newf(fault.Malformed, "%s: byte %d: unexpected %q", place, r.at, r.text[r.at:min(r.at+1, len(r.text))])
}

// mismatch is the error for a value of another type than want.
func (r *Reader) mismatch(place fmt.Stringer, want string) error {
	var found string
	switch c := r.peek(); {
	case c == '{':
		found = "an object"
	case c == '[':
		found = "an array"
	case c == '"':
		found = "a string"
	case c == '-' || '0' <= c && c <= '9':
		found = "a number"
	case c == 't' || c == 'f':
		found = "a boolean"
	case c == 'n':
		found = "null"
	default:
		return r.garbage(place)
	}
	return fault.Newf(fault.Invalid, "%s: want %s, found %s", place, want, found)
}

// Place is where in a request something stands, such as "instances[3]".
type Place struct {
	List  string
	Index int // -1: the list itself
}

// String returns the place as messages name it.
func (p Place) String() string {
	if p.Index < 0 {
		return p.List
	}
	return fmt.Sprintf("%s[%d]", p.List, p.Index)
}
