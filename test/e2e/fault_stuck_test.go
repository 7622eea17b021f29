package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// stuck has a sink refuse the events of the objects called stuck.
func stuck(s *sink, w http.ResponseWriter, e event.Event) bool {
	if strings.HasPrefix(e.Name, "stuck") {
		answer(http.StatusServiceUnavailable)(s, w, e)
		return false
	}
	return true
}

// TestFaultTakeoverBehindAStuckChange has one object wait while all others are told,
// and then takes the leader and what the API server remembers away (B13): the next
// one tells nothing once more as another change, and the one object from where it
// was.
func TestFaultTakeoverBehindAStuckChange(t *testing.T) {
	faults(t)
	for name, durable := range map[string]bool{"in memory": false, "with KW_STATE_DIR": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			api := c.apiServer()
			l, s := newLedger(c), newSink(t, stuck)
			for _, name := range []string{"stuck", "stuck-gone", "known", "z"} {
				require.NoError(t, l.create(name))
			}
			l.baseline()
			begin := func() *process {
				env := []string{"KW_RESOURCES=cm", "KW_RETRY_WAIT_MAX=1s"}
				if durable {
					env = append(env, "KW_STATE_DIR="+t.TempDir())
				}
				w := start(t, "watcher", c.leaseEnv(s.URL, env...)...)
				w.await("ready")
				return w
			}
			w := begin()
			require.NoError(t, l.update("stuck"))
			require.NoError(t, l.update("stuck"))
			require.NoError(t, l.delete("stuck-gone"))
			require.NoError(t, l.create("stuck-gone"))
			w.await("step fails, trying again")
			for _, step := range []error{l.create("x"), l.update("x"), l.update("known"), l.delete("z")} {
				require.NoError(t, step)
			}
			eventually(t, func() bool { return s.has("z", ".delete") && s.has("known", ".update") && s.has("x", ".update") }, "the others are told")
			time.Sleep(3 * time.Second) // of watermarks
			w.kill()
			api.stop()
			api.start() // its watch cache begins after all of that
			before := len(s.got())
			w = begin()
			require.NoError(t, l.update("known"))
			eventually(t, func() bool { return len(s.got()) > before }, "the next change is told")
			s.mend(nil)
			eventually(t, func() bool { return l.missing(s, false) == 0 }, "everything arrives")
			require.Equal(t, 0, w.stop())
			require.NotContains(t, w.stderr.String(), "ERROR")
			v := l.judge(s.got(), false)
			require.LessOrEqual(t, v.duplicates, 4, "what the Lease did not have yet, and with the same id")
			judged(t, "leader and API server killed behind a stuck change", name, v)
		})
	}
}

// TestFaultStatesAfterAnotherHasLed has what waits in a state told after another
// replica has led and the history is gone (B15).
func TestFaultStatesAfterAnotherHasLed(t *testing.T) {
	faults(t)
	c := newCluster(t)
	api := c.apiServer()
	l := newLedger(c)
	s := newSink(t, answerThat(http.StatusServiceUnavailable))
	require.NoError(t, l.create("z"))
	require.NoError(t, l.create("w"))
	l.baseline()
	dirs := [2]string{t.TempDir(), t.TempDir()}
	begin := func(i int) *process {
		w := start(t, "watcher", c.leaseEnv(s.URL, "KW_RESOURCES=cm", "KW_RETRY_WAIT_MAX=1s", "KW_STATE_DIR="+dirs[i])...)
		w.await("ready")
		return w
	}
	a := begin(0)
	require.NoError(t, l.delete("z"))
	require.NoError(t, l.update("w"))
	a.await("step fails, trying again")
	time.Sleep(3 * time.Second) // of watermarks
	a.kill()
	b := begin(1)
	time.Sleep(3 * time.Second)
	b.kill()
	api.compact()
	a = begin(0)
	s.mend(nil)
	eventually(t, func() bool { return l.missing(s, false) == 0 }, "both arrive")
	require.Equal(t, 0, a.stop())
	judged(t, "history gone, another replica with a state has led", "once", l.judge(s.got(), false))
}

// TestFaultCrashBetweenTwoSteps kills the watcher while an event waits for the third
// step: the two before it are not asked again.
func TestFaultCrashBetweenTwoSteps(t *testing.T) {
	faults(t)
	for name, broken := range map[string]func(*sink, http.ResponseWriter, event.Event) bool{
		"waits for its next attempt": answerThat(http.StatusServiceUnavailable),
		"is under way": func(s *sink, w http.ResponseWriter, e event.Event) bool {
			hang(s, w, e)
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			l := newLedger(c)
			first, second, third := newSink(t, nil), newSink(t, nil), newSink(t, broken)
			first.pass, second.pass = true, true
			env := c.watcherEnv("KW_RESOURCES=cm", "KW_STATE_DIR="+t.TempDir(), "KW_RETRY_WAIT_MAX=500ms",
				fmt.Sprintf("KW_HANDLERS=%s,%s,%s", first.URL, second.URL, third.URL))
			w := start(t, "watcher", env...)
			w.await("ready")
			for i := range 5 {
				require.NoError(t, l.create(fmt.Sprint("c", i)))
			}
			eventually(t, func() bool {
				third.mu.Lock()
				defer third.mu.Unlock()
				return third.attempts >= 5
			}, "they are at the third step")
			time.Sleep(time.Second) // for the state to be written
			w.kill()
			third.mend(nil)
			w = start(t, "watcher", env...)
			eventually(t, func() bool { return l.missing(third, false) == 0 }, "everything arrives")
			require.Len(t, first.got(), 5, "the first step had each once")
			require.Len(t, second.got(), 5, "and so had the second")
			require.Equal(t, 0, w.stop())
			judged(t, "killed while events are at the third step", name, l.judge(third.got(), false))
		})
	}
}
