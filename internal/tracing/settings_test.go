package tracing

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
)

// environment gives the test these variables and no others of OpenTelemetry.
func environment(t *testing.T, env ...string) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			require.NoError(t, os.Unsetenv(name))
			t.Cleanup(func() { _ = os.Setenv(name, value) })
		}
	}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
}

var config = Config{Service: "kwatchman-test", Version: "v1.2.3", Logger: slog.New(slog.DiscardHandler)}

func TestTracingIsOffUnlessAskedFor(t *testing.T) {
	for name, env := range map[string][]string{
		"nothing set":          nil,
		"an empty endpoint":    {"OTEL_EXPORTER_OTLP_ENDPOINT="},
		"none":                 {"OTEL_TRACES_EXPORTER=none", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318"},
		"none, for gRPC":       {"OTEL_TRACES_EXPORTER=none", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"},
		"gRPC of nothing":      {"OTEL_EXPORTER_OTLP_PROTOCOL=grpc"},
		"disabled":             {"OTEL_SDK_DISABLED=true", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318"},
		"other signals' alone": {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://c:4318", "OTEL_SERVICE_NAME=a"},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, env...)
			tracer, err := New(config)
			require.NoError(t, err)
			require.Nil(t, tracer)
		})
	}
}

func TestEndpointsAreReadAsTheSpecificationHasIt(t *testing.T) {
	for _, c := range []struct{ name, want, env string }{
		{"of all signals", "http://c:4318/v1/traces", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318"},
		{"with a path", "https://c/a/v1/traces?k=v", "OTEL_EXPORTER_OTLP_ENDPOINT=https://c/a/?k=v"},
		{"of traces", "https://c/a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://c/a OTEL_EXPORTER_OTLP_ENDPOINT=http://d"},
		{"by default", "http://localhost:4318/v1/traces", "OTEL_TRACES_EXPORTER=otlp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			environment(t, strings.Fields(c.env)...)
			s, err := read(config)
			require.NoError(t, err)
			require.Equal(t, c.want, s.url.String())
		})
	}
}

func TestSettingsOfTracesGoOverThoseOfAllSignals(t *testing.T) {
	environment(t, "OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_HEADERS=a=1", "OTEL_EXPORTER_OTLP_TRACES_HEADERS=b=2%2C3, C = d",
		"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf",
		"OTEL_EXPORTER_OTLP_TIMEOUT=1", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=2500", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
		"OTEL_SERVICE_NAME=watch", "OTEL_RESOURCE_ATTRIBUTES=service.name=no,k8s.pod.name=a%20b")
	s, err := read(config)
	require.NoError(t, err)
	require.Empty(t, s.headers.Get("a"))
	require.Equal(t, "2,3", s.headers.Get("b"))
	require.Equal(t, "d", s.headers.Get("c"))
	require.Equal(t, 2500*time.Millisecond, s.timeout)
	require.True(t, s.gzip)
	of := attribute.NewSet(s.attributes...)
	for name, want := range map[attribute.Key]string{"service.name": "watch", "service.version": "v1.2.3", "k8s.pod.name": "a b"} {
		got, _ := of.Value(name)
		require.Equal(t, want, got.AsString())
	}
}

func TestABadVariableIsOneLineThatNamesItAndNotItsValue(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, c := range []struct{ env, want string }{
		{"OTEL_SDK_DISABLED=secret", "OTEL_SDK_DISABLED: bad value: want true or false"},
		{"OTEL_TRACES_EXPORTER=secret", "OTEL_TRACES_EXPORTER: bad value: want otlp or none"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_PROTOCOL: bad value: want http/protobuf, which collectors take at port 4318; grpc and http/json are not spoken"},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: bad value: want http/protobuf"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=secret:4317", "OTEL_EXPORTER_OTLP_ENDPOINT: bad value: want a URL such as http://collector:4318"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=ftp://secret", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: bad value"},
		{"OTEL_EXPORTER_OTLP_HEADERS=secret", "OTEL_EXPORTER_OTLP_HEADERS: bad value: want key=value"},
		{"OTEL_EXPORTER_OTLP_HEADERS=a=secret%0a", "OTEL_EXPORTER_OTLP_HEADERS: bad value: it holds what no header can"},
		{"OTEL_EXPORTER_OTLP_TRACES_HEADERS=a b=secret", "OTEL_EXPORTER_OTLP_TRACES_HEADERS: bad value: it holds what no header can"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT=10s", "OTEL_EXPORTER_OTLP_TIMEOUT: bad value: want milliseconds"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION=secret", "OTEL_EXPORTER_OTLP_COMPRESSION: bad value: want gzip or none"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE=" + missing, "OTEL_EXPORTER_OTLP_CERTIFICATE: "},
		{"OTEL_EXPORTER_OTLP_CLIENT_KEY=" + missing, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY: want both or none"},
		{"OTEL_TRACES_SAMPLER=secret", "OTEL_TRACES_SAMPLER: bad value: want always_on"},
		{"OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=2", "OTEL_TRACES_SAMPLER_ARG: bad value: want a number from 0 to 1"},
		{"OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=secret", "OTEL_TRACES_SAMPLER_ARG: bad value"},
		{"OTEL_RESOURCE_ATTRIBUTES=secret", "OTEL_RESOURCE_ATTRIBUTES: bad value: want key=value"},
		{"OTEL_BSP_SCHEDULE_DELAY=5s", "OTEL_BSP_SCHEDULE_DELAY: bad value: want a whole number above 0"},
		{"OTEL_BSP_MAX_QUEUE_SIZE=-1", "OTEL_BSP_MAX_QUEUE_SIZE: bad value"},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE=0", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE: bad value"},
		{"OTEL_BSP_EXPORT_TIMEOUT=secret", "OTEL_BSP_EXPORT_TIMEOUT: bad value"},
	} {
		t.Run(c.env, func(t *testing.T) {
			environment(t, append([]string{"OTEL_TRACES_EXPORTER=otlp"}, strings.Split(strings.ReplaceAll(c.env, " OTEL", "\nOTEL"), "\n")...)...)
			tracer, err := New(config)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "secret")
			require.NotContains(t, err.Error(), "\n")
			require.Nil(t, tracer)
			_, err = Check()
			require.ErrorContains(t, err, c.want)
		})
	}
}
