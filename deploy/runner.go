package deploy

import (
	"context"
	"time"
)

// Runner is what carries out plans.
type Runner interface {
	// Run carries p out and returns how far it came, also when it fails.
	Run(ctx context.Context, p Plan) (Report, error)
}

// Report is how far a plan came.
type Report struct {
	Plan     Plan     `json:"plan"`
	Txn      string   `json:"txn,omitempty"`      // the journal's entry
	Done     int      `json:"done"`               // steps that hold
	Status   string   `json:"status"`             // rehearsed, done, held, rolled-back, failed, interrupted
	Warnings []string `json:"warnings,omitempty"` // of cleaning up
}

// Event is one moment of a run's progress.
type Event struct {
	Stage string
	Step  *Step // nil: about the stage
	Text  string
	Took  time.Duration // of a step that has ended; 0: it has begun
}

// Tell is told of progress as it happens.
type Tell func(Event)
