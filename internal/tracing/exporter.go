package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kwatchman/kwatchman/internal/pause"
	"github.com/kwatchman/kwatchman/internal/seldom"
	"github.com/kwatchman/kwatchman/internal/unreached"
)

// retryWait is how long the first repetition waits, unless the collector says.
const retryWait = 500 * time.Millisecond

// exporter posts spans to a collector. What it cannot send within the time limit
// is lost; meanwhile the queue of the SDK takes what there is room for.
type exporter struct {
	name     string // scheme and host, for logs
	settings *settings
	client   *http.Client
	log      *slog.Logger
	said     seldom.Line
	failing  bool // ExportSpans is called by one goroutine at a time

	ended context.Context // of the process's last seconds
	stop  context.CancelFunc
}

func newExporter(s *settings, log *slog.Logger) *exporter {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 1
	if s.files != nil {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.files.Current().Pool}
		transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if pair := s.files.Current().Pair; pair != nil {
				return pair, nil
			}
			return &tls.Certificate{}, nil
		}
	}
	e := &exporter{name: s.url.Scheme + "://" + s.url.Host, settings: s, log: log, client: &http.Client{
		Transport: transport,
		// The headers may hold a secret, which is not for whoever is redirected to.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	e.ended, e.stop = context.WithCancel(context.Background())
	return e
}

// ExportSpans implements sdktrace.SpanExporter. What fails is said here, and
// seldom: the SDK's own line would hold the whole URL.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.settings.timeout)
	defer cancel()
	defer context.AfterFunc(e.ended, cancel)()
	body, err := e.pack(encode(spans))
	if err == nil {
		err = e.send(ctx, body)
	}
	switch {
	case err != nil && e.said.Due():
		e.failing = true
		e.log.Warn("spans not exported, they are dropped", "collector", e.name, "error", err)
	case err == nil && e.failing:
		e.failing = false
		e.log.Info("spans are exported again", "collector", e.name)
	}
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

func (e *exporter) pack(body []byte) ([]byte, error) {
	if !e.settings.gzip {
		return body, nil
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(body)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

// send posts until the collector has taken it, refuses, or there is no time left:
// https://opentelemetry.io/docs/specs/otlp/#failures-1.
func (e *exporter) send(ctx context.Context, body []byte) error {
	for wait := retryWait; ; wait *= 2 {
		after, again, err := e.post(ctx, body)
		if err == nil || !again {
			return err
		}
		after = max(after, wait)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < after {
			return err
		}
		if pause.For(ctx, after) != nil {
			return err
		}
	}
}

// post makes one attempt; again tells that another may succeed.
func (e *exporter) post(ctx context.Context, body []byte) (after time.Duration, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.settings.url.String(), bytes.NewReader(body))
	if err != nil {
		return 0, false, errors.New("the endpoint is no URL") // it was checked at the start
	}
	req.Header = e.settings.headers.Clone()
	req.Header.Set("Content-Type", "application/x-protobuf")
	if e.settings.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := e.client.Do(req)
	if u, ok := errors.AsType[*url.Error](err); ok { // it begins with the whole URL
		err = u.Err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return 0, false, errors.New("no answer in time")
	case err != nil:
		return 0, true, errors.New(unreached.Cause(err))
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	}
	if resp.StatusCode/100 != 2 {
		err = fmt.Errorf("answered %d", resp.StatusCode)
	}
	seconds, _ := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16)
	return time.Duration(seconds) * time.Second, again, err
}
