package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/event"
)

// hour is a kwatchman in the busy hour with what goes in and comes out. What
// goes in is counted by a step of the test's own before the others, what is
// stopped by what the log says of it.
type hour struct {
	*cluster
	chain   string
	in      *recorder
	slack   *slackStandIn
	program *process
	earlier []*process        // before a restart
	before  map[string]string // the resourceVersion of each object by its uid
}

// watchHour starts a kwatchman with a chain of built-in functions.
func (c *cluster) watchHour(chain string, env ...string) *hour {
	c.t.Helper()
	h := &hour{cluster: c, chain: chain, in: record(c.t, nil), slack: newSlack(c.t, 0)}
	h.program = c.startAllInOne([]string{"-n", c.namespace}, append(env,
		"KW_HANDLERS="+h.in.URL+","+chain, "SLACK_WEBHOOK_URL="+h.slack.URL+secretPath)...)
	h.before = h.versions()
	return h
}

func (h *hour) stop() {
	h.t.Helper()
	require.Equal(h.t, 0, h.program.stop())
	h.earlier = append(h.earlier, h.program)
}

func (h *hour) restart() {
	h.t.Helper()
	h.program = h.program.again()
}

// watched are the resources that change in the hour and that both watch.
func watched() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{
		deployments, statefulSets, daemonSets, services, ingresses, configMaps, secrets, cronJobs, autoscalers, roles, bindings,
	}
}

// versions are those of the objects as they are now.
func (h *hour) versions() map[string]string {
	out := map[string]string{}
	for _, r := range watched() {
		all, err := h.client.Resource(r).Namespace(h.namespace).List(context.Background(), metav1.ListOptions{})
		require.NoError(h.t, err)
		for _, o := range all.Items {
			out[string(o.GetUID())] = o.GetResourceVersion()
		}
	}
	return out
}

// finish waits until the last change of each object has gone in and everything
// that went in has been stopped or is out, and ends the program.
func (h *hour) finish() {
	h.t.Helper()
	eventually(h.t, func() bool {
		last := maps.Clone(h.before)
		for _, e := range h.in.got("") {
			uid, rest, _ := strings.Cut(e.ID, ".")
			last[uid], _, _ = strings.Cut(rest, ".")
		}
		for uid, version := range h.versions() {
			if last[uid] != version {
				return false
			}
		}
		return len(h.changes()) <= len(h.stops())+len(h.slack.got())
	}, "every change goes in and comes to its end")
	h.stop()
}

// changes are what went in, each once.
func (h *hour) changes() map[string]event.Event {
	out := map[string]event.Event{}
	for _, e := range h.in.got("") {
		out[e.ID] = e
	}
	return out
}

// stops are the reasons of what did not come out, by the change's id.
func (h *hour) stops() map[string]string {
	out := map[string]string{}
	for _, p := range append(slices.Clone(h.earlier), h.program) {
		for line := range strings.Lines(p.stderr.String()) {
			var m struct{ Msg, ID, Reason string }
			if json.Unmarshal([]byte(line), &m) == nil && m.Msg == "chain stopped" {
				out[m.ID] = m.Reason
			}
		}
	}
	return out
}

// reasons are how often each was given.
func (h *hour) reasons() map[string]int {
	out := map[string]int{}
	for _, why := range h.stops() {
		out[why]++
	}
	return out
}

// knownReason is what the noise policy may say in the busy hour.
var knownReason = regexp.MustCompile(`^(action (Add|Delete) is ignored|nothing changed|replicas by an autoscaler|` +
	`only (` + knownField + `)(, (` + knownField + `))* changed(; replicas by an autoscaler)?)$`)

const knownField = `status|leader election|checksum annotations|metadata\.(resourceVersion|generation)|` +
	`metadata\.annotations\["deployment\.kubernetes\.io/revision"\]`

// check fails unless the messages are one for each edit, and all else that went
// in was stopped for a known reason.
func (h *hour) check(edits []edit) {
	h.t.Helper()
	missing := slices.Clone(edits)
	for _, m := range h.slack.got() {
		text := strings.Join(texts(m), "\n")
		i := slices.IndexFunc(missing, func(e edit) bool { return e.tells(text) })
		require.GreaterOrEqual(h.t, i, 0, "a message nobody asked for:\n%s", text)
		missing = slices.Delete(missing, i, i+1)
		require.NotContains(h.t, text, "second-password")
		require.NotContains(h.t, text, "by e2e", "who made an object is not named for somebody else's edit")
	}
	require.Empty(h.t, missing, "no message tells this")
	require.Len(h.t, h.changes(), len(h.stops())+len(edits), "in = stopped + out")
	for _, e := range h.changes() {
		require.Equal(h.t, event.ViaWatch, e.Via, "nothing was merged")
	}
	for why := range h.reasons() {
		require.Regexp(h.t, knownReason, why)
	}
}

// tells whether a message is the edit's.
func (e edit) tells(text string) bool {
	for _, word := range append([]string{e.kind, e.name, e.manager}, e.says...) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// texts are all strings of a decoded JSON value.
func texts(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, item := range v {
			out = append(out, texts(item)...)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			out = append(out, texts(v[key])...)
		}
	}
	return out
}

// print shows the counts in and out and the stop reasons.
func (h *hour) print() {
	var b strings.Builder
	changes, stops, reasons := h.changes(), h.stops(), h.reasons()
	kinds := map[string]int{}
	for _, e := range changes {
		kinds[e.Kind]++
	}
	table := func(n int, what string, parts map[string]int) {
		_, _ = fmt.Fprintf(&b, "\n%5d %s\n", n, what)
		for _, part := range slices.SortedFunc(maps.Keys(parts), func(x, y string) int {
			return cmp.Or(parts[y]-parts[x], cmp.Compare(x, y))
		}) {
			_, _ = fmt.Fprintf(&b, "      %5d %s\n", parts[part], part)
		}
	}
	table(len(changes), "changes in", kinds)
	table(len(stops), "stopped", reasons)
	table(len(h.slack.got()), "messages out", nil)
	h.t.Logf("%s, runs: %d\n%s", h.chain, len(h.earlier), &b)
}
