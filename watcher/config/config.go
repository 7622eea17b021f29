// Package config says what the watcher is told: flags over environment over
// the configuration file over the defaults, strictly. Every error is one line
// that names the flag, variable or key and never holds a value that may be a
// secret.
package config

import (
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kwatchman/kwatchman/internal/settings"
	"github.com/kwatchman/kwatchman/internal/signature"
	"github.com/kwatchman/kwatchman/watcher/deadletter"
	"github.com/kwatchman/kwatchman/watcher/object/credential"
)

// Prefix starts the name of every setting of the watcher.
const Prefix = "KW"

// Config is what the watcher is told: Default, with what Load reads over it.
type Config struct {
	ConfigFile string `split_words:"true" desc:"configuration file: TOML, YAML or JSON (config.toml, if there is one)" flag:"config" short:"c"`
	// Resources are names as kubectl takes them: plural, singular, kind or
	// short name, with or without the group; * is all.
	Resources []string `split_words:"true" desc:"what to watch; * is all"`
	// Namespace limits the scope; empty means all.
	Namespace         []string `split_words:"true" desc:"namespaces to watch, separated by commas (all)" flag:"namespace" short:"n"`
	ExcludeNamespaces []string `split_words:"true" desc:"namespaces to leave out, separated by commas"`
	LabelSelector     string   `split_words:"true" desc:"watch only objects with these labels, in Kubernetes' syntax" flag:"label-selector" short:"l"`
	FieldSelector     string   `split_words:"true" desc:"watch only objects with these fields, in Kubernetes' syntax"`
	// SkipNoise drops updates that consist of nothing but the noise list.
	SkipNoise bool `split_words:"true" desc:"true: an update of machine-written fields only is not sent at all"`
	// Handlers are the chain's steps in order: URLs and names of functions.
	Handlers []string `split_words:"true" desc:"the chain in order: URLs, and names of built-in functions" flag:"handlers"`

	Kubeconfig  string   `split_words:"true" desc:"path of a kubeconfig (KUBECONFIG, ~/.kube/config, or the Pod's account)" flag:"kubeconfig" short:"k"`
	LogLevel    LogLevel `split_words:"true" desc:"debug, info, warn or error (info)" flag:"log-level" short:"z"`
	ClusterName string   `split_words:"true" desc:"name of the cluster in events (the UID of namespace kube-system)"`
	// StateDir is where what must not be forgotten is kept; empty: in memory.
	StateDir    string  `split_words:"true" desc:"folder that keeps objects, queue and position over a restart"`
	Initial     Initial `split_words:"true" desc:"baseline: objects of the start are no changes; emit: each is an Add"`
	Concurrency int     `split_words:"true" desc:"objects whose changes are delivered at once"`
	QueueEvents int     `split_words:"true" desc:"changes that may wait; when the queue is full the watch waits"`
	// QueueBytes bounds what waits; 0 stands for 64 MiB, or 1 GiB on disk.
	QueueBytes Bytes `split_words:"true" desc:"bytes of the changes that may wait (64Mi; 1Gi with KW_STATE_DIR)"`
	// Timeout bounds one attempt; 0 stands for 15 s, with K_SINK for 10 min.
	Timeout      time.Duration `split_words:"true" desc:"time for one attempt at one step (15s; 10m with K_SINK)"`
	RetryMax     int           `split_words:"true" desc:"attempts after the first before a change is given up; 0: no limit"`
	RetryWaitMin time.Duration `split_words:"true" desc:"wait before the first retry; it doubles from there"`
	RetryWaitMax time.Duration `split_words:"true" desc:"longest wait between two attempts"`
	// DeadLetter is the URL or file of what is given up; empty: a file in
	// StateDir, if there is one.
	DeadLetter string `split_words:"true" desc:"URL or file for what is given up (a file in KW_STATE_DIR)"`
	// SigningKey are secrets that requests to endpoints are signed with; empty: they are not.
	SigningKey signature.Keys `split_words:"true" desc:"keys to sign requests with, in the form of Standard Webhooks, separated by commas; secrets"`
	// TokenFile holds a token that goes with requests to endpoints, K_SINK too; empty: none does.
	TokenFile string `split_words:"true" desc:"file with a token that endpoints and K_SINK get as Authorization: Bearer; it may be renewed"`
	// TlsCertFile and TlsKeyFile are the client's certificate for endpoints, and TlsCaFile is
	// trusted for them besides the system's CAs. (TLS would be one word to envconfig.)
	TlsCertFile string `split_words:"true" desc:"certificate that https endpoints are shown, a PEM file that may be renewed"`
	TlsKeyFile  string `split_words:"true" desc:"its key, a PEM file"`
	TlsCaFile   string `split_words:"true" desc:"CA that https endpoints are trusted by, besides the system's, a PEM file that may be renewed"`
	// Lease is the Lease of which the holder watches and sends, while others with the same
	// one stand by; empty: this watcher is alone.
	Lease         string        `split_words:"true" desc:"Lease, [namespace/]name, of which only the holder watches and sends: for several replicas"`
	LeaseIdentity string        `split_words:"true" desc:"this watcher's name in the Lease, no other's (the host's and a random one)"`
	LeaseDuration time.Duration `split_words:"true" desc:"how long the others wait for a leader that is not heard of"`
	// Record is a file that every event is also written to; empty: none.
	Record      string `split_words:"true" desc:"file to also write each event to, for explain, send and replay" flag:"record"`
	MetricsAddr string `split_words:"true" desc:"where /metrics, /healthz and /readyz are served; empty: nowhere"`

	// What is redacted outside of Secrets, whose values always are.
	RedactOff    []string `split_words:"true" desc:"rules of what is a credential to switch off: names, private-key, url, token, or all"`
	RedactNames  []string `split_words:"true" desc:"more names whose values are credentials, with * for any characters"`
	RedactKeep   []string `split_words:"true" desc:"names whose values are none, with * for any characters"`
	RedactValues string   `split_words:"true" desc:"a regular expression of what is a credential in any text: its first group, or the whole"`

	// Redaction is what these come to.
	Redaction *credential.Rules `ignored:"true"`

	// Watched is what Resources and the file's resources come to.
	Watched []Resource `ignored:"true"`
	// Steps is what Handlers and the file's handlers come to; empty with a sink.
	Steps   []Step  `ignored:"true"`
	Knative Knative `ignored:"true"`

	// FileSum stands for the content of ConfigFile, see FileSum.
	FileSum string `ignored:"true"`
	// Notes are what the user should know of the configuration.
	Notes []string `ignored:"true"`

	given map[string]string // how the user set a setting: its variable or flag
}

// Resource is one thing to watch, with its scope.
type Resource struct {
	Name          string   // as configured; * is all that no other entry names
	Where         string   // the setting that names it, for errors
	Namespaces    []string // none: all
	LabelSelector string
	FieldSelector string
}

// NamespacesOf lists where a resource that has namespaces is watched; the empty
// one stands for all.
func (c *Config) NamespacesOf(r Resource) []string {
	if len(r.Namespaces) == 0 {
		return []string{""}
	}
	return slices.DeleteFunc(slices.Clone(r.Namespaces), func(ns string) bool { return slices.Contains(c.ExcludeNamespaces, ns) })
}

// All is the name of all resources.
const All = "*"

// Step is one step of the chain.
type Step struct {
	Name     string         // the function that is built in, or what a remote step is called
	URL      string         // of a remote step
	Where    string         // the setting that names it, for errors
	Settings map[string]any // of the function, from the file
	// SettingsWhere is where in the file, if not at Where.
	SettingsWhere string
	// Repeated tells that the file has settings for several functions of this
	// name, so that the environment cannot mean one of them.
	Repeated bool
}

// Default is what holds where nothing is set. builtIn tells whether the
// binary has the built-in functions, of which the default chain is made.
func Default(builtIn bool) Config {
	cfg := Config{
		Resources:    []string{"deployments", "services", "statefulsets", "daemonsets", "ingresses"},
		Initial:      "baseline",
		Concurrency:  16,
		QueueEvents:  10000,
		RetryWaitMin: 500 * time.Millisecond,
		RetryWaitMax: time.Minute,
		MetricsAddr:  DefaultMetricsAddr,

		LeaseDuration: 15 * time.Second,
		given:         map[string]string{},
	}
	if builtIn {
		cfg.Handlers = []string{"diff", "log"}
	}
	return cfg
}

// DefaultMetricsAddr is where health is served if nobody says where.
const DefaultMetricsAddr = ":9090"

// AttemptTimeout is the time for one attempt at one step.
func (c *Config) AttemptTimeout() time.Duration {
	switch {
	case c.Timeout > 0:
		return c.Timeout
	case c.Knative.Sink != "":
		return 10 * time.Minute // the post returns when the whole Sequence is done
	}
	return 15 * time.Second
}

// MaxQueueBytes bounds what waits.
func (c *Config) MaxQueueBytes() int {
	switch {
	case c.QueueBytes > 0:
		return int(c.QueueBytes)
	case c.StateDir != "":
		return 1 << 30
	}
	return 64 << 20
}

// DeadLetterURL is the endpoint of the dead letter, if it is one.
func (c *Config) DeadLetterURL() string {
	if isURL(c.DeadLetter) {
		return c.DeadLetter
	}
	return ""
}

// DeadLetterFile is the file of the dead letter, if it is one.
func (c *Config) DeadLetterFile() string {
	switch {
	case isURL(c.DeadLetter):
		return ""
	case c.DeadLetter == "" && c.StateDir != "":
		return filepath.Join(c.StateDir, deadletter.FileName)
	}
	return c.DeadLetter
}

func isURL(target string) bool { return strings.Contains(target, "://") }

// IsSet tells whether a variable or a flag gives a setting: KW_NAMESPACE.
func (c *Config) IsSet(name string) bool { return c.given[name] != "" }

// flagged tells whether a flag gives a setting.
func (c *Config) flagged(setting string) bool { return strings.HasPrefix(c.given[setting], "--") }

// Of is what to call the scope of a resource in errors: the variable or flag if
// that gives it, else its key in the file.
func (c *Config) Of(setting, where, key string) string {
	if c.IsSet(setting) {
		return c.Name(setting)
	}
	return where + ": " + key
}

// Name is how the user gave a setting, for errors.
func (c *Config) Name(setting string) string {
	if given := c.given[setting]; given != "" {
		return given
	}
	return setting
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
