package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

var builtIn = []string{"diff", "ignoreevents", "log", "slack"}

// load reads a configuration as kwatchman does, in a folder of its own.
func load(t *testing.T, args ...string) (*Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(fs)
	require.NoError(t, fs.Parse(args))
	return Load(fs, builtIn)
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestWithNothingConfiguredTheFiveResourcesGoThroughDiffAndLog(t *testing.T) {
	t.Chdir(t.TempDir())
	cfg, err := load(t)
	require.NoError(t, err)
	var names, steps []string
	for _, r := range cfg.Watched {
		names = append(names, r.Name)
	}
	for _, s := range cfg.Steps {
		steps = append(steps, s.Name)
	}
	require.Equal(t, []string{"deployments", "services", "statefulsets", "daemonsets", "ingresses"}, names)
	require.Equal(t, []string{"diff", "log"}, steps)
}

func TestTheEnvironmentOverlaysTheDefaults(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("KW_HANDLERS", " http://a/ , http://b:1/x?y=z, Slack,")
	t.Setenv("KW_RESOURCES", "deploy, cm")
	t.Setenv("KW_QUEUE_BYTES", "1Gi")
	t.Setenv("KW_LOG_LEVEL", "Warning")
	t.Setenv("KW_LABEL_SELECTOR", "app in (a,b),tier!=test")
	t.Setenv("KW_SERVICE_HOST", "10.0.0.1") // of a Service called kw
	cfg, err := load(t)
	require.NoError(t, err)
	require.Equal(t, []Step{
		{URL: "http://a/", Where: "KW_HANDLERS: entry 1"},
		{URL: "http://b:1/x?y=z", Where: "KW_HANDLERS: entry 2"},
		{Name: "slack", Where: "KW_HANDLERS: entry 3"},
	}, cfg.Steps)
	require.Equal(t, []string{"deploy", "cm"}, cfg.Resources)
	require.Equal(t, Bytes(1<<30), cfg.QueueBytes)
	require.Equal(t, "warn", cfg.LogLevel.String())
	require.Equal(t, "app in (a,b),tier!=test", cfg.Watched[1].LabelSelector, "a selector's commas are its own")
	require.Equal(t, 16, cfg.Concurrency)
	require.Equal(t, 15*time.Second, cfg.AttemptTimeout())
	t.Setenv("K_SINK", "http://sink.example.com")
	cfg, err = load(t)
	require.NoError(t, err)
	require.Equal(t, 10*time.Minute, cfg.AttemptTimeout())
	require.True(t, cfg.Knative.Replaces)
}

// The example of the original's documentation, in the three formats.
var examples = []string{"config.toml", "config.yaml", "config.json"}

func TestTheOriginalsFileSaysTheSameInAllFormats(t *testing.T) {
	for _, name := range examples {
		t.Run(name, func(t *testing.T) {
			cfg, err := load(t, "-c", filepath.Join("testdata", name))
			require.NoError(t, err)
			var kinds, steps []string
			for _, r := range cfg.Watched {
				kinds = append(kinds, r.Name)
			}
			for _, s := range cfg.Steps {
				steps = append(steps, s.Name)
			}
			require.Equal(t, []string{"deployment", "service", "statefulset", "daemonset", "ingress"}, kinds)
			require.Equal(t, []string{"diff", "log", "ignoreevents", "slack"}, steps)
			require.Equal(t, map[string]any{"events": []any{"Add", "Delete"}}, cfg.Steps[2].Settings)
			require.Equal(t, map[string]any{"clustername": "myClusterName", "webhookurl": "https://slack-webhook-url"}, cfg.Steps[3].Settings)
		})
	}
}

func TestAFileInTheWorkingFolderIsReadUnlessTheSettingIsEmpty(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	require.NoError(t, os.WriteFile("config.toml", []byte("[[resource]]\nkind = 'secrets'\n"), 0o600))
	cfg, err := load(t)
	require.NoError(t, err)
	require.Equal(t, "secrets", cfg.Watched[0].Name)
	require.Len(t, cfg.Steps, 2, "what the file does not say has its default")
	cfg, err = load(t, "-c", "")
	require.NoError(t, err)
	require.Len(t, cfg.Watched, 5)
	t.Setenv("KW_CONFIG_FILE", "")
	cfg, err = load(t)
	require.NoError(t, err)
	require.Len(t, cfg.Watched, 5)
}

func TestAFlagGoesOverTheEnvironmentOverTheFile(t *testing.T) {
	t.Setenv("KW_CONFIG_FILE", write(t, "c.yaml", `
resource:
- kind: deployments
  namespaces: [a, b]
  labelSelector: from=file
  fieldSelector: metadata.name=file
- kind: nodes
  policies: [cleanReplicasIfPodAutoscaling]
handler:
- {name: audit, url: "http://audit/"}
- {name: log, format: text}
`))
	cfg, err := load(t)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, cfg.Watched[0].Namespaces)
	require.Equal(t, "from=file", cfg.Watched[0].LabelSelector)
	require.Equal(t, "metadata.name=file", cfg.Watched[0].FieldSelector)
	require.Empty(t, cfg.Watched[1].LabelSelector)
	require.Equal(t, "audit", cfg.Steps[0].Name)
	require.Equal(t, "http://audit/", cfg.Steps[0].URL)

	t.Setenv("KW_LABEL_SELECTOR", "from=environment")
	t.Setenv("KW_NAMESPACE", "")
	cfg, err = load(t, "-nc,d")
	require.NoError(t, err)
	require.Equal(t, []string{"c", "d"}, cfg.Watched[0].Namespaces)
	require.Equal(t, "from=environment", cfg.Watched[0].LabelSelector)
	cfg, err = load(t, "--label-selector=from=flag", "-z", "debug", "--kubeconfig", "k")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, cfg.Watched[0].Namespaces, "an empty variable is none")
	require.Equal(t, "from=flag", cfg.Watched[0].LabelSelector)
	require.Equal(t, "debug", cfg.LogLevel.String())
	require.Equal(t, "k", cfg.Kubeconfig)

	t.Setenv("KW_RESOURCES", "pods")
	t.Setenv("KW_HANDLERS", "log,http://other/")
	cfg, err = load(t)
	require.NoError(t, err)
	require.Len(t, cfg.Watched, 1)
	require.Len(t, cfg.Steps, 2)
	require.Equal(t, map[string]any{"format": "text"}, cfg.Steps[0].Settings, "settings of the file hold for the named function")
}

func TestTwoFunctionsOfOneNameAreMarked(t *testing.T) {
	cfg, err := load(t, "-c", write(t, "c.json", `{"handler":[{"name":"slack","webhookURL":"http://a"},{"name":"log"},{"name":"Slack","webhookURL":"http://b"}]}`))
	require.NoError(t, err)
	require.True(t, cfg.Steps[0].Repeated)
	require.False(t, cfg.Steps[1].Repeated)
	require.True(t, cfg.Steps[2].Repeated)
	require.Equal(t, "http://b", cfg.Steps[2].Settings["webhookurl"])
}

func TestAByteOrderMarkAndLineEndsOfWindowsAreTaken(t *testing.T) {
	for _, name := range examples {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		cfg, err := load(t, "-c", write(t, name, "\uFEFF"+strings.ReplaceAll(string(text), "\n", "\r\n")))
		require.NoError(t, err, name)
		require.Len(t, cfg.Steps, 4)
		require.Equal(t, "service", cfg.Watched[1].Name)
	}
}

func TestAnEmptyFlagWidensTheScopeOfTheFile(t *testing.T) {
	path := write(t, "c.yaml", "resource: [{kind: cm, namespaces: [a], labelSelector: x=y}]\n")
	t.Setenv("KW_NAMESPACE", "b")
	cfg, err := load(t, "-c", path, "-n", "", "-l", "")
	require.NoError(t, err)
	require.Empty(t, cfg.Watched[0].Namespaces)
	require.Empty(t, cfg.Watched[0].LabelSelector)
	t.Setenv("KW_NAMESPACE", "")
	t.Setenv("KW_LABEL_SELECTOR", "")
	cfg, err = load(t, "-c", path)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, cfg.Watched[0].Namespaces, "an empty variable is none")
	require.Equal(t, "x=y", cfg.Watched[0].LabelSelector)
}

func TestTheOriginalsLogLevelsAreTaken(t *testing.T) {
	t.Chdir(t.TempDir())
	for word, want := range map[string]string{
		"panic": "error", "fatal": "error", "error": "error", "warning": "warn", "info": "info", "debug": "debug", "trace": "debug",
	} {
		cfg, err := load(t, "-z", word)
		require.NoError(t, err)
		require.Equal(t, want, cfg.LogLevel.String(), word)
	}
}
