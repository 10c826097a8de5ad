package server

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// HTTP returns a server for h that speaks HTTP/1 and, without TLS, HTTP/2. Its
// requests end with ctx at the latest.
func HTTP(ctx context.Context, h http.Handler, log *slog.Logger) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           h,
		Protocols:         &protocols,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Shut ends a server: no new connections, those in use finish what they do
// within the time given, and are cut after it.
func Shut(s *http.Server, within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		_ = s.Close() // of its listener, which Shutdown has closed
	}
}
