package serve

import (
	"errors"
	"io"
	"log/slog"
	"strings"

	"github.com/tftctl/tftctl/pkg/fault"
)

// NewLog returns a logger that writes lines of JSON with the keys that Cloud
// Logging reads: severity, message, time.
func NewLog(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		switch {
		case len(groups) > 0:
		case a.Key == slog.MessageKey:
			a.Key = "message"
		case a.Key == slog.LevelKey:
			severity := a.Value.String()
			if severity == slog.LevelWarn.String() {
				severity = "WARNING"
			}
			return slog.String("severity", severity)
		}
		return a
	}}))
}

// Cause is an error as a log sees it: with all that lies beneath, which its
// text alone leaves out.
func Cause(err error) slog.Attr {
	texts := []string{err.Error()}
	for err != nil {
		var f *fault.Error
		if !errors.As(err, &f) || f.Beneath == nil {
			break
		}
		err = f.Beneath
		if last := texts[len(texts)-1]; !strings.Contains(last, err.Error()) {
			texts = append(texts, err.Error())
		}
	}
	return slog.String("error", strings.Join(texts, ": "))
}
