package watcher

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kwatchman/kwatchman/internal/settings"
	"github.com/kwatchman/kwatchman/watcher/chain"
)

// Prefix starts the name of every setting of the watcher.
const Prefix = "KW"

// Config is what the watcher is told; DefaultConfig gives the defaults.
type Config struct {
	// Resources are names as kubectl takes them: plural, singular, kind or
	// short name, with or without the group.
	Resources []string `split_words:"true" desc:"what to watch, by any name that kubectl takes, separated by commas"`
	// Namespace limits the scope; empty means all.
	Namespace         []string `split_words:"true" desc:"namespaces to watch, separated by commas (all)"`
	ExcludeNamespaces []string `split_words:"true" desc:"namespaces to leave out, separated by commas"`
	LabelSelector     string   `split_words:"true" desc:"watch only objects with these labels, in Kubernetes' syntax"`
	FieldSelector     string   `split_words:"true" desc:"watch only objects with these fields, in Kubernetes' syntax"`
	// SkipNoise drops updates that consist of nothing but the noise list.
	SkipNoise bool `split_words:"true" desc:"true: an update of machine-written fields only is not sent at all"`
	// Handlers are the URLs of the chain's steps, in order.
	Handlers []string `split_words:"true" desc:"the chain: URLs of functions in order, separated by commas"`

	Kubeconfig  string   `split_words:"true" desc:"path of a kubeconfig (KUBECONFIG, ~/.kube/config, or the Pod's service account)"`
	LogLevel    LogLevel `split_words:"true" desc:"debug, info, warn or error (info)"`
	ClusterName string   `split_words:"true" desc:"name of the cluster in events (the UID of namespace kube-system)"`
	Initial     Initial  `split_words:"true" desc:"baseline: objects that exist at the start are no changes; emit: each is an Add"`
	Concurrency int      `split_words:"true" desc:"objects whose changes are delivered at once"`
	QueueEvents int      `split_words:"true" desc:"changes that may wait; when the queue is full the watch waits"`
	QueueBytes  Bytes    `split_words:"true" desc:"memory of the changes that may wait"`
	// Timeout bounds one attempt; 0 stands for 15 s, with K_SINK for 10 min.
	Timeout      time.Duration `split_words:"true" desc:"time for one attempt at one step (15s; 10m with K_SINK)"`
	RetryMax     int           `split_words:"true" desc:"attempts after the first before a change is given up; 0: no limit"`
	RetryWaitMin time.Duration `split_words:"true" desc:"wait before the first retry; it doubles from there"`
	RetryWaitMax time.Duration `split_words:"true" desc:"longest wait between two attempts"`
	MetricsAddr  string        `split_words:"true" desc:"where /healthz and /readyz are served; empty: nowhere"`

	knative knativeEnv
}

// DefaultConfig is what holds where nothing is set.
func DefaultConfig() Config {
	return Config{
		Resources:    []string{"deployments", "services", "statefulsets", "daemonsets", "ingresses"},
		Initial:      "baseline",
		Concurrency:  16,
		QueueEvents:  10000,
		QueueBytes:   64 << 20,
		RetryWaitMin: 500 * time.Millisecond,
		RetryWaitMax: time.Minute,
		MetricsAddr:  defaultMetricsAddr,
	}
}

const defaultMetricsAddr = ":9090"

// knativeEnv is what Knative's SinkBinding sets in the environment.
type knativeEnv struct {
	sink       string
	extensions map[string]string
	caCerts    string
}

// Initial says what the objects that exist at the start are.
type Initial string

// Decode reads the setting.
func (i *Initial) Decode(v string) error {
	if v != "baseline" && v != "emit" {
		return settings.BadValue("bad value: want baseline or emit")
	}
	*i = Initial(v)
	return nil
}

// Bytes is a number of bytes, written in Kubernetes' way: 64Mi.
type Bytes int

// Decode reads the setting.
func (b *Bytes) Decode(v string) error {
	q, err := resource.ParseQuantity(v)
	if err != nil || q.Value() <= 0 || q.Value() > 1<<40 {
		return settings.BadValue("bad value: want a size such as 64Mi or 1Gi, up to 1Ti")
	}
	*b = Bytes(q.Value())
	return nil
}

func (b Bytes) String() string { return resource.NewQuantity(int64(b), resource.BinarySI).String() }

// LogLevel is a level of slog.
type LogLevel slog.Level

// Decode reads the setting. The original's further words are taken for the
// nearest level.
func (l *LogLevel) Decode(v string) error {
	levels := map[string]slog.Level{
		"trace": slog.LevelDebug, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warning": slog.LevelWarn,
		"warn": slog.LevelWarn, "error": slog.LevelError, "fatal": slog.LevelError, "panic": slog.LevelError,
	}
	level, ok := levels[strings.ToLower(v)]
	if !ok {
		return settings.BadValue("bad value: want debug, info, warn or error")
	}
	*l = LogLevel(level)
	return nil
}

// Level makes it a slog.Leveler.
func (l LogLevel) Level() slog.Level { return slog.Level(l) }

func (l LogLevel) String() string { return strings.ToLower(l.Level().String()) }

// extensionName is what CloudEvents allows (spec 1.0, naming conventions).
var extensionName = regexp.MustCompile(`^[a-z0-9]+$`)

// ownAttributes are what the watcher itself says with each event.
var ownAttributes = []string{
	"id", "source", "type", "subject", "time", "specversion", "datacontenttype", "dataschema", "data",
	"cluster", "apiversion", "kind", "namespace", "name", "partitionkey", "via", "continue",
}

// load reads the environment over the defaults.
func load(cfg *Config) error {
	if err := settings.Load(Prefix, cfg); err != nil {
		return err
	}
	for _, list := range []*[]string{&cfg.Resources, &cfg.Namespace, &cfg.ExcludeNamespaces, &cfg.Handlers} {
		*list = trimmed(*list)
	}
	cfg.knative.sink = os.Getenv("K_SINK")
	cfg.knative.caCerts = os.Getenv("K_CA_CERTS")
	if v := os.Getenv("K_CE_OVERRIDES"); v != "" {
		var overrides struct{ Extensions map[string]string }
		if json.Unmarshal([]byte(v), &overrides) != nil {
			return errors.New(`K_CE_OVERRIDES: bad value: want JSON such as {"extensions":{"name":"value"}}`)
		}
		for name := range overrides.Extensions {
			if !extensionName.MatchString(name) {
				return fmt.Errorf("K_CE_OVERRIDES: extension %.40q: a name has lower-case letters and digits only", name)
			}
			if slices.Contains(ownAttributes, name) {
				return fmt.Errorf("K_CE_OVERRIDES: extension %q belongs to the event and cannot be overridden", name)
			}
			if strings.ContainsFunc(overrides.Extensions[name], unicode.IsControl) {
				return fmt.Errorf("K_CE_OVERRIDES: extension %q holds a control character", name)
			}
		}
		cfg.knative.extensions = overrides.Extensions
	}
	return nil
}

// trimmed allows "a, b" and a comma at the end.
func trimmed(list []string) []string {
	var out []string
	for _, v := range list {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// validate checks what can be checked without asking anybody.
func (c *Config) validate() error {
	if err := c.validateScope(); err != nil {
		return err
	}
	if err := c.validateTargets(); err != nil {
		return err
	}
	for _, limit := range []struct {
		bad  bool
		text string
	}{
		{c.Concurrency < 1, "KW_CONCURRENCY: bad value: want at least 1"},
		{c.Concurrency > 1024, "KW_CONCURRENCY: bad value: want at most 1024"},
		{c.QueueEvents < 1, "KW_QUEUE_EVENTS: bad value: want at least 1"},
		{c.Timeout < 0, "KW_TIMEOUT: bad value: want 0 (the default) or more"},
		{c.RetryMax < 0, "KW_RETRY_MAX: bad value: want 0 (no limit) or more"},
		{c.RetryWaitMin < time.Millisecond, "KW_RETRY_WAIT_MIN: bad value: want at least 1ms"},
		{c.RetryWaitMax < c.RetryWaitMin, "KW_RETRY_WAIT_MAX: bad value: want at least KW_RETRY_WAIT_MIN, which is " + c.RetryWaitMin.String()},
	} {
		if limit.bad {
			return errors.New(limit.text)
		}
	}
	if strings.ContainsFunc(c.ClusterName, unicode.IsControl) {
		return errors.New("KW_CLUSTER_NAME: bad value: holds a control character")
	}
	return nil
}

// validateTargets shows no value: it may be a webhook, which is a secret.
func (c *Config) validateTargets() error {
	for i, h := range c.Handlers {
		if !strings.Contains(h, "://") {
			return fmt.Errorf("KW_HANDLERS: entry %d is no URL: built-in functions are part of the all-in-one binary, "+
				"here each is a URL such as http://diff:8080", i+1)
		}
		if _, err := chain.ParseTarget(h); err != nil {
			return fmt.Errorf("KW_HANDLERS: entry %d %w", i+1, err)
		}
	}
	if c.knative.sink != "" {
		if _, err := chain.ParseTarget(c.knative.sink); err != nil {
			return errors.New("K_SINK: bad value: want a URL")
		}
		return nil
	}
	if len(c.Handlers) == 0 {
		return errors.New("no handlers: set KW_HANDLERS to the URLs of the chain's functions, or K_SINK")
	}
	return nil
}

func (c *Config) validateScope() error {
	if len(c.Resources) == 0 {
		return errors.New("KW_RESOURCES: names no resource")
	}
	for name, namespaces := range map[string][]string{
		"KW_NAMESPACE": c.Namespace, "KW_EXCLUDE_NAMESPACES": c.ExcludeNamespaces,
	} {
		for _, n := range namespaces {
			if len(validation.IsDNS1123Label(n)) > 0 {
				return fmt.Errorf("%s: %.63q is no name of a namespace", name, n)
			}
		}
	}
	if len(c.Namespace) > 0 && !slices.ContainsFunc(c.Namespace, func(n string) bool { return !slices.Contains(c.ExcludeNamespaces, n) }) {
		return errors.New("KW_EXCLUDE_NAMESPACES: leaves nothing of KW_NAMESPACE")
	}
	if _, err := labels.Parse(c.LabelSelector); err != nil {
		return fmt.Errorf("KW_LABEL_SELECTOR: bad value: %w", err)
	}
	if _, err := fields.ParseSelector(c.FieldSelector); err != nil {
		return fmt.Errorf("KW_FIELD_SELECTOR: bad value: %w", err)
	}
	return nil
}

// timeout is the time for one attempt.
func (c *Config) timeout() time.Duration {
	switch {
	case c.Timeout > 0:
		return c.Timeout
	case c.knative.sink != "":
		return 10 * time.Minute // the post returns when the whole Sequence is done
	}
	return 15 * time.Second
}
