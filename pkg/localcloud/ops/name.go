package ops

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
)

// RunName returns a new operation's name as Cloud Run makes them. parent is
// projects/P/locations/L.
func RunName(parent string) string { return parent + "/operations/" + UUID() }

// VertexName returns a new operation's name as Vertex AI makes them. resource is
// the model or endpoint that the operation is about.
func VertexName(resource string) string { return resource + "/operations/" + Digits(19) }

// UUID returns a random UUID of version 4.
func UUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: it ends the program instead
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// Digits returns n random decimal digits, at most 19, the first of them not 0.
func Digits(n int) string {
	low := uint64(1)
	for range n - 1 {
		low *= 10
	}
	var b [8]byte
	rand.Read(b[:])
	return strconv.FormatUint(low+binary.BigEndian.Uint64(b[:])%(low*9), 10)
}
