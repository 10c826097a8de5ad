package vertexapi

import (
	"github.com/tftctl/tftctl/pkg/fault"
	"github.com/tftctl/tftctl/serve/codec"
	"github.com/tftctl/tftctl/serve/predict"
	"github.com/tftctl/tftctl/serve/tensor"
)

// whole and list are places in a request, for messages.
var (
	whole      = codec.Place{List: "the request", Index: -1}
	list       = codec.Place{List: "instances", Index: -1}
	parameters = codec.Place{List: "parameters", Index: -1}
)

// source reads the instances of one request, as many at a time as there is room.
type source struct {
	codec  *codec.Codec
	reader *codec.Reader
	rows   int // read so far

	begun         bool // the request's opening brace was read
	firstMember   bool // no member was read yet
	inside        bool // of the array of instances
	hasInstances  bool
	hasParameters bool
}

var _ predict.Source = (*source)(nil)

func newSource(c *codec.Codec, body []byte) *source {
	return &source{codec: c, reader: codec.NewReader(body), firstMember: true}
}

// Fill reads the next instances into room.
func (s *source) Fill(room tensor.Rows) (int, error) {
	if !s.begun {
		s.begun = true
		if err := s.reader.Begin('{', whole); err != nil {
			return 0, err
		}
		if err := s.members(); err != nil {
			return 0, err
		}
	}
	n := 0
	for ; n < room.Len() && s.inside; n++ {
		more, err := s.reader.More(s.rows == 0, ']', list)
		if err != nil {
			return 0, err
		}
		if !more {
			// What is behind the array is read before the last rows are
			// computed: a request with a mistake there costs no run.
			s.inside = false
			if err := s.members(); err != nil {
				return 0, err
			}
			break
		}
		if err := s.codec.Row(s.reader, room, n, codec.Place{List: list.List, Index: s.rows}); err != nil {
			return 0, err
		}
		s.rows++
	}
	return n, nil
}

// members reads the request's members until it stands inside of the instances
// or behind the end.
func (s *source) members() error {
	for {
		more, err := s.reader.More(s.firstMember, '}', whole)
		if err != nil {
			return err
		}
		if !more {
			return s.end()
		}
		s.firstMember = false
		name, err := s.reader.Name(whole)
		if err != nil {
			return err
		}
		switch name {
		case "instances":
			if s.hasInstances {
				return fault.Newf(fault.Invalid, "the name %q is there twice", name)
			}
			s.hasInstances, s.inside = true, true
			return s.reader.Begin('[', list)
		case "parameters":
			if s.hasParameters {
				return fault.Newf(fault.Invalid, "the name %q is there twice", name)
			}
			s.hasParameters = true
			if err := s.noParameters(); err != nil {
				return err
			}
		default:
			return fault.Newf(fault.Invalid, "unknown name %.64q", name).WithHint(`a request is {"instances":[...]}`)
		}
	}
}

// noParameters reads an empty object: a model has no parameters that a request
// could set, and ignoring one would be a promise that nobody keeps.
func (s *source) noParameters() error {
	if err := s.reader.Begin('{', parameters); err != nil {
		return err
	}
	more, err := s.reader.More(true, '}', parameters)
	if err == nil && more {
		return fault.Newf(fault.Invalid, "parameters: this model takes none").WithHint("leave parameters out, or send {}")
	}
	return err
}

func (s *source) end() error {
	switch {
	case !s.hasInstances:
		return fault.Newf(fault.Invalid, `the name "instances" is missing`).WithHint(`a request is {"instances":[...]}`)
	case s.rows == 0:
		return fault.Newf(fault.Invalid, "instances: the array is empty").WithHint("send at least one instance")
	}
	return s.reader.End()
}
