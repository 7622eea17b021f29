package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const anywhere = "KW_HANDLERS=http://127.0.0.1:9/"

func TestAWatcherThatCannotStartSaysWhyInOneLine(t *testing.T) {
	c := newCluster(t)
	here := "KW_KUBECONFIG=" + c.kubeconfig
	absent := filepath.Join(t.TempDir(), "absent")
	closed := writeKubeconfig(t, c, func(cfg *clientcmdapi.Config) { cfg.Clusters["c"].Server = "https://127.0.0.1:1" })
	noRights := writeKubeconfig(t, c, func(cfg *clientcmdapi.Config) { cfg.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: "no-such-token"} })
	forbidden := c.serviceAccount("list-only", "list")
	tests := []struct {
		name string
		env  []string
		want string
	}{
		{"unknown resource", []string{here, anywhere, "KW_RESOURCES=deploymnts"}, `KW_RESOURCES: unknown resource "deploymnts": did you mean deployments\?`},
		{"resource that cannot be watched", []string{here, anywhere, "KW_RESOURCES=tokenreviews"}, `"tokenreviews" cannot be listed and watched`},
		{"no handlers", []string{here}, `no handlers: set KW_HANDLERS`},
		{"name for a handler", []string{here, "KW_HANDLERS=diff,log"}, `KW_HANDLERS: entry 1 is no URL`},
		{"bad URL", []string{here, "KW_HANDLERS=http://127.0.0.1:9/,http://"}, `KW_HANDLERS: entry 2 is no URL`},
		{"URL of another scheme", []string{here, "KW_HANDLERS=ftp://user:secret-word@host/"}, `KW_HANDLERS: entry 1 is no URL`},
		{"port that does not exist", []string{here, "KW_HANDLERS=http://127.0.0.1:99999/"}, `KW_HANDLERS: entry 1 is no URL`},
		{"attribute of the event overridden", []string{here, "K_SINK=http://127.0.0.1:9", `K_CE_OVERRIDES={"extensions":{"subject":"c"}}`}, `K_CE_OVERRIDES: extension "subject" belongs to the event`},
		{"nothing left to watch", []string{here, anywhere, "KW_NAMESPACE=a,b", "KW_EXCLUDE_NAMESPACES=b,a"}, `KW_EXCLUDE_NAMESPACES: leaves nothing of KW_NAMESPACE`},
		{"bad wait", []string{here, anywhere, "KW_RETRY_WAIT_MIN=2m"}, `KW_RETRY_WAIT_MAX: bad value: want at least KW_RETRY_WAIT_MIN, which is 2m0s`},
		{"KUBECONFIG that is absent", []string{"KUBECONFIG=" + absent, anywhere}, `KUBECONFIG: no cluster in .*absent: does the file exist\?`},
		{"URL with a fragment", []string{here, "KW_HANDLERS=http://127.0.0.1:9/#part"}, `KW_HANDLERS: entry 1 is no URL`},
		{"bad sink", []string{here, "K_SINK=nowhere"}, `K_SINK: bad value: want a URL`},
		{"bad overrides", []string{here, "K_SINK=http://127.0.0.1:9", "K_CE_OVERRIDES=secret-word"}, `K_CE_OVERRIDES: bad value`},
		{"extension that CloudEvents does not allow", []string{here, "K_SINK=http://127.0.0.1:9", `K_CE_OVERRIDES={"extensions":{"a-b":"c"}}`}, `K_CE_OVERRIDES: .*a-b`},
		{"bad certificates", []string{here, "K_SINK=https://127.0.0.1:9", "K_CA_CERTS=secret-word"}, `K_CA_CERTS: holds no PEM`},
		{"unknown setting", []string{here, anywhere, "KW_RESSOURCES=pods"}, `unknown setting KW_RESSOURCES`},
		{"bad number", []string{here, anywhere, "KW_CONCURRENCY=secret-word"}, `KW_CONCURRENCY: bad value: want a whole number`},
		{"number too small", []string{here, anywhere, "KW_CONCURRENCY=0"}, `KW_CONCURRENCY: bad value`},
		{"bad duration", []string{here, anywhere, "KW_TIMEOUT=15"}, `KW_TIMEOUT: bad value: want a duration`},
		{"bad size", []string{here, anywhere, "KW_QUEUE_BYTES=lots"}, `KW_QUEUE_BYTES: bad value: want a size`},
		{"bad level", []string{here, anywhere, "KW_LOG_LEVEL=loud"}, `KW_LOG_LEVEL: bad value: want debug`},
		{"bad initial", []string{here, anywhere, "KW_INITIAL=all"}, `KW_INITIAL: bad value: want baseline or emit`},
		{"bad namespace", []string{here, anywhere, "KW_NAMESPACE=a_b"}, `KW_NAMESPACE: "a_b" is no name of a namespace`},
		{"bad label selector", []string{here, anywhere, "KW_LABEL_SELECTOR=a in (b"}, `KW_LABEL_SELECTOR: bad value`},
		{"bad field selector", []string{here, anywhere, "KW_FIELD_SELECTOR=a"}, `KW_FIELD_SELECTOR: bad value`},
		{"field that cannot be selected", []string{here, anywhere, "KW_FIELD_SELECTOR=spec.colour=red"}, `KW_FIELD_SELECTOR: .*(spec.colour.* is not a known field selector|field label not supported: spec.colour)`},
		{"unreachable API server", []string{"KW_KUBECONFIG=" + closed, anywhere}, `API server at 127.0.0.1:1 cannot be reached: .*refused`},
		{"refused credentials", []string{"KW_KUBECONFIG=" + noRights, anywhere}, `refuses the credentials`},
		{"no kubeconfig", []string{"KW_KUBECONFIG=" + absent, anywhere}, `kubeconfig: .*absent`},
		{"no cluster at all", []string{"HOME=" + t.TempDir(), anywhere}, `no cluster to watch: set KW_KUBECONFIG`},
		{
			"forbidden resource",
			[]string{"KW_KUBECONFIG=" + forbidden, anywhere, "KW_RESOURCES=secrets", "KW_NAMESPACE=" + c.namespace},
			`may not list and watch secrets: add to a Role in namespace ` + c.namespace + ` the rule \{apiGroups: \[""\], resources: \["secrets"\], verbs: \["list", "watch"\]\} \(kwatchman rbac prints`,
		},
		{"forbidden verb", []string{"KW_KUBECONFIG=" + forbidden, anywhere, "KW_RESOURCES=cm", "KW_NAMESPACE=" + c.namespace}, `may not watch configmaps: add to a Role`},
		{"port in use", []string{here, anywhere, "KW_METRICS_ADDR=" + strings.TrimPrefix(recordRaw(t).URL, "http://")}, `KW_METRICS_ADDR: .*in use`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := append([]string{"KW_METRICS_ADDR="}, tt.env...)
			code, stdout, stderr := runToEnd(t, "watcher", nil, env)
			require.Equal(t, 1, code, stderr)
			require.Empty(t, stdout)
			var plain []string // the log is JSON; what is not is the error
			for l := range strings.Lines(stderr) {
				if !strings.HasPrefix(l, "{") {
					plain = append(plain, l)
				}
			}
			require.Len(t, plain, 1, stderr)
			require.Regexp(t, `^watcher: .*`+tt.want, plain[0])
			require.NotContains(t, stderr, "secret-word")
			require.NotContains(t, stderr, "goroutine")
		})
	}
}

func TestAFunctionThatCannotStartSaysWhyInOneLine(t *testing.T) {
	port := recordRaw(t).URL
	port = port[strings.LastIndex(port, ":")+1:]
	tests := []struct {
		name, function string
		args, env      []string
		want           string
	}{
		{"missing webhook URL", "slack", nil, nil, `SLACK_WEBHOOK_URL`},
		{"bad webhook URL", "slack", nil, []string{"SLACK_WEBHOOK_URL=secret-word"}, `SLACK_WEBHOOK_URL`},
		{"unknown action", "ignoreevents", nil, []string{"IGNOREEVENTS_EVENTS=Add,Change"}, `unknown action "Change": want Add, Update or Delete`},
		{"unknown setting", "ignoreevents", nil, []string{"IGNOREEVENTS_EVENT=Add"}, `unknown setting IGNOREEVENTS_EVENT`},
		{"unknown format", "log", nil, []string{"LOG_FORMAT=xml"}, `LOG_FORMAT`},
		{"bad port", "diff", nil, []string{"PORT=http"}, `PORT: bad value: want a port`},
		{"port in use", "diff", nil, []string{"PORT=" + port}, `PORT: .*in use`},
		{"unknown flag", "log", []string{"--colour"}, nil, `-colour \(see --help\)`},
		{"argument", "diff", []string{"now"}, nil, `unexpected argument "now"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := runToEnd(t, tt.function, tt.args, tt.env)
			require.Equal(t, 1, code, stderr)
			require.Empty(t, stdout)
			require.Regexp(t, `^`+tt.function+`: .*`+tt.want+`.*\n$`, stderr)
			require.Equal(t, 1, strings.Count(stderr, "\n"))
			require.NotContains(t, stderr, "secret-word")
		})
	}
}

func TestHelpAndVersionOfEveryProgramFitAScreen(t *testing.T) {
	programs, err := os.ReadDir(binaries)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(programs), 5)
	for _, p := range programs {
		code, stdout, _ := runToEnd(t, p.Name(), []string{"--help"}, nil)
		require.Equal(t, 0, code)
		require.Contains(t, stdout, "Settings")
		require.LessOrEqual(t, strings.Count(stdout, "\n"), 56, p.Name())
		code, stdout, _ = runToEnd(t, p.Name(), []string{"--version"}, nil)
		require.Equal(t, 0, code)
		require.Equal(t, p.Name()+" dev\n", stdout)
	}
}

// The walls, seen from what is linked.
func TestFunctionsLinkNoKubernetesAndTheWatcherLinksNoFunction(t *testing.T) {
	functions, err := filepath.Glob("../../functions/*/cmd")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(functions), 4)
	for _, f := range functions {
		own := "kwatchman/functions/" + filepath.Base(filepath.Dir(f))
		for _, d := range dependencies(t, f) {
			require.NotContains(t, d, "k8s.io", f)
			if strings.Contains(d, "kwatchman/functions/") {
				require.Contains(t, d, own, "functions do not import one another")
			}
			require.NotContains(t, d, "kwatchman/watcher", f)
		}
	}
	for _, d := range dependencies(t, "../../watcher/cmd") {
		require.NotContains(t, d, "kwatchman/functions")
		require.NotContains(t, d, "k8s.io/client-go/kubernetes", "the typed client links every API type")
	}
}

func dependencies(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", pkg).Output()
	require.NoError(t, err)
	return strings.Fields(string(out))
}

// writeKubeconfig writes the administrator's kubeconfig, changed.
func writeKubeconfig(t *testing.T, c *cluster, change func(*clientcmdapi.Config)) string {
	t.Helper()
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["c"] = &clientcmdapi.Cluster{Server: c.config.Host, CertificateAuthorityData: c.config.CAData}
	cfg.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.config.CertData, ClientKeyData: c.config.KeyData}
	cfg.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	cfg.CurrentContext = "x"
	change(cfg)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*cfg, path))
	return path
}

// serviceAccount makes a ServiceAccount that may use verbs on ConfigMaps of
// the test's namespace and gives a kubeconfig with its token.
func (c *cluster) serviceAccount(name string, verbs ...string) string {
	c.t.Helper()
	accounts := schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	c.create(accounts, object("v1", "ServiceAccount", name, nil))
	list := []any{}
	for _, v := range verbs {
		list = append(list, v)
	}
	c.create(roles, object("rbac.authorization.k8s.io/v1", "Role", name, map[string]any{"rules": []any{
		map[string]any{"apiGroups": []any{""}, "resources": []any{"configmaps"}, "verbs": list},
	}}))
	bindings := roles
	bindings.Resource = "rolebindings"
	c.create(bindings, object("rbac.authorization.k8s.io/v1", "RoleBinding", name, map[string]any{
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": name, "namespace": c.namespace}},
	}))
	return c.tokenOf(name)
}

// tokenOf gives a kubeconfig with a token of a ServiceAccount.
func (c *cluster) tokenOf(name string) string {
	c.t.Helper()
	accounts := schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	request := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"audiences": []any{}},
	}}
	answer, err := c.client.Resource(accounts).Namespace(c.namespace).Create(context.Background(), request, metav1.CreateOptions{}, "token")
	require.NoError(c.t, err)
	token, _, err := unstructured.NestedString(answer.Object, "status", "token")
	require.NoError(c.t, err)
	return writeKubeconfig(c.t, c, func(cfg *clientcmdapi.Config) {
		cfg.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token}
	})
}
