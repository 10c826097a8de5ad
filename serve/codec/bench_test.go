package codec_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve/codec"
	"github.com/tftctl/tftctl/serve/tensor"
)

// One row of 96 steps with 24 variables, with as many digits as trainers write.
func BenchmarkRow(b *testing.B) {
	tensors := []model.Tensor{{Name: "encoder_cont", DType: model.Float32, Shape: []int{96, 24}}}
	c, err := codec.Compile(tensors)
	if err != nil {
		b.Fatal(err)
	}
	rows, err := tensor.New(tensors, 1)
	if err != nil {
		b.Fatal(err)
	}
	var steps []string
	for i := range 96 {
		var step []string
		for k := range 24 {
			step = append(step, fmt.Sprintf("%.7f", float64(i*31+k*17)/97-11))
		}
		steps = append(steps, "["+strings.Join(step, ",")+"]")
	}
	text := []byte(`{"encoder_cont":[` + strings.Join(steps, ",") + `]}`)
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Row(codec.NewReader(text), rows, 0, codec.Place{List: "instances"}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(96*24), "ns/number")
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		var out []byte
		for b.Loop() {
			if out, err = c.AppendRow(out[:0], rows, 0); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(96*24), "ns/number")
	})
}
