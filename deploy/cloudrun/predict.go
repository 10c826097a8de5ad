package cloudrun

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/tftctl/tftctl/pkg/fault"
)

// maxAnswer is Cloud Run's limit on a response that is not streamed.
const maxAnswer = 32 << 20

// URL returns the service's address, or where id is not "" that of the release
// called id, whatever traffic it has.
func (s *Service) URL(ctx context.Context, id string) (string, error) {
	st, err := s.read(ctx)
	switch {
	case err != nil:
		return "", err
	case st.service == nil:
		return "", fault.Newf(fault.NotFound, "there is no %s", s.Name()).WithHint("`tftctl deploy` makes it")
	case id == "":
		return st.service.GetUri(), nil
	}
	for _, t := range st.service.GetTrafficStatuses() {
		if t.GetTag() == id && t.GetUri() != "" {
			return t.GetUri(), nil
		}
	}
	return "", fault.Newf(fault.NotFound, "%s has no release %s", s.Name(), id).WithHint("`tftctl status` shows what is ready there")
}

// Predict sends body to the service, or to the release called id where that is
// not "", and returns the answer with the release that gave it.
func (s *Service) Predict(ctx context.Context, id string, body []byte) (answer []byte, by string, err error) {
	url, err := s.URL(ctx, id)
	if err != nil {
		return nil, "", err
	}
	return Post(ctx, http.DefaultClient, url, body)
}

// Post sends body, a prediction request, to the service at url.
func Post(ctx context.Context, client *http.Client, url string, body []byte) (answer []byte, by string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+predictRoute, bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, "", fault.Wrap(fault.Timeout, err, "no answer from %s in time", url)
		}
		return nil, "", fault.Wrap(fault.Unavailable, err, "no answer from %s", url).WithHint("`tftctl status` shows what serves")
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, "", fault.Wrap(fault.Unavailable, err, "the answer from %s broke off", url)
	}
	by = resp.Header.Get("X-Tft-Release")
	if resp.StatusCode != http.StatusOK {
		kind := fault.Unavailable
		switch {
		case resp.StatusCode == http.StatusUnauthorized:
			kind = fault.Unauthenticated
		case resp.StatusCode == http.StatusForbidden:
			kind = fault.Denied
		case resp.StatusCode == http.StatusTooManyRequests:
			kind = fault.Limited
		case resp.StatusCode < 500:
			kind = fault.Invalid
		}
		return nil, by, fault.Newf(kind, "%s answered %d: %s", url, resp.StatusCode, excerpt(answer))
	}
	return answer, by, nil
}

// excerpt returns the beginning of an error's body, on one line.
func excerpt(b []byte) string {
	b = bytes.Join(bytes.Fields(b), []byte(" "))
	if len(b) > 400 {
		b = append(b[:400:400], "…"...)
	}
	return string(b)
}

// Probe implements deploy.Prober, by the address of the release's tag.
func (s *Service) Probe(ctx context.Context, id string, body []byte) error {
	_, by, err := s.Predict(ctx, id, body)
	if err != nil {
		return err
	}
	if by != id {
		return fmt.Errorf("the answer came from %q: %w", by, fault.Newf(fault.Stale, "release %s did not answer at its own address", id))
	}
	return nil
}
