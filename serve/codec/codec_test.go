package codec_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve/codec"
	"github.com/tftctl/tftctl/serve/tensor"
)

var inputs = []model.Tensor{
	{Name: "encoder_cont", DType: model.Float32, Shape: []int{3, 2}},
	{Name: "cat", DType: model.Int64, Shape: []int{2}, Columns: []model.Column{{Name: "server", Categories: 5}, {Name: "hour"}}},
	{Name: "count", DType: model.Int64},
	{Name: "gruß", DType: model.Float32},
}

const good = `{"encoder_cont":[[1,2.5],[-3e2,0],[0.1,1e-3]],"cat":[4,-9],"count":12,"gruß":0.5}`

// read reads text as the only row and returns it.
func read(t testing.TB, text string) (tensor.Rows, error) {
	t.Helper()
	c, err := codec.Compile(inputs)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := tensor.New(inputs, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := codec.NewReader([]byte(text))
	if err := c.Row(r, rows, 0, codec.Place{List: "instances", Index: 3}); err != nil {
		return rows, err
	}
	return rows, r.End()
}

func TestRowsAreRead(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"plain":       good,
		"white space": " { \"encoder_cont\" : [ [ 1 , 2.5 ] ,\n[ -3e2,0 ],[0.1,1e-3] ]\t,\r\n \"cat\":[ 4,-9 ],\"count\": 12 , \"gruß\" : 0.5 } ",
		"any order":   `{"gruß":0.5,"count":12,"cat":[4,-9],"encoder_cont":[[1,2.5],[-3e2,0],[0.1,1e-3]]}`,
		"escapes":     `{"encoder\u005fcont":[[1,2.5],[-3e2,0],[0.1,1e-3]],"cat":[4,-9],"count":12,"gru\u00df":0.5}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows, err := read(t, text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]float32{1, 2.5, -300, 0, 0.1, 1e-3}, rows.Float32(0)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]int64{4, -9}, rows.Int64(1)); diff != "" {
				t.Error(diff)
			}
			if rows.Int64(2)[0] != 12 || rows.Float32(3)[0] != 0.5 {
				t.Errorf("count %d, gruß %v; want 12, 0.5", rows.Int64(2)[0], rows.Float32(3)[0])
			}
		})
	}
}

// bad is what a row must not be, with what the sender is told.
var bad = []struct {
	name, old, new string // good, with old replaced by new
	kind           fault.Kind
	want           string // the beginning of the message
}{
	{"unknown name", `"count"`, `"counts"`, fault.Invalid, `instances[3]: unknown name "counts"`},
	{"name in other case", `"count"`, `"Count"`, fault.Invalid, `instances[3]: unknown name "Count"`},
	{"missing name", `,"count":12`, ``, fault.Invalid, `instances[3]: the name "count" is missing`},
	{"name twice", `"count":12`, `"count":12,"count":12`, fault.Invalid, `instances[3]: the name "count" is there twice`},
	{"name twice, once escaped", `"count":12`, `"count":12,"c\u006funt":12`, fault.Invalid, `instances[3]: the name "count" is there twice`},
	{"name not UTF-8", `"count"`, "\"coun\xff\"", fault.Malformed, `instances[3]: byte`},
	{"name with bad escape", `"count"`, `"coun\q"`, fault.Malformed, `instances[3]: byte`},
	{"name with control character", `"count"`, "\"coun\n\"", fault.Malformed, `instances[3]: byte`},
	{"fraction for int64", `[4,-9]`, `[4,-9.5]`, fault.Invalid, `instances[3].cat[1]: -9.5 has a fraction`},
	{"exponent for int64", `12`, `1e1`, fault.Invalid, `instances[3].count: 1e1 has a fraction or an exponent`},
	{"int64 overflow", `12`, `9223372036854775808`, fault.Invalid, `instances[3].count: 9223372036854775808 is too large for int64`},
	{"string", `2.5`, `"2.5"`, fault.Invalid, `instances[3].encoder_cont[0][1]: want a number, found a string`},
	{"string for int64", `12`, `"12"`, fault.Invalid, `instances[3].count: want a whole number, found a string`},
	{"boolean", `2.5`, `true`, fault.Invalid, `instances[3].encoder_cont[0][1]: want a number, found a boolean`},
	{"null", `2.5`, `null`, fault.Invalid, `instances[3].encoder_cont[0][1]: want a number, found null`},
	{"null for an axis", `[0.1,1e-3]`, `null`, fault.Invalid, `instances[3].encoder_cont[2]: want an array of 2, found null`},
	{"object", `2.5`, `{}`, fault.Invalid, `instances[3].encoder_cont[0][1]: want a number, found an object`},
	{"NaN", `2.5`, `NaN`, fault.Invalid, `instances[3].encoder_cont[0][1]: NaN is not a finite number`},
	{"Infinity", `2.5`, `Infinity`, fault.Invalid, `instances[3].encoder_cont[0][1]: Infinity is not a finite number`},
	{"-Infinity", `2.5`, `-Infinity`, fault.Invalid, `instances[3].encoder_cont[0][1]: infinity is not a finite number`},
	{"float32 overflow", `2.5`, `1e39`, fault.Invalid, `instances[3].encoder_cont[0][1]: 1e39 is too large for float32`},
	{"category too large", `[4,`, `[5,`, fault.Invalid, `instances[3].cat[0]: 5 is outside the categories 0 to 4`},
	{"category below zero", `[4,`, `[-1,`, fault.Invalid, `instances[3].cat[0]: -1 is outside the categories 0 to 4`},
	{"axis too short", `[1,2.5]`, `[1]`, fault.Invalid, `instances[3].encoder_cont[0]: has 1 elements, want 2`},
	{"axis empty", `[1,2.5]`, `[]`, fault.Invalid, `instances[3].encoder_cont[0]: has 0 elements, want 2`},
	{"axis too long", `[1,2.5]`, `[1,2.5,3]`, fault.Invalid, `instances[3].encoder_cont[0]: has more than 2 elements, want 2`},
	{"outer axis too short", `,[0.1,1e-3]`, ``, fault.Invalid, `instances[3].encoder_cont: has 2 elements, want 3`},
	{"outer axis too long", `[0.1,1e-3]`, `[0.1,1e-3],[1,1]`, fault.Invalid, `instances[3].encoder_cont: has more than 3 elements, want 3`},
	{"an axis too many", `[4,-9]`, `[[4,-9]]`, fault.Invalid, `instances[3].cat[0]: want a whole number, found an array`},
	{"an axis missing", `[1,2.5]`, `1`, fault.Invalid, `instances[3].encoder_cont[0]: want an array of 2, found a number`},
	{"scalar as array", `12`, `[12]`, fault.Invalid, `instances[3].count: want a whole number, found an array`},
	{"very deep", `12`, strings.Repeat("[", 1_000_000), fault.Invalid, `instances[3].count: want a whole number, found an array`},
	{"leading zero", `2.5`, `02.5`, fault.Malformed, `instances[3].encoder_cont[0]: byte`},
	{"leading plus", `2.5`, `+2.5`, fault.Malformed, `instances[3].encoder_cont[0][1]: byte`},
	{"no digit behind the point", `2.5`, `2.`, fault.Malformed, `instances[3].encoder_cont[0][1]: byte`},
	{"hexadecimal", `2.5`, `0x2`, fault.Malformed, `instances[3].encoder_cont[0]: byte`},
	{"trailing comma", `2.5]`, `2.5,]`, fault.Invalid, `instances[3].encoder_cont[0]: has more than 2 elements`},
	{"trailing comma in the object", `0.5}`, `0.5,}`, fault.Malformed, `instances[3]: byte`},
	{"missing comma", `1,2.5`, `1 2.5`, fault.Malformed, `instances[3].encoder_cont[0]: byte`},
	{"missing colon", `"count":12`, `"count" 12`, fault.Malformed, `instances[3]: byte`},
	{"cut off", `0.5}`, `0.`, fault.Malformed, `instances[3].gruß: the JSON text ends too soon`},
	{"cut off in a name", `"gruß":0.5}`, `"gru`, fault.Malformed, `instances[3]: the JSON text ends too soon`},
	{"cut off in an escape", `"gruß":0.5}`, `"gru\`, fault.Malformed, `instances[3]: the JSON text ends too soon`},
	{"something behind", `0.5}`, `0.5} x`, fault.Malformed, `byte`},
	{"not an object", good, `[1]`, fault.Invalid, `instances[3]: want an object, found an array`},
	{"comment", `12`, `/* twelve */ 12`, fault.Malformed, `instances[3].count: byte`},
	{"byte order mark", good, "\ufeff" + good, fault.Malformed, `instances[3]: byte 0`},
	{"zero byte", `12`, "\x0012", fault.Malformed, `instances[3].count: byte`},
}

func TestBadRowsAreRefusedAtTheirPlace(t *testing.T) {
	t.Parallel()
	for _, c := range bad {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(good, c.old, c.new, 1)
			if text == good {
				t.Fatalf("the case changes nothing: %q is not there", c.old)
			}
			_, err := read(t, text)
			if err == nil {
				t.Fatalf("%s was accepted", text)
			}
			if got := fault.KindOf(err); got != c.kind {
				t.Errorf("kind %v, want %v: %v", got, c.kind, err)
			}
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %q, want it to begin with %q", err, c.want)
			}
			if len(err.Error()) > 400 {
				t.Errorf("a message of %d bytes: what a sender sends must not come back at length", len(err.Error()))
			}
		})
	}
}

func TestWrittenRowsReadBack(t *testing.T) {
	t.Parallel()
	c, err := codec.Compile(inputs)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		rows, err := tensor.New(inputs, 1)
		if err != nil {
			t.Fatal(err)
		}
		finite := rapid.Float32().Filter(func(v float32) bool { return !math.IsInf(float64(v), 0) && v == v })
		for i := range rows.Float32(0) {
			rows.Float32(0)[i] = finite.Draw(t, "float")
		}
		rows.Int64(1)[0] = rapid.Int64Range(0, 4).Draw(t, "server")
		rows.Int64(1)[1] = rapid.Int64().Draw(t, "hour")
		rows.Int64(2)[0] = rapid.Int64().Draw(t, "count")
		text, err := c.AppendRow(nil, rows, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(text) {
			t.Fatalf("not JSON: %s", text)
		}
		back, err := tensor.New(inputs, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Row(codec.NewReader(text), back, 0, codec.Place{}); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(rows.Float32(0), back.Float32(0)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(append(rows.Int64(1), rows.Int64(2)...), append(back.Int64(1), back.Int64(2)...)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNumbersThatJSONCannotSayAreNotWritten(t *testing.T) {
	t.Parallel()
	c, err := codec.Compile(inputs)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		rows, err := tensor.New(inputs, 1)
		if err != nil {
			t.Fatal(err)
		}
		rows.Float32(0)[3] = float32(v)
		if text, err := c.AppendRow(nil, rows, 0); fault.KindOf(err) != fault.Internal || err == nil {
			t.Errorf("%v was written as %s, %v; want Internal", v, text, err)
		}
	}
}

func TestReadingARowAllocatesNothingPerNumber(t *testing.T) {
	c, err := codec.Compile(inputs)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := tensor.New(inputs, 1)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(good)
	var r codec.Reader
	got := testing.AllocsPerRun(100, func() {
		r = *codec.NewReader(text)
		if err := c.Row(&r, rows, 0, codec.Place{List: "instances"}); err != nil {
			t.Fatal(err)
		}
	})
	if got > 2 {
		t.Errorf("%v allocations a row, want at most 2 whatever its numbers", got)
	}
}

func FuzzRow(f *testing.F) {
	f.Add(good)
	for _, c := range bad {
		if len(c.new) < 1000 {
			f.Add(strings.Replace(good, c.old, c.new, 1))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := read(t, text)
		if err != nil {
			return
		}
		if !json.Valid([]byte(text)) {
			t.Errorf("%q was accepted and is not JSON", text)
		}
		if n := rows.Int64(1)[0]; n < 0 || n > 4 {
			t.Errorf("%q let category %d through", text, n)
		}
		for _, v := range rows.Float32(0) {
			if v != v || math.IsInf(float64(v), 0) {
				t.Errorf("%q let %v through", text, v)
			}
		}
	})
}
