// Package deploy tests what users install: the Helm chart in its three modes, the
// plain manifests rendered from it, and its schema, on a real API server.
package deploy

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files anew")

// helmEnv names the helm that make builds; what needs it is skipped without.
const helmEnv = "KWATCHMAN_TEST_HELM"

const chart = "../../deploy/helm/kwatchman"

var modes = []string{"sidecar", "services", "knative"}

// helm runs it; a failure gives what it says.
func helm(t *testing.T, args ...string) (stdout string, failure string) {
	t.Helper()
	path := os.Getenv(helmEnv)
	if path == "" {
		t.Skip("needs helm: run it with make test, or set " + helmEnv)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG=/dev/null", "HELM_CACHE_HOME="+t.TempDir(), "HELM_CONFIG_HOME="+t.TempDir(), "HELM_DATA_HOME="+t.TempDir())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		require.ErrorAs(t, err, new(*exec.ExitError))
		return "", errs.String()
	}
	return out.String(), ""
}

// render is helm template, which has to work.
func render(t *testing.T, args ...string) string {
	t.Helper()
	out, failure := helm(t, append([]string{"template", "kwatchman", chart, "--namespace", "kwatchman"}, args...)...)
	require.Empty(t, failure)
	return out
}

func objects(t *testing.T, manifests string) (out []*unstructured.Unstructured) {
	t.Helper()
	for document := range strings.SplitSeq("\n"+manifests, "\n---\n") {
		o := &unstructured.Unstructured{}
		require.NoError(t, yaml.UnmarshalStrict([]byte(document), &o.Object), document)
		if o.Object != nil {
			out = append(out, o)
		}
	}
	return out
}

func TestTheChartInEachModeIsAsItWas(t *testing.T) {
	for _, mode := range modes {
		for _, values := range []string{"everything", "scoped"} {
			t.Run(mode+" "+values, func(t *testing.T) {
				got := render(t, "--set", "mode="+mode, "--values", "testdata/"+values+".yaml")
				golden := filepath.Join("testdata", mode+"-"+values+".golden.yaml")
				if *update {
					require.NoError(t, os.WriteFile(golden, []byte(got), 0o600))
				}
				want, err := os.ReadFile(golden)
				require.NoError(t, err)
				assert.Equal(t, string(want), got, "go test ./test/deploy -update writes %s anew", golden)
			})
		}
	}
}

func TestHelmLintsTheChart(t *testing.T) {
	for _, mode := range modes {
		out, failure := helm(t, "lint", "--strict", chart, "--set", "mode="+mode, "--values", "testdata/everything.yaml")
		require.Empty(t, failure)
		assert.NotContains(t, out, "[WARNING]")
	}
}

// What cannot be is refused with a line that says where and what.
func TestBadValuesAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ values, want string }{
		"unknown mode":              {`mode: side-car`, `at '/mode': value must be one of 'sidecar', 'services', 'knative'`},
		"typo at the top":           {`resource: [pods]`, `additional properties 'resource' not allowed`},
		"typo in a setting":         {`functions: {slack: {settings: {chanel: "#ops"}}}`, `at '/functions/slack/settings': additional properties 'chanel' not allowed`},
		"typo in a function":        {`functions: {diff: {setting: {}}}`, `at '/functions/diff': additional properties 'setting' not allowed`},
		"typo in a watcher setting": {`watcher: {settings: {loglevel: debug}}`, `at '/watcher/settings': additional properties 'loglevel' not allowed`},
		"no log level":              {`watcher: {settings: {logLevel: loud}}`, `at '/watcher/settings/logLevel': value must be one of`},
		"no duration":               {`watcher: {settings: {timeout: 15}}`, `at '/watcher/settings/timeout': got number, want string`},
		"no duration, as text":      {`watcher: {settings: {timeout: soon}}`, `at '/watcher/settings/timeout': 'soon' does not match pattern`},
		"a list as text":            {`namespaces: shop`, `at '/namespaces': got string, want array`},
		"no namespace":              {`namespaces: [Shop_1]`, `at '/namespaces/0': 'Shop_1' does not match pattern`},
		"a secret in plain":         {`functions: {slack: {settings: {webhookURL: "https://hooks.example.com/x"}}}`, `at '/functions/slack/settings': additional properties 'webhookURL' not allowed`},
		"a secret without key":      {`functions: {slack: {secrets: {token: {name: slack}}}}`, `at '/functions/slack/secrets/token': missing property 'key'`},
		"no state":                  {`state: {type: disk}`, `at '/state/type': value must be one of 'emptyDir', 'volume', 'none'`},
		"no size":                   {`state: {size: huge}`, `at '/state/size': 'huge' does not match pattern`},
		"no action":                 {`functions: {ignoreevents: {settings: {events: [Updated]}}}`, `at '/functions/ignoreevents/settings/events/0': value must be one of 'Add', 'Update', 'Delete'`},
		"no port":                   {`metrics: {port: 70000}`, `at '/metrics/port': maximum: got 70,000, want 65,535`},
		"empty chain":               {`chain: []`, `at '/chain': minItems: got 0, want 1`},
		"an odd step":               {`chain: ["diff log"]`, `at '/chain/0': 'diff log' does not match pattern`},
		"unknown step":              {`chain: [diff, slak]`, `chain: "slak" is no function; functions are diff, exec, filter, ignoreevents, log, slack, webhook, or give it an entry under functions`},
		"own handler without image": {"chain: [mine]\nfunctions: {mine: {replicas: 1}}", `missing property 'image'`},
		"copy of nothing":           {"functions: {slack-ops: {function: slak}}", `at '/functions/slack-ops/function': value must be one of`},
		"a reserved name":           {`functions: {watcher: {image: x}}`, `functions.watcher: the chart has another use for this name`},
		"a Secret that is missing":  {`chain: [diff, slack]`, `functions.slack: it is in the chain and needs webhookURL or token, under settings or secrets`},
		"a rule that is missing":    {`chain: [filter]`, `functions.filter: it is in the chain and needs rule or rules`},
		"one port twice":            {`metrics: {port: 8081}`, `port 8081 is wanted twice in one Pod`},
		"replicas without a Lease":  {"replicas: 2\nlease: {enabled: false}", `replicas: more than one watcher need lease.enabled`},
		"replicas with a volume":    {"replicas: 2\nstate: {type: volume}", `replicas: only one watcher can have the volume`},
		"tokens but none to send":   {`token: {accepted: {name: a, key: b}}`, `token.accepted: give token.secret too`},
		"no replicas":               {`replicas: 0`, `at '/replicas': minimum: got 0, want 1`},
		"no duration of the Lease":  {`lease: {duration: 15}`, `at '/lease/duration': got number, want string`},
		"a claim without a volume":  {`state: {existingClaim: mine}`, `state.existingClaim: it is used with state.type=volume`},
		"a kind for the plural":     {`resources: [CronTab.stable.example.com]`, `name a custom resource by its plural, in small letters`},
		"nothing for a list":        {`resources: null`, `missing property 'resources'`},
		"nothing for a section":     {`state: null`, `missing property 'state'`},
		"no tag":                    {`image: {tag: "sha256:abc"}`, `at '/image/tag': 'sha256:abc' does not match pattern`},
		"the original's name":       {`chain: [ignoreEvents]`, `chain: "ignoreEvents" is no function; functions are diff, exec, filter, ignoreevents`},
		"typo in a copy":            {"functions: {slack-ops: {function: slack, settings: {chanel: x}}}", `at '/functions/slack-ops/settings': additional properties 'chanel' not allowed`},
		"unknown resource":          {`resources: [deploymnts]`, `resources: "deploymnts" is no resource of Kubernetes' own; name a custom resource as plural.group`},
		"typo in a resource":        {`resources: [{kind: pods, namespace: shop}]`, `at '/resources/0': additional properties 'namespace' not allowed`},
		"two tokens":                {"token: {secret: {name: a, key: b}}\nwatcher: {settings: {tokenFile: /c}}", `watcher.settings.tokenFile: token.secret is set too; give one of the two`},
		"two certificates":          {"tls: {secret: a}\nwatcher: {settings: {tlsCaFile: /c}}", `watcher.settings.tlsCaFile: tls.secret is set too; give one of the two`},
		"a token without key":       {`token: {secret: {name: a}}`, `at '/token/secret': properties 'key' required, if 'name' exists`},
		"set twice": {
			"functions: {webhook: {settings: {endpoint: x}, secrets: {endpoint: {name: a, key: b}}}}\nchain: [webhook]",
			`functions.webhook.settings.endpoint: it is in secrets too; give one of the two`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			// Not in t.TempDir, whose name holds that of the test and may hold a comma, which --values takes for two files.
			dir, err := os.MkdirTemp("", "kwatchman-values-")
			require.NoError(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			file := filepath.Join(dir, "values.yaml")
			require.NoError(t, os.WriteFile(file, []byte(c.values), 0o600))
			_, failure := helm(t, "template", "kwatchman", chart, "--values", file)
			assert.Contains(t, failure, c.want)
			for line := range strings.SplitSeq(failure, "\n") {
				assert.LessOrEqual(t, len(line), 300, "a line that nobody reads")
			}
		})
	}
}

// valuesSchema is the part of values.schema.json that lists names.
func valuesSchema(t *testing.T) (root map[string]any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chart, "values.schema.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &root))
	return root
}

func at(t *testing.T, v any, path ...string) map[string]any {
	t.Helper()
	for _, key := range path {
		m, ok := v.(map[string]any)
		require.True(t, ok, "%v at %s", path, key)
		v = m[key]
	}
	m, ok := v.(map[string]any)
	require.True(t, ok, "%v", path)
	return m
}

func TestTheRenderedManifestsAreThoseOfTheChart(t *testing.T) {
	for _, file := range []string{"plain/sidecar", "plain/services", "knative"} {
		mode := filepath.Base(file)
		committed, err := os.ReadFile(filepath.Join("../../deploy", file, "kwatchman.yaml"))
		require.NoError(t, err)
		got, want := objects(t, string(committed)), objects(t, render(t, "--skip-tests", "--set", "mode="+mode))
		require.Len(t, got, len(want))
		for i, o := range want {
			withoutHelm(o)
			assert.Equal(t, o.Object, got[i].Object, "run make manifests")
		}
	}
}

// withoutHelm leaves out what make manifests leaves out.
func withoutHelm(o *unstructured.Unstructured) {
	for _, path := range [][]string{{"metadata", "labels"}, {"spec", "template", "metadata", "labels"}, {"metadata", "annotations"}} {
		for _, key := range []string{"app.kubernetes.io/managed-by", "helm.sh/chart"} {
			unstructured.RemoveNestedField(o.Object, append(path, key)...)
		}
	}
}

// A step keeps its port when others come and go: a dead letter names it by that.
func TestPortsInOnePodDoNotDependOnTheChain(t *testing.T) {
	for chain, want := range map[string]string{
		"diff,log":      "http://localhost:8081,http://localhost:8085",
		"log,mine,diff": "http://localhost:8085,http://localhost:8100,http://localhost:8081",
		"pinned,log":    "http://localhost:7000,http://localhost:8085",
	} {
		out := render(t, "--set", "chain={"+chain+"}", "--set", "functions.mine.image=example/mine", "--set", "functions.pinned.image=example/pinned", "--set", "functions.pinned.port=7000")
		assert.Contains(t, out, `value: "`+want+`"`)
	}
}

// A handler that somebody else wrote need not answer GET /readyz.
func TestOwnHandlersAreProbedByTheirPort(t *testing.T) {
	for _, mode := range []string{"sidecar", "services"} {
		for _, o := range objects(t, render(t, "--set", "mode="+mode, "--set", "chain={mine}", "--set", "functions.mine.image=example/mine")) {
			for _, list := range []string{"initContainers", "containers"} {
				containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", list)
				for _, c := range containers {
					m := at(t, c)
					if m["name"] == "mine" {
						assert.Contains(t, at(t, m, "livenessProbe"), "tcpSocket")
						assert.NotContains(t, at(t, m, "livenessProbe"), "httpGet")
					}
				}
			}
		}
	}
}

// Names that YAML would take for something else stay names.
func TestNamesStayWords(t *testing.T) {
	for _, release := range []string{"123", "true", "on", "1e3", "my.release"} {
		out, failure := helm(t, "template", release, chart, "--namespace", "123", "--set", "mode=services", "--set", "chain={diff,on}", "--set", "functions.on.image=example/on",
			"--set-json", `namespaces=["123"]`, "--set-json", `image.pullSecrets=["123"]`, "--set-string", "serviceAccount.name=123")
		require.Empty(t, failure)
		for _, o := range objects(t, out) {
			assert.NotEmpty(t, o.GetName(), out)
			assert.NotContains(t, o.GetName(), ".")
			if !strings.HasPrefix(o.GetKind(), "ClusterRole") {
				assert.Equal(t, "123", o.GetNamespace(), o.GetKind())
			}
			assert.Equal(t, release, o.GetLabels()["app.kubernetes.io/instance"])
		}
	}
}
