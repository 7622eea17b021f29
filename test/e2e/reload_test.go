package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// mounted is a configuration file as a ConfigMap is mounted: a link to a folder
// that is exchanged whole.
type mounted struct {
	t    *testing.T
	dir  string
	made int
}

func newMounted(t *testing.T, text string) *mounted {
	t.Helper()
	m := &mounted{t: t, dir: t.TempDir()}
	m.set(text)
	require.NoError(t, os.Symlink(filepath.Join("..data", "config.toml"), m.path()))
	return m
}

func (m *mounted) path() string { return filepath.Join(m.dir, "config.toml") }

func (m *mounted) set(text string) {
	m.t.Helper()
	m.made++
	version := fmt.Sprint("..version-", m.made)
	require.NoError(m.t, os.Mkdir(filepath.Join(m.dir, version), 0o700))
	require.NoError(m.t, os.WriteFile(filepath.Join(m.dir, version, "config.toml"), []byte(text), 0o600))
	link := filepath.Join(m.dir, "..data_tmp")
	require.NoError(m.t, os.Symlink(version, link))
	require.NoError(m.t, os.Rename(link, filepath.Join(m.dir, "..data")))
}

func configText(urls []string, kinds ...string) string {
	var b strings.Builder
	for _, k := range kinds {
		fmt.Fprintf(&b, "[[resource]]\nkind = %q\n\n", k)
	}
	for _, u := range urls {
		fmt.Fprintf(&b, "[[handler]]\nurl = %q\n\n", u)
	}
	return b.String()
}

// count is how often a line was said.
func (p *process) count(msg string) int { return len(p.stderr.all(msg)) }

const (
	goingOver = "the configuration has changed, going over to it"
	refusedIt = "the changed configuration is refused, the one before goes on"
)

func TestAChangedConfigurationIsTakenOverInPlaceAndNothingIsLostOrRepeated(t *testing.T) {
	t.Parallel() // most of it waits
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprintf("durable %v", durable), func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			l := newLedger(c)
			sinks := []*sink{newSink(t, nil), newSink(t, nil)}
			file := newMounted(t, configText([]string{sinks[0].URL}, "configmap"))
			l.createAll(t, 40)
			l.baseline()
			env := []string{"KW_CONFIG_FILE=" + file.path()}
			if durable {
				env = append(env, "KW_STATE_DIR="+t.TempDir())
			}
			w := c.startWatcher(env...)
			var done atomic.Bool
			changed := make(chan struct{})
			go func() {
				defer close(changed)
				for !done.Load() {
					l.updateAll(t, 40, 80, 20*time.Millisecond)
				}
			}()
			for round := range 4 {
				kinds := []string{"configmap", "secret"}[:1+round%2]
				file.set(configText([]string{sinks[(round+1)%2].URL}, kinds...))
				eventually(t, func() bool { return w.count(goingOver) == round+1 && w.count("ready") == round+2 }, "round %d", round)
			}
			done.Store(true)
			<-changed
			all := func() []arrival { return append(sinks[0].got(), sinks[1].got()...) }
			eventually(t, func() bool { return l.judge(all(), false).missing == 0 }, "everything arrives")
			require.Equal(t, 0, w.stop())
			seen := map[string]bool{}
			for _, a := range all() {
				require.False(t, seen[a.id], "%s comes once", a.id)
				seen[a.id] = true
			}
			require.NotEmpty(t, sinks[0].got())
			require.NotEmpty(t, sinks[1].got())
			require.Len(t, seen, l.count())
			require.NotContains(t, w.stderr.String(), "objects are listed and compared", "every watch goes on where it was")
		})
	}
}

func TestWhatWaitsBetweenTwoStepsGoesOnThereAfterAChangeOfTheConfiguration(t *testing.T) {
	t.Parallel() // most of it waits
	c := newCluster(t)
	first, second := newSink(t, nil), newSink(t, answerThat(http.StatusServiceUnavailable))
	first.pass = true
	file := newMounted(t, configText([]string{first.URL, second.URL}, "configmap"))
	w := c.startWatcher("KW_CONFIG_FILE="+file.path(), "KW_RETRY_WAIT_MAX=500ms")
	c.create(configMaps, configMap("waits", map[string]any{"n": "1"}))
	eventually(t, func() bool { return len(first.got()) == 1 && w.stderr.find("step fails, trying again") != nil }, "it waits at the second step")
	file.set(configText([]string{first.URL, second.URL}, "configmap", "secret"))
	eventually(t, func() bool { return w.count("ready") == 2 }, "it goes over")
	second.mend(nil)
	eventually(t, func() bool { return len(second.got()) == 1 }, "it arrives")
	require.Len(t, first.got(), 1, "the first step had it once")
	require.Equal(t, 0, w.stop())
}

func answerThat(status int) func(*sink, http.ResponseWriter, event.Event) bool {
	return func(s *sink, w http.ResponseWriter, e event.Event) bool {
		answer(status)(s, w, e)
		return false
	}
}

func TestAnInvalidConfigurationIsRefusedInOneLineAndTheOneBeforeGoesOn(t *testing.T) {
	t.Parallel() // most of it waits
	c := newCluster(t)
	s := newSink(t, nil)
	good := configText([]string{s.URL}, "configmap")
	file := newMounted(t, good)
	w := c.startWatcher("KW_CONFIG_FILE=" + file.path())
	for i, bad := range []struct{ text, says string }{
		{"[[resource]\n", "config.toml"},
		{"[[resource]]\nkind = \"configmap\"\nsort = 1\n", "unknown key"},
		{configText([]string{"not a url"}, "configmap"), "is no URL"},
		{configText([]string{s.URL}, "pods/secret-word"), "pods"},
	} {
		file.set(bad.text)
		eventually(t, func() bool { return w.count(refusedIt) == i+1 }, "%q is refused", bad.says)
		require.Contains(t, w.stderr.all(refusedIt)[i]["error"], bad.says)
	}
	require.NoError(t, os.Remove(file.path()))
	eventually(t, func() bool { return w.count(refusedIt) == 5 }, "a file that is gone is refused")
	c.create(configMaps, configMap("still", nil))
	eventually(t, func() bool { return len(s.got()) == 1 }, "the one before goes on")
	require.NoError(t, os.WriteFile(file.path(), []byte(configText([]string{s.URL}, "configmap", "secret")), 0o600))
	eventually(t, func() bool { return w.count("ready") == 2 }, "a good one is taken")
	require.Equal(t, 0, w.stop())
	require.Zero(t, w.count("changes lost"))
}

func TestAnEndpointThatHangsDoesNotKeepAConfigurationWaiting(t *testing.T) {
	t.Parallel() // most of it waits
	c := newCluster(t)
	s := newSink(t, func(s *sink, w http.ResponseWriter, e event.Event) bool {
		hang(s, w, e)
		return false
	})
	other := newSink(t, nil)
	file := newMounted(t, configText([]string{s.URL}, "configmap"))
	w := c.startWatcher("KW_CONFIG_FILE="+file.path(), "KW_TIMEOUT=10m")
	c.create(configMaps, configMap("hangs", nil))
	eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.attempts == 1 }, "it hangs")
	file.set(configText([]string{other.URL}, "configmap"))
	eventually(t, func() bool { return len(other.got()) == 1 }, "the new endpoint has it")
	w.await("an endpoint does not answer, going over without it: what it was asked is repeated")
	require.Equal(t, 0, w.stop())
}

// What is in flight may take a while to come to its end. An edit of the file that is
// taken back meanwhile costs nothing.
func TestAnEditThatIsTakenBackWhileARequestIsUnderWayCostsNothing(t *testing.T) {
	t.Parallel() // most of it waits
	c := newCluster(t)
	answered := make(chan struct{})
	s := newSink(t, func(s *sink, _ http.ResponseWriter, e event.Event) bool {
		if e.Name == "slow" {
			select {
			case <-answered:
			case <-s.quit:
			}
		}
		return true
	})
	both := configText([]string{s.URL}, "configmap", "secret")
	file := newMounted(t, both)
	w := c.startWatcher("KW_CONFIG_FILE="+file.path(), "KW_TIMEOUT=5m")
	c.create(configMaps, configMap("slow", nil))
	eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.attempts == 1 }, "it is under way")
	file.set(configText([]string{s.URL}, "configmap"))
	w.await(goingOver)
	file.set(both)
	c.create(secrets, object("v1", "Secret", "meanwhile", nil))
	close(answered)
	eventually(t, func() bool { return s.has("meanwhile", ".add") }, "what happened meanwhile is told")
	require.NotContains(t, w.stderr.String(), "what was seen is forgotten")
	require.Equal(t, 0, w.stop())
}
