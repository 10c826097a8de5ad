// Package predict is what it means to predict: who asks, who computes, who
// takes the answer, and how the one finds the other.
package predict

import (
	"context"

	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/serve/tensor"
)

// Predictor computes forecasts. The memory is the Predictor's: a Source writes
// into it, a Sink reads from it, neither keeps it.
type Predictor interface {
	// Predict asks in for rows until it has no more, computes them and hands the
	// results to out in the order of the rows. An error of in or out ends this
	// call alone, even where rows of several calls are computed together.
	//
	// Errors: those of in and out as they are; ctx's cause where it ends before
	// the last row was computed; Unavailable after the Predictor was closed.
	Predict(ctx context.Context, in Source, out Sink) error
}

// Source writes the rows of one request into room and returns how many; 0 when
// there are no more. Room has at least one row, in the schema of the inputs, and
// whatever an earlier caller left in it: a Source writes every element of the
// rows that it reports.
type Source interface {
	Fill(room tensor.Rows) (int, error)
}

// Sink takes the results of the rows, as many at a time as were computed together.
type Sink interface {
	Take(rows tensor.Rows) error
}

// Finder knows what serves which model.
type Finder interface {
	// Find returns what serves a version of the model called name; name "" is the
	// only model there is, version "" the current one. It stays usable until done
	// is called, even where another takes its place meanwhile.
	//
	// Errors: NotFound for a name or version that is not served, Unavailable
	// while nothing is.
	Find(name, version string) (served *Model, done func(), err error)
}

// Model is a model being served. It does not change.
type Model struct {
	Name      string
	Version   string // as the release calls it, such as "v13-3f9a1c2b"; may be empty
	Digest    model.Digest
	Schema    model.Schema
	Predictor Predictor
}

// String names the model in headers and logs: name@sha256: and 12 digits.
func (m *Model) String() string { return m.Name + "@sha256:" + m.Digest.Short() }
