package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tftctl/tftctl/pkg/model"
	"github.com/tftctl/tftctl/pkg/term"
)

// errNoForecast says that a model is not a forecaster that can be drawn.
var errNoForecast = errors.New("not a forecast of quantiles")

// readSeries returns the first instance of body and its prediction in the
// target's unit. The past stands in encoder_cont, scaled by the instance's own
// target_scale and, as features.json says, before a softplus.
func readSeries(features, schema, body []byte, predictions []json.RawMessage) (*term.Series, string, error) {
	var f struct {
		StepSeconds   int            `json:"step_seconds"`
		Targets       []string       `json:"targets"`
		QuantileIndex map[string]int `json:"quantile_index"`
		Normalizer    struct {
			Transformation string `json:"transformation"`
		} `json:"target_normalizer"`
	}
	var request struct {
		Instances []struct {
			EncoderCont [][]float64 `json:"encoder_cont"`
			TargetScale []float64   `json:"target_scale"`
		} `json:"instances"`
	}
	var prediction struct {
		Quantiles [][]float64 `json:"quantiles"`
	}
	if len(predictions) == 0 {
		return nil, "", errNoForecast
	}
	for _, part := range []struct {
		from []byte
		to   any
	}{{features, &f}, {body, &request}, {predictions[0], &prediction}} {
		if err := json.Unmarshal(part.from, part.to); err != nil {
			return nil, "", err
		}
	}
	s, err := model.ReadSchema(schema)
	if err != nil {
		return nil, "", err
	}
	column := -1
	for _, in := range s.Inputs {
		if in.Name == "encoder_cont" && len(f.Targets) > 0 {
			column = slices.IndexFunc(in.Columns, func(c model.Column) bool { return c.Name == f.Targets[0] })
		}
	}
	in := request.Instances[0]
	if column < 0 || len(in.TargetScale) != 2 || len(prediction.Quantiles) == 0 {
		return nil, "", errNoForecast
	}
	out := &term.Series{}
	for _, step := range in.EncoderCont {
		v := in.TargetScale[0] + in.TargetScale[1]*step[column]
		if f.Normalizer.Transformation == "softplus" {
			v = math.Log1p(math.Exp(-math.Abs(v))) + max(v, 0)
		}
		out.History = append(out.History, v)
	}
	for name, line := range map[string]*[]float64{"p10": &out.P10, "p50": &out.P50, "p90": &out.P90} {
		i, ok := f.QuantileIndex[name]
		if !ok || i >= len(prediction.Quantiles[0]) {
			return nil, "", errNoForecast
		}
		for _, step := range prediction.Quantiles {
			*line = append(*line, step[i])
		}
	}
	step := time.Duration(f.StepSeconds) * time.Second
	caption := fmt.Sprintf("%s: the last %.3g h, then p10, p50 and p90 of the next %.3g h",
		f.Targets[0], (time.Duration(len(out.History)) * step).Hours(), (time.Duration(len(out.P50)) * step).Hours())
	return out, caption, nil
}
