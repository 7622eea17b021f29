package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kwatchman/kwatchman/event"
)

// example gives the first block of a language in a document.
func example(t *testing.T, path, language string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindSubmatch(text)
	require.NotNil(t, block, "%s in %s", language, path)
	return string(block[1])
}

func TestTheHandlersInPythonOfTheDocumentationWork(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	c := newCluster(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	for _, document := range []string{"../../README.md", "../../docs/handlers.md"} {
		t.Run(filepath.Base(document), func(t *testing.T) {
			script := filepath.Join(t.TempDir(), "quiet.py")
			require.NoError(t, os.WriteFile(script, []byte(example(t, document, "python")), 0o600))
			cmd := exec.Command(python, script)
			cmd.Env = append(environment(nil), "PORT="+port)
			require.NoError(t, cmd.Start())
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			})
			url := "http://127.0.0.1:" + port
			eventually(t, func() bool {
				resp, err := http.Get(url)
				if err == nil {
					_ = resp.Body.Close()
				}
				return err == nil
			}, "the handler listens")

			sink := record(t, nil)
			w := c.startAllInOne(nil, "KW_RESOURCES=cm", "KW_HANDLERS=diff,"+url+","+sink.URL, "KW_NAMESPACE=kube-system,"+c.namespace)
			name := "quiet-" + c.namespace
			c.createIn("kube-system", configMaps, configMap(name, nil))
			require.NoError(t, c.client.Resource(configMaps).Namespace("kube-system").Delete(context.Background(), name, metav1.DeleteOptions{}))
			for i := range 3 { // on one connection
				c.create(configMaps, configMap(fmt.Sprint("loud-", i), nil))
			}
			for i := range 3 {
				e := sink.await(t, fmt.Sprint("loud-", i), 1)[0]
				require.Equal(t, event.Add, e.Action)
				require.NotNil(t, e.Diff, "what diff added is passed on")
				c.delete(configMaps, fmt.Sprint("loud-", i))
			}
			eventually(t, func() bool { return strings.Count(w.stderr.String(), "nobody reads kube-system") == 2 }, "the reason is logged")
			require.Equal(t, 0, w.stop())
			require.Empty(t, sink.got(name))
		})
	}
}

func TestTheFilesOfTheDocumentationAreTaken(t *testing.T) {
	c := newCluster(t)
	for _, document := range []string{"../../README.md", "../../docs/configuration.md"} {
		path := filepath.Join(t.TempDir(), "config.toml")
		require.NoError(t, os.WriteFile(path, []byte(example(t, document, "toml")), 0o600))
		code, stdout, stderr := runToEnd(t, "kwatchman", []string{"rbac", "-c", path, "-k", c.kubeconfig}, nil)
		require.Equal(t, 0, code, stderr)
		require.Contains(t, stdout, "deployments")
	}
}
