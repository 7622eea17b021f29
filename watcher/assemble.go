package watcher

import (
	"log/slog"
	"os"

	"github.com/kwatchman/kwatchman/internal/bearer"
	"github.com/kwatchman/kwatchman/internal/tlsfiles"
	"github.com/kwatchman/kwatchman/internal/tracing"
	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/metrics"
	"github.com/kwatchman/kwatchman/watcher/object"
)

func chainConfig(cfg *config.Config, steps []chain.Target, codec *object.Compressor, m *metrics.Metrics, log *slog.Logger) chain.Config {
	out := chain.Config{
		Steps: steps, Extensions: cfg.Knative.Extensions, CACerts: cfg.Knative.CACerts,
		Concurrency: cfg.Concurrency, Timeout: cfg.AttemptTimeout(), RetryMax: cfg.RetryMax,
		RetryWaitMin: cfg.RetryWaitMin, RetryWaitMax: cfg.RetryWaitMax,
		UserAgent: "kwatchman/" + Version, Logger: log, Metrics: m,
		Compress: codec.Compress, Decompress: codec.Decompress,
	}
	if cfg.Knative.Sink == "" { // which passes no foreign headers on
		out.Sign = cfg.SigningKey
	}
	if isTerminal(os.Stderr) {
		out.StopLevel = slog.LevelDebug // most changes are noise, and this would be more of it
	}
	if cfg.Knative.Sink != "" {
		out.Steps, out.Sink = []chain.Target{{URL: cfg.Knative.Sink}}, true
	}
	return out
}

// assemble makes the chain. durable tells that what it does not deliver is kept
// elsewhere.
func assemble(cfg *config.Config, functions map[string]Function, log *slog.Logger, m *metrics.Metrics, tracer *tracing.Tracer, durable bool) (*chain.Chain, *object.Compressor, error) {
	codec, err := object.NewCompressor()
	if err != nil {
		return nil, nil, err
	}
	ch, err := newChain(cfg, functions, codec, log, m, func(of *chain.Config) { of.Durable, of.Tracer = durable, tracer })
	return ch, codec, err
}

// newChain makes the chain, with what adapt changes.
func newChain(cfg *config.Config, functions map[string]Function, codec *object.Compressor, log *slog.Logger, m *metrics.Metrics, adapt func(*chain.Config)) (*chain.Chain, error) {
	steps, err := targets(cfg, functions)
	if err != nil {
		return nil, err
	}
	of := chainConfig(cfg, steps, codec, m, log)
	adapt(&of)
	if of.TLS, err = clientFiles(cfg, log); err != nil {
		return nil, err
	}
	if of.Token, err = token(cfg, log); err != nil {
		return nil, err
	}
	return chain.New(of)
}

// clientFiles reads the certificates for endpoints; nil: there are none.
func clientFiles(cfg *config.Config, log *slog.Logger) (*tlsfiles.Loader, error) {
	files := tlsfiles.Files{Cert: cfg.TlsCertFile, Key: cfg.TlsKeyFile, CA: cfg.TlsCaFile}
	if files == (tlsfiles.Files{}) {
		return nil, nil
	}
	names := tlsfiles.Files{Cert: "KW_TLS_CERT_FILE", Key: "KW_TLS_KEY_FILE", CA: "KW_TLS_CA_FILE"}
	return tlsfiles.Open(files, names, func(err error) { log.Error("certificate not renewed", "error", err) })
}

// token reads the token for endpoints; nil: there is none.
func token(cfg *config.Config, log *slog.Logger) (*bearer.Token, error) {
	if cfg.TokenFile == "" {
		return nil, nil
	}
	return bearer.Open("KW_TOKEN_FILE", cfg.TokenFile, func(err error) { log.Error("token not renewed", "error", err) })
}
