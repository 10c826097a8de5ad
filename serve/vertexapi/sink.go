package vertexapi

import (
	"github.com/tftctl/tftctl/serve/codec"
	"github.com/tftctl/tftctl/serve/predict"
	"github.com/tftctl/tftctl/serve/tensor"
)

// sink writes the answer of one request.
type sink struct {
	codec *codec.Codec
	body  []byte
}

var _ predict.Sink = (*sink)(nil)

// Take appends one prediction, an object by output name, for each row.
func (s *sink) Take(rows tensor.Rows) error {
	for row := range rows.Len() {
		separator := byte(',')
		if len(s.body) == 0 {
			s.body = append(s.body, `{"predictions":`...)
			separator = '['
		}
		s.body = append(s.body, separator)
		var err error
		if s.body, err = s.codec.AppendRow(s.body, rows, row); err != nil {
			return err
		}
	}
	return nil
}

// finish returns the whole answer.
func (s *sink) finish() []byte {
	return append(s.body, "]}\n"...)
}
