package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// TestCredentialsOutsideOfSecretsLeaveByNoDoor plants some in several kinds and
// looks for them in what the chain receives, what log and Slack print, the
// watcher's own log, its state directory and the dead letter.
func TestCredentialsOutsideOfSecretsLeaveByNoDoor(t *testing.T) {
	c := newCluster(t)
	const first, second = "F1rst-Hunter2", "S3cond-Hunter3"
	diff, _ := startFunction(t, "diff")
	log, logProcess := startFunction(t, "log")
	posted := recordRaw(t)
	slack, _ := startFunction(t, "slack", "SLACK_WEBHOOK_URL="+posted.URL)
	sink := record(t, nil)
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	t.Cleanup(refuses.Close)
	dir := t.TempDir()
	w := c.startWatcher("KW_HANDLERS="+diff+","+log+","+sink.URL+","+slack+","+refuses.URL, "KW_RESOURCES=deploy,cm",
		"KW_STATE_DIR="+dir, "KW_LOG_LEVEL=debug")

	web := deployment("web", "nginx:1.27")
	web.SetAnnotations(map[string]string{"example.com/api-token": first, "example.com/run": "psql --password=" + first})
	c.create(deployments, web)
	c.create(configMaps, configMap("conf", map[string]any{
		"DB_PASSWORD": first, "url": "postgres://app:" + first + "@db.example.com/shop", "app.yaml": "db:\n  password: " + first + "\n",
	}))
	sink.await(t, "web", 1)
	sink.await(t, "conf", 1)
	c.patch(deployments, "web", `{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"nginx:1.27","args":["--token","`+second+`"],"env":[{"name":"API_KEY","value":"`+second+`"}]}]}}}}`)
	c.patch(configMaps, "conf", `{"data":{"DB_PASSWORD":"`+second+`","url":"postgres://app:`+second+`@db.example.com/shop"}}`)
	updates := []event.Event{sink.await(t, "web", 2)[1], sink.await(t, "conf", 2)[1]}
	dead := filepath.Join(dir, "dead-letter.jsonl")
	eventually(t, func() bool { _, err := os.Stat(dead); return err == nil && len(letters(t, dead)) >= 4 }, "the dead letters are written")
	require.Equal(t, 0, w.stop())
	require.Equal(t, 0, logProcess.stop())

	require.Contains(t, updates[1].Diff.Summary, "DB_PASSWORD changed", "a change shows")
	require.Equal(t, "e2e", manager(t, updates[1]), "and who made it")
	require.Contains(t, updates[1].Payload.Text(), "postgres://app:redacted:", "what is around it stays")
	for _, secret := range []string{first, second} {
		for _, name := range []string{"web", "conf"} {
			for _, e := range sink.got(name) {
				_, body, err := event.Encode(&e)
				require.NoError(t, err)
				require.NotContains(t, string(body), secret)
			}
		}
		for what, text := range map[string]string{
			"log": logProcess.stdout.String(), "Slack": posted.String(), "the watcher": w.stderr.String() + w.stdout.String(),
		} {
			require.NotEmpty(t, text, what)
			require.NotContains(t, text, secret, what)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(files), 2, "the state and the dead letter")
		for _, file := range files {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NotContains(t, string(raw), secret, filepath.Base(file))
		}
	}
}
