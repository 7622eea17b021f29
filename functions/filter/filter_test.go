package filter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

func newFilter(t *testing.T, cfg Config) event.Handler {
	t.Helper()
	h, err := New(cfg)
	require.NoError(t, err)
	return h
}

// update is a change of a Deployment behind the function diff.
func update() event.Event {
	e := eventtest.Sample(event.Update)
	e.Diff = &event.Diff{Summary: "image of web 1.4.2 → 1.5.0, replicas 2 → 3", Changes: []event.FieldChange{
		{Op: "replace", Path: "spec.replicas", From: json.Number("2"), To: json.Number("3")},
		{Op: "replace", Path: "spec.template.spec.containers[web].image", From: "web:1.4.2", To: "web:1.5.0"},
	}, Patch: json.RawMessage(`{"spec":{"replicas":3}}`)}
	e.Payload = event.TextPayload("text/x-diff", "-a\n+b\n")
	return e
}

func TestKeepsTheProtocol(t *testing.T) {
	eventtest.Run(t, eventtest.Target{
		Handler: newFilter(t, Config{Rule: "action != 'Delete'"}), Continues: eventtest.Sample(event.Update),
		Stops: new(eventtest.Sample(event.Delete)),
	})
}

func TestARuleSeesTheWholeEvent(t *testing.T) {
	for _, rule := range []string{
		`action == "Update" && kind == "Deployment" && apiVersion == "apps/v1" && cluster == "prod-eu"`,
		`namespace == "shop" && name == "web" && subject.endsWith("/deployments/web") && via == "watch"`,
		`time > timestamp("2026-11-01T00:00:00Z") && time.getFullYear() == 2026`,
		`object.spec.replicas == 3 && oldObject.spec.replicas < 3 && object.spec.replicas > oldObject.spec.replicas`,
		`object.spec.template.spec.containers.all(c, c.image.startsWith("web:"))`,
		`object.spec.template.spec.containers[0].ports[0].containerPort in [8080, 8443]`,
		`"deployment.kubernetes.io/revision" in object.metadata.annotations`,
		`object.metadata.?labels.?team.orValue("nobody") == "nobody"`,
		`has(object.spec) && !has(object.metadata.deletionTimestamp)`,
		`changedBy.exists(m, m.manager == "kubectl-edit" && m.operation == "Update" && m.time < timestamp("2027-01-01T00:00:00Z"))`,
		`diff.summary.contains("replicas 2 → 3") && diff.changes.size() == 2 && diff.omitted == 0`,
		`diff.changes.exists(c, c.op == "replace" && c.path == "spec.replicas" && c.to - c.from == 1)`,
		`diff.patch.spec.replicas == 3`,
		`paths == ["spec.replicas", "spec.template.spec.containers[web].image"]`,
		`payload == "-a\n+b\n"`,
		`sets.contains(["shop", "tools"], [namespace]) && math.greatest(1, 2) == 2 && ["b", "a"].sort() == ["a", "b"]`,
		`cel.bind(c, object.spec.template.spec.containers, c.size() == 1) && {"a": 1}.all(k, v, v == 1)`,
		`dyn(true)`,
		`object.metadata.namespace == namespace && "namespace" != namespace && object.metadata.?namespace.orValue("") == namespace`,
		`r"\namespace\" != 'namespace' && """namespace""" == "name" + "space" // the namespace`,
		`[?optional.of(namespace)] == ["shop"] && ["shop"].exists(namespace, namespace == "shop")`,
	} {
		t.Run(rule, func(t *testing.T) {
			e := update()
			want, err := json.Marshal(e.Change)
			require.NoError(t, err)
			got, err := newFilter(t, Config{Rule: rule, OnError: "fail"})(t.Context(), e)
			require.NoError(t, err)
			require.NotNil(t, got)
			have, err := json.Marshal(got.Change)
			require.NoError(t, err)
			require.Equal(t, string(want), string(have), "the event continues unchanged")
		})
	}
}

func TestChangedLooksAtThePathsOfTheDiff(t *testing.T) {
	for rule, want := range map[string]bool{
		`changed("spec.replicas")`:                                 true,
		`changed("spec")`:                                          true,
		`changed("spec.repl")`:                                     false,
		`changed("spec.template.spec.containers[*].image")`:        true,
		`changed("spec.template.spec.containers[web]")`:            true,
		`changed("spec.template.spec.containers[app]")`:            false,
		`changed("spec.*.spec")`:                                   true,
		`changed("**.image")`:                                      true,
		`changed("**.env[*]")`:                                     false,
		`changed("data.*", "spec.replicas")`:                       true,
		`changed()`:                                                false,
		`onlyChanged("spec.replicas")`:                             false,
		`onlyChanged("spec.replicas", "**.image")`:                 true,
		`onlyChanged("spec")`:                                      true,
		`!onlyChanged("status")`:                                   true,
		`changed("spec.template.spec.containers[web].image(")`:     false,
		`["spec.replicas", "spec.selector"].exists(p, changed(p))`: true,
		`changed("spec" + ".replicas")`:                            true,
	} {
		t.Run(rule, func(t *testing.T) {
			got, err := newFilter(t, Config{Rule: rule, OnError: "fail"})(t.Context(), update())
			if want {
				require.NoError(t, err)
				require.NotNil(t, got)
				return
			}
			require.Equal(t, event.Stop("rule rule is false"), err)
		})
	}
	whole := update()
	whole.Diff.Changes = []event.FieldChange{{Op: "add", Path: "spec.template.spec.containers[log]", To: map[string]any{
		"image": "log:1", "ports": []any{map[string]any{"containerPort": json.Number("80")}},
	}}}
	for rule, want := range map[string]bool{
		`changed("**.containers[*].image")`: true, `changed("**.ports[*].containerPort")`: true, `changed("**.env")`: false,
		`onlyChanged("**.containers[*].image")`: false, `onlyChanged("**.containers")`: true, `paths.size() == 1`: true,
	} {
		got, err := newFilter(t, Config{Rule: rule, OnError: "fail"})(t.Context(), whole)
		require.Equal(t, want, got != nil, "%s: %v", rule, err)
	}
	e := update()
	e.Diff.Omitted = 1
	_, err := newFilter(t, Config{Rule: `onlyChanged("spec")`})(t.Context(), e)
	require.Equal(t, event.Stop("rule rule is false"), err, "what diff left out may be anything")
}

func TestAllOrAnyRulesHaveToBeTrueAndTheReasonNamesThem(t *testing.T) {
	rules := "# who is on call reads this\nproduction: namespace == 'production'\nimages: changed('**.image')\n  && kind == 'Deployment'\n\nnot by Argo CD: !changedBy.exists(m, m.manager.startsWith('argocd'))\n"
	_, err := newFilter(t, Config{Rules: rules})(t.Context(), update())
	require.Equal(t, event.Stop("rule production is false"), err)
	got, err := newFilter(t, Config{Rules: rules, Match: "any"})(t.Context(), update())
	require.NoError(t, err)
	require.NotNil(t, got)
	_, err = newFilter(t, Config{Rules: "a: false\nb/c: kind == 'Pod'", Rule: "1 > 2", Match: "any"})(t.Context(), update())
	require.Equal(t, event.Stop("no rule is true: rule, a, b/c"), err)
}

func TestWhatCannotBeEvaluatedContinuesWithAWarningUnlessSetOtherwise(t *testing.T) {
	var logged bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	withoutDiff := eventtest.Sample(event.Update)
	for rule, want := range map[string]string{
		`object.spec.template.nothing == 1`:             "rule rule: no such key: nothing",
		`object.spec.replicas.startsWith("a")`:          "rule rule: no such overload",
		`dyn("text")`:                                   "rule rule: gives string: want true or false",
		`diff.summary == "x"`:                           "rule rule: the event has no diff: put the function diff before filter",
		`changed("spec")`:                               "rule rule: the event has no diff: put the function diff before filter",
		`int(object.metadata.annotations.team) == 1`:    "rule rule: the evaluation failed",
		`[1].map(x, object.spec.replicas / 0)[0] == 1`:  "rule rule: division by zero",
		`object.metadata.name.matches(object.spec.nix)`: "rule rule: no such key: nix",
	} {
		t.Run(rule, func(t *testing.T) {
			logged.Reset()
			got, err := newFilter(t, Config{Rule: rule})(t.Context(), withoutDiff)
			require.NoError(t, err)
			require.Equal(t, withoutDiff, *got)
			require.Contains(t, logged.String(), "a rule cannot be evaluated, the event continues")
			require.Contains(t, logged.String(), want)
			require.NotContains(t, logged.String(), "payments", "nothing of the manifest")

			_, err = newFilter(t, Config{Rule: rule, OnError: "stop"})(t.Context(), withoutDiff)
			require.ErrorContains(t, err, "stop: "+want)
			_, err = newFilter(t, Config{Rule: rule, OnError: "fail"})(t.Context(), withoutDiff)
			require.ErrorContains(t, err, want)
			require.Equal(t, event.StatusPermanent, err.(*event.Error).Status) //nolint:errorlint,forcetypeassert // its own
		})
	}
	got, err := newFilter(t, Config{Rules: "a: object.nothing == 1\nb: true", Match: "any"})(t.Context(), withoutDiff)
	require.NoError(t, err, "another rule is true")
	require.NotNil(t, got)
}

// A rule that compares everything with everything ends at the limit.
func TestARuleWithoutEndEnds(t *testing.T) {
	data := map[string]string{}
	for i := range 2000 {
		data[fmt.Sprint("key", i)] = strings.Repeat("x", 100)
	}
	e := eventtest.Sample(event.Update)
	raw, err := json.Marshal(map[string]any{"data": data, "metadata": map[string]any{}})
	require.NoError(t, err)
	e.Object = raw
	for _, rule := range []string{
		`object.data.all(a, object.data.all(b, object.data.all(c, a != b || b != c || true)))`,
		`object.data.map(k, object.data[k]).all(a, object.data.map(k, object.data[k]).all(b, (a + b).matches("(x+x+)+y") == false))`,
	} {
		_, err := newFilter(t, Config{Rule: rule, OnError: "fail"})(t.Context(), e)
		require.Error(t, err)
		require.Regexp(t, "actual cost limit exceeded|operation interrupted", err.Error())
	}
}

func TestAMistakeStopsTheStartWithOneLine(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "FILTER_RULE is not set: want an expression in CEL such as namespace == 'production', or FILTER_RULES"},
		{Config{Rule: "namspace == 'a'"}, `FILTER_RULE: rule "rule": column 1: unknown name namspace: did you mean namespace?`},
		{Config{Rule: "true && (kind == "}, `FILTER_RULE: rule "rule": column 17: Syntax error: mismatched input '<EOF>'`},
		{Config{Rule: "kind"}, `FILTER_RULE: rule "rule" gives string: want true or false`},
		{Config{Rule: "namespace == 1"}, `FILTER_RULE: rule "rule": column 11: found no matching overload for '_==_' applied to '(string, int)'`},
		{Config{Rule: "namespace.nothing"}, `FILTER_RULE: rule "rule": column 10: type 'string' does not support field selection`},
		{Config{Rule: "kind == 1"}, `FILTER_RULE: rule "rule": column 6: found no matching overload for '_==_' applied to '(string, int)'`},
		{Config{Rule: "kind.matches('(')"}, `FILTER_RULE: rule "rule": column 14: invalid matches argument`},
		{Config{Rules: "a: true\nb: kind ==\n  kin"}, `FILTER_RULES: line 2: rule "b": line 2, column 3: unknown name kin: did you mean kind?`},
		{Config{Rules: "a: true\na: false"}, `FILTER_RULES: line 2: a second rule "a": want names that differ`},
		{Config{Rules: "a:\n"}, `FILTER_RULES: line 1: rule "a" has no expression`},
		{Config{Rules: "kind == 'Pod'"}, "FILTER_RULES: line 1: want name: expression, or a space before what goes on with the line before"},
		{Config{Rules: "  a"}, "FILTER_RULES: line 1: want name: expression"},
		{Config{Rule: "true", Match: "some"}, "FILTER_MATCH: bad value: want all or any"},
		{Config{Rule: "true", OnError: "pass"}, "FILTER_ON_ERROR: bad value: want continue, stop or fail"},
		{Config{Rule: strings.Repeat("true && ", 3000) + "true"}, `FILTER_RULE: rule "rule" is longer than 16384 bytes`},
		{Config{Rule: strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300)}, `FILTER_RULE: rule "rule": column`},
		{Config{Rules: strings.Repeat("a: true\n", 101)}, "FILTER_RULES: 101 rules: want at most 100"},
	} {
		_, err := New(c.cfg)
		require.ErrorContains(t, err, c.want)
		require.NotContains(t, err.Error(), "\n")
		require.Less(t, len(err.Error()), 500)
	}
}

// documented are the rules of docs/filter.md, by their names.
func documented(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/filter.md")
	require.NoError(t, err)
	out := map[string]string{}
	for _, block := range regexp.MustCompile("(?s)```cel\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		rules, err := parseRules(Config{Rules: block[1]})
		require.NoError(t, err)
		for _, r := range rules {
			out[r.name] = r.expression
		}
	}
	return out
}

func TestTheExamplesOfTheDocumentDoWhatItSays(t *testing.T) {
	rules := documented(t)
	with := func(edit func(*event.Event)) event.Event {
		e := update()
		edit(&e)
		return e
	}
	binding := func(old, now string) event.Event {
		e := eventtest.SampleClusterScoped(event.Update)
		e.Kind, e.OldObject, e.Object = "ClusterRoleBinding", json.RawMessage(old), json.RawMessage(now)
		return e
	}
	role := func(old, now string) event.Event {
		e := eventtest.SampleClusterScoped(event.Update)
		e.OldObject, e.Object = json.RawMessage(`{"rules":`+old+`}`), json.RawMessage(`{"rules":`+now+`}`)
		return e
	}
	changes := func(paths ...string) func(*event.Event) {
		return func(e *event.Event) {
			e.Diff.Changes = nil
			for _, p := range paths {
				e.Diff.Changes = append(e.Diff.Changes, event.FieldChange{Op: "replace", Path: p})
			}
		}
	}
	const get, getList = `[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]`, `[{"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]}]`
	for name, cases := range map[string]struct{ yes, no []event.Event }{
		"production": {
			[]event.Event{with(func(e *event.Event) { e.Namespace = "production" }), with(func(e *event.Event) { e.Namespace = "shop-prod" })},
			[]event.Event{update()},
		},
		"images": {
			[]event.Event{with(changes("spec.template.spec.containers[web].image")), with(changes("spec.jobTemplate.spec.template.spec.initContainers[db].image", "spec.template.spec.containers[a].image"))},
			[]event.Event{update(), with(changes("spec.replicas"))},
		},
		"not by Argo CD": {
			[]event.Event{update()},
			[]event.Event{with(func(e *event.Event) { e.ChangedBy = []event.Manager{{Manager: "argocd-controller"}} })},
		},
		"access widens": {
			[]event.Event{
				role(get, getList), role(get, `[{"apiGroups":["*"],"resources":["*"],"verbs":["get"]}]`), eventtest.SampleClusterScoped(event.Add),
				binding(`{"subjects":[{"kind":"User","name":"a"}]}`, `{"subjects":[{"kind":"User","name":"a"},{"kind":"User","name":"b"}]}`),
				binding(`{}`, `{"subjects":[{"kind":"User","name":"b"}]}`),
			},
			[]event.Event{
				role(getList, get), role(get, get), role(get, `[]`), role(get, `null`), update(), eventtest.SampleClusterScoped(event.Delete),
				binding(`{"subjects":[{"kind":"User","name":"a"},{"kind":"User","name":"b"}]}`, `{"subjects":[{"kind":"User","name":"b"}]}`),
			},
		},
		"scaled to zero": {
			[]event.Event{with(func(e *event.Event) { e.Object = json.RawMessage(`{"spec":{"replicas":0}}`) })},
			[]event.Event{update(), eventtest.Sample(event.Delete), with(func(e *event.Event) { e.OldObject = json.RawMessage(`{"spec":{"replicas":0}}`) })},
		},
		"a Secret lost a key": {
			[]event.Event{with(func(e *event.Event) {
				e.Kind, e.OldObject, e.Object = "Secret", json.RawMessage(`{"data":{"a":"x","b":"y"}}`), json.RawMessage(`{"data":{"a":"x"}}`)
			})},
			[]event.Event{update(), with(func(e *event.Event) {
				e.Kind, e.OldObject, e.Object = "Secret", json.RawMessage(`{}`), json.RawMessage(`{"data":{"a":"x"}}`)
			})},
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, rules, name)
			h := newFilter(t, Config{Rules: name + ": " + rules[name], OnError: "fail"})
			for i, e := range cases.yes {
				got, err := h(t.Context(), e)
				require.NoError(t, err, "case %d", i)
				require.NotNil(t, got)
			}
			for i, e := range cases.no {
				_, err := h(t.Context(), e)
				require.Equal(t, event.Stop("rule "+name+" is false"), err, "case %d", i)
			}
		})
		delete(rules, name)
	}
	require.Empty(t, rules, "examples that are not tested")
}
