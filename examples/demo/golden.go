package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
)

// golden is requests with what PyTorch itself answers.
type golden struct {
	Schema    string             `json:"schema"`
	OutputStd map[string]float64 `json:"output_std"`
	Requests  []struct {
		Instance   json.RawMessage `json:"instance"`
		Prediction struct {
			Quantiles [][]float64 `json:"quantiles"`
		} `json:"prediction"`
	} `json:"requests"`
}

func readGolden(path string) (golden, error) {
	var g golden
	content, err := os.ReadFile(path)
	if err != nil {
		return g, err
	}
	if err := json.Unmarshal(content, &g); err != nil {
		return g, fmt.Errorf("%s: %w", path, err)
	}
	if len(g.Requests) == 0 || g.OutputStd["quantiles"] <= 0 {
		return g, fmt.Errorf("%s holds nothing to compare with", path)
	}
	return g, nil
}

// checkGolden asks every golden request and returns how many there are and how
// far an answer is off at most, in standard deviations of the output.
func checkGolden(ctx context.Context, path string, ask asker) (checked int, worst float64, err error) {
	g, err := readGolden(path)
	if err != nil {
		return 0, 0, err
	}
	for i, r := range g.Requests {
		body, err := json.Marshal(map[string]any{"instances": []json.RawMessage{r.Instance}})
		if err != nil {
			return 0, 0, err
		}
		answer, version, err := ask(ctx, agent, body)
		if err != nil {
			return 0, 0, fmt.Errorf("golden request %d: %w", i, err)
		}
		if version != "v1" {
			return 0, 0, fmt.Errorf("golden request %d was answered by %q, not v1", i, version)
		}
		got, err := quantiles(answer)
		if err != nil {
			return 0, 0, fmt.Errorf("golden request %d: %w", i, err)
		}
		var want []float64
		for _, step := range r.Prediction.Quantiles {
			want = append(want, step...)
		}
		off, err := farthest(got, want)
		if err != nil {
			return 0, 0, fmt.Errorf("golden request %d: %w", i, err)
		}
		worst = max(worst, off/g.OutputStd["quantiles"])
		checked++
	}
	return checked, worst, nil
}

// quantiles returns the numbers of the first prediction, row by row.
func quantiles(answer []byte) ([]float64, error) {
	var form struct {
		Predictions []struct {
			Quantiles [][]float64 `json:"quantiles"`
		} `json:"predictions"`
	}
	if err := json.Unmarshal(answer, &form); err != nil {
		return nil, fmt.Errorf("the answer cannot be read: %w", err)
	}
	if len(form.Predictions) == 0 {
		return nil, fmt.Errorf("the answer holds no prediction")
	}
	var numbers []float64
	for _, step := range form.Predictions[0].Quantiles {
		numbers = append(numbers, step...)
	}
	return numbers, nil
}

// farthest returns the largest difference of a and b at one place.
func farthest(a, b []float64) (float64, error) {
	if len(a) != len(b) || len(a) == 0 {
		return 0, fmt.Errorf("%d numbers, want %d", len(a), len(b))
	}
	worst := 0.0
	for i := range a {
		d := math.Abs(a[i] - b[i])
		if math.IsNaN(d) {
			return 0, fmt.Errorf("number %d is not one", i)
		}
		worst = max(worst, d)
	}
	return worst, nil
}
