package tracing

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kwatchman/kwatchman/internal/tlsfiles"
)

// Usage is the line of a program's help about the settings of tracing.
const Usage = "OTEL_EXPORTER_OTLP_ENDPOINT\tcollector that traces go to, by OTLP over HTTP, with OpenTelemetry's further variables (no tracing)"

// settings are what OpenTelemetry's variables say:
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
// https://opentelemetry.io/docs/specs/otel/protocol/exporter/
type settings struct {
	url        *url.URL
	headers    http.Header
	timeout    time.Duration // of one batch, with its repetitions
	gzip       bool
	files      *tlsfiles.Loader // nil: no certificates but the system's
	sampler    sdktrace.Sampler
	attributes []attribute.KeyValue
}

const defaultTimeout = 10 * time.Second

// Check says which variable is wrong, and where spans would go; empty: nowhere.
func Check() (collector string, err error) {
	s, err := read(Config{Logger: slog.New(slog.DiscardHandler)})
	if s == nil || err != nil {
		return "", err
	}
	return s.url.Scheme + "://" + s.url.Host, nil
}

// read gives nil if tracing is off. As the specification has it, an empty
// variable is one that is not set. Else than it has it, a bad value is an error.
func read(cfg Config) (*settings, error) {
	switch strings.ToLower(os.Getenv("OTEL_SDK_DISABLED")) {
	case "", "false":
	case "true":
		return nil, nil
	default:
		return nil, bad("OTEL_SDK_DISABLED", "want true or false")
	}
	endpointName, endpoint := exporterSetting("ENDPOINT")
	switch os.Getenv("OTEL_TRACES_EXPORTER") {
	case "":
		if endpoint == "" {
			return nil, nil
		}
	case "none":
		return nil, nil
	case "otlp":
	default:
		return nil, bad("OTEL_TRACES_EXPORTER", "want otlp or none")
	}
	if name, protocol := exporterSetting("PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		return nil, bad(name, "want http/protobuf, which collectors take at port 4318; grpc and http/json are not spoken")
	}
	s := &settings{}
	for _, step := range []func() error{
		func() error { return s.readEndpoint(endpointName, endpoint) },
		s.readHeaders, s.readTimeout, s.readCompression, func() error { return s.readFiles(cfg.Logger) }, s.readSampler,
		func() error { return s.readAttributes(cfg) }, checkBatches,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// bad is the error of a variable. Its value may be a secret.
func bad(name, want string) error { return fmt.Errorf("%s: bad value: %s", name, want) }

// exporterSetting is that of traces, else the one of all signals.
func exporterSetting(what string) (name, value string) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_" + what, "OTEL_EXPORTER_OTLP_" + what} {
		if v := os.Getenv(name); v != "" {
			return name, v
		}
	}
	return "OTEL_EXPORTER_OTLP_" + what, ""
}

// readEndpoint takes the URL of traces as it is, and the one of all signals as
// what /v1/traces is below of.
func (s *settings) readEndpoint(name, value string) error {
	u, err := url.Parse(cmp.Or(value, "http://localhost:4318"))
	if err == nil {
		_, err = strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16)
	}
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.Fragment != "" {
		return bad(name, "want a URL such as http://collector:4318")
	}
	if name != "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" {
		u = u.JoinPath("v1", "traces")
	}
	s.url = u
	return nil
}

func (s *settings) readHeaders() error {
	s.headers = http.Header{}
	name, value := exporterSetting("HEADERS")
	pairs, err := parsePairs(value)
	if err != nil {
		return bad(name, err.Error())
	}
	const inNames = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz" // RFC 9110, section 5.6.2
	for _, p := range pairs {
		control := strings.ContainsFunc(p[1], func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
		if strings.Trim(strings.ToLower(p[0]), inNames) != "" || control {
			return bad(name, "it holds what no header can")
		}
		s.headers.Add(p[0], p[1])
	}
	return nil
}

func (s *settings) readTimeout() error {
	name, value := exporterSetting("TIMEOUT")
	if value == "" {
		s.timeout = defaultTimeout
		return nil
	}
	ms, err := strconv.ParseUint(value, 10, 31)
	if err != nil || ms == 0 {
		return bad(name, "want milliseconds")
	}
	s.timeout = time.Duration(ms) * time.Millisecond
	return nil
}

func (s *settings) readCompression() error {
	switch name, value := exporterSetting("COMPRESSION"); value {
	case "", "none":
	case "gzip":
		s.gzip = true
	default:
		return bad(name, "want gzip or none")
	}
	return nil
}

func (s *settings) readFiles(log *slog.Logger) (err error) {
	var files, names tlsfiles.Files
	names.CA, files.CA = exporterSetting("CERTIFICATE")
	names.Cert, files.Cert = exporterSetting("CLIENT_CERTIFICATE")
	names.Key, files.Key = exporterSetting("CLIENT_KEY")
	if files == (tlsfiles.Files{}) {
		return nil
	}
	s.files, err = tlsfiles.Open(files, names, func(err error) { log.Error("certificate not renewed", "error", err) })
	return err
}

func (s *settings) readSampler() error {
	const argument = "OTEL_TRACES_SAMPLER_ARG"
	name, ratio := os.Getenv("OTEL_TRACES_SAMPLER"), 1.0
	if arg := os.Getenv(argument); arg != "" && strings.HasSuffix(name, "traceidratio") {
		var err error
		if ratio, err = strconv.ParseFloat(arg, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
			return bad(argument, "want a number from 0 to 1")
		}
	}
	switch name {
	case "always_on":
		s.sampler = sdktrace.AlwaysSample()
	case "always_off":
		s.sampler = sdktrace.NeverSample()
	case "traceidratio":
		s.sampler = sdktrace.TraceIDRatioBased(ratio)
	case "", "parentbased_always_on":
		s.sampler = sdktrace.ParentBased(sdktrace.AlwaysSample())
	case "parentbased_always_off":
		s.sampler = sdktrace.ParentBased(sdktrace.NeverSample())
	case "parentbased_traceidratio":
		s.sampler = sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))
	default:
		return bad("OTEL_TRACES_SAMPLER", "want always_on, always_off, traceidratio, or one of these behind parentbased_")
	}
	return nil
}

// readAttributes are those of the resource. The variables go over what the
// program says of itself.
func (s *settings) readAttributes(cfg Config) error {
	pairs, err := parsePairs(os.Getenv("OTEL_RESOURCE_ATTRIBUTES"))
	if err != nil {
		return bad("OTEL_RESOURCE_ATTRIBUTES", err.Error())
	}
	pairs = slices.Concat([][2]string{{"service.name", cfg.Service}, {"service.version", cfg.Version}}, pairs)
	if name := os.Getenv("OTEL_SERVICE_NAME"); name != "" {
		pairs = append(pairs, [2]string{"service.name", name})
	}
	for _, p := range pairs { // of two with one key the last one holds
		s.attributes = append(s.attributes, attribute.String(p[0], p[1]))
	}
	return nil
}

// checkBatches checks what the SDK reads itself, which would take its default in
// place of a bad value.
func checkBatches() error {
	for _, name := range []string{"OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"} {
		n, err := strconv.ParseUint(cmp.Or(os.Getenv(name), "1"), 10, 31)
		if err != nil || n == 0 {
			return bad(name, "want a whole number above 0")
		}
	}
	return nil
}

// parsePairs reads key=value pairs that are separated by commas, with values that
// are percent-encoded. The error does not repeat them.
func parsePairs(text string) ([][2]string, error) {
	var out [][2]string
	for part := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		key, value, ok := strings.Cut(part, "=")
		key = strings.TrimSpace(key)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || key == "" || err != nil {
			return nil, errors.New("want key=value, separated by commas, with values percent-encoded")
		}
		out = append(out, [2]string{key, value})
	}
	return out, nil
}
