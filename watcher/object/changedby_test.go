package object_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// entry is an entry of managedFields; at is seconds after nine o'clock, -1 for
// none.
func entry(manager, operation, subresource string, at int, fields string) string {
	out := fmt.Sprintf(`{"manager":%q,"operation":%q,"apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":%s`, manager, operation, fields)
	if subresource != "" {
		out += fmt.Sprintf(`,"subresource":%q`, subresource)
	}
	if at >= 0 {
		out += fmt.Sprintf(`,"time":"2026-11-22T09:00:%02dZ"`, at)
	}
	return out + "}"
}

// version is a manifest with its entries of managedFields.
type version struct {
	manifest string // without metadata's braces: metadata members | other members
	entries  []string
}

func (v version) raw(resourceVersion int) []byte {
	metadata, rest, _ := strings.Cut(v.manifest, "|")
	if metadata != "" {
		metadata = "," + metadata
	}
	if rest != "" {
		rest = "," + rest
	}
	return fmt.Appendf(nil, `{"metadata":{"name":"web","namespace":"shop","uid":"u","resourceVersion":"%d","managedFields":[%s]%s}%s}`,
		resourceVersion, strings.Join(v.entries, ","), metadata, rest)
}

// changedBy names who changed old into now; old without entries and manifest
// stands for nothing.
func changedBy(t *testing.T, old *version, now version) []string {
	t.Helper()
	p := newPacker(t, deployments)
	var before []byte
	o, err := p.Pack(now.raw(2), nil)
	require.NoError(t, err)
	after, _, err := p.Unpack(o)
	require.NoError(t, err)
	managers := []string{}
	if old == nil {
		got, err := o.ChangedBy(nil, after, nil)
		require.NoError(t, err)
		for _, m := range got {
			managers = append(managers, m.Manager+"/"+m.Operation+"/"+m.Subresource)
		}
		return managers
	}
	last, err := p.Pack(old.raw(1), nil)
	require.NoError(t, err)
	before, lastManagers, err := p.Unpack(last)
	require.NoError(t, err)
	got, err := o.ChangedBy(before, after, lastManagers)
	require.NoError(t, err)
	for _, m := range got {
		managers = append(managers, m.Manager+"/"+m.Operation+"/"+m.Subresource)
	}
	return managers
}

const (
	template  = `"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:name":{},"f:image":{}}}}}`
	createdBy = `{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:replicas":{},` + template + `}}`
	imageOnly = `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{"f:image":{}}}}}}}`
	noImage   = `{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:name":{}}}}}}}`
	noScale   = `{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{` + template + `}}`
)

func spec(replicas int, image string) string {
	return fmt.Sprintf(`"labels":{"app":"web"}|"spec":{"replicas":%d,"template":{"spec":{"containers":[{"name":"web","image":%q}]}}}`, replicas, image)
}

const createsCounter = `{"f:metadata":{"f:annotations":{".":{},"f:deprecated.daemonset.template.generation":{}}}}`

func counted(templates int, image string) string {
	return fmt.Sprintf(`"annotations":{"deprecated.daemonset.template.generation":"%d"},`, templates) + spec(1, image)
}

func TestChangedByNamesTheOwnersOfWhatDiffers(t *testing.T) {
	create := entry("kubectl-create", "Update", "", 1, createdBy)
	first := &version{spec(1, "web:1"), []string{create}}
	for name, tc := range map[string]struct {
		old  *version
		now  version
		want []string
	}{
		"create": {nil, *first, []string{"kubectl-create/Update/"}},
		"server-side apply creates": {
			nil, version{spec(1, "web:1"), []string{entry("argocd", "Apply", "", 1, createdBy)}}, []string{"argocd/Apply/"},
		},
		"client-side apply": {
			first,
			version{spec(2, "web:2"), []string{
				entry("kubectl-create", "Update", "", 1, `{"f:metadata":{"f:labels":{".":{},"f:app":{}}}}`),
				entry("kubectl-client-side-apply", "Update", "", 5, `{"f:spec":{"f:replicas":{},`+template+`}}`),
			}},
			[]string{"kubectl-client-side-apply/Update/"},
		},
		"two managers apply, one changes": {
			&version{spec(1, "web:1"), []string{entry("argocd", "Apply", "", 1, noScale), entry("keda", "Apply", "", 2, `{"f:spec":{"f:replicas":{}}}`)}},
			version{spec(4, "web:1"), []string{entry("argocd", "Apply", "", 1, noScale), entry("keda", "Apply", "", 9, `{"f:spec":{"f:replicas":{}}}`)}},
			[]string{"keda/Apply/"},
		},
		"two managers apply the same value": {
			first,
			version{spec(4, "web:1"), []string{entry("a", "Apply", "", 2, `{"f:spec":{"f:replicas":{}}}`), entry("b", "Apply", "", 3, `{"f:spec":{"f:replicas":{}}}`)}},
			[]string{"a/Apply/", "b/Apply/"},
		},
		"set image": {
			first,
			version{spec(1, "web:2"), []string{entry("kubectl-create", "Update", "", 1, noImage), entry("kubectl-set", "Update", "", 7, imageOnly)}},
			[]string{"kubectl-set/Update/"},
		},
		"set image twice within a second": {
			&version{spec(1, "web:2"), []string{entry("kubectl-create", "Update", "", 1, noImage), entry("kubectl-set", "Update", "", 7, imageOnly)}},
			version{spec(1, "web:3"), []string{entry("kubectl-create", "Update", "", 1, noImage), entry("kubectl-set", "Update", "", 7, imageOnly)}},
			[]string{"kubectl-set/Update/"},
		},
		"scale, which records no time": {
			first,
			version{spec(3, "web:1"), []string{entry("kubectl-create", "Update", "", 1, noScale), entry("kubectl", "Update", "scale", -1, `{"f:spec":{"f:replicas":{}}}`)}},
			[]string{"kubectl/Update/scale"},
		},
		"a DaemonSet's new template, which the API server counts": {
			&version{counted(1, "web:1"), []string{entry("kubectl-create", "Update", "", 1, createsCounter), entry("kubectl-set", "Update", "", 2, imageOnly)}},
			version{counted(2, "web:2"), []string{entry("kubectl-create", "Update", "", 1, createsCounter), entry("kubectl-set", "Update", "", 7, imageOnly)}},
			[]string{"kubectl-set/Update/"},
		},
		"label": {
			first,
			version{
				`"labels":{"app":"web","tier":"a"}|` + strings.SplitN(spec(1, "web:1"), "|", 2)[1],
				[]string{create, entry("kubectl-label", "Update", "", 4, `{"f:metadata":{"f:labels":{"f:tier":{}}}}`)},
			},
			[]string{"kubectl-label/Update/"},
		},
		"the first label makes the map": {
			&version{`|"spec":{}`, []string{entry("a", "Update", "", 1, `{"f:spec":{}}`)}},
			version{`"labels":{"tier":"a"}|"spec":{}`, []string{entry("a", "Update", "", 1, `{"f:spec":{}}`), entry("b", "Update", "", 2, `{"f:metadata":{"f:labels":{".":{},"f:tier":{}}}}`)}},
			[]string{"b/Update/"},
		},
		"status": {
			&version{spec(1, "web:1"), []string{create}},
			version{spec(1, "web:1") + `,"status":{"replicas":1}`, []string{create, entry("kube-controller-manager", "Update", "status", 6, `{"f:status":{"f:replicas":{}}}`)}},
			[]string{"kube-controller-manager/Update/status"},
		},
		"rollout: one writes spec, another status": {
			first,
			version{spec(1, "web:2") + `,"status":{"replicas":1}`, []string{
				entry("kubectl-create", "Update", "", 1, noImage), entry("kubectl-set", "Update", "", 7, imageOnly),
				entry("kube-controller-manager", "Update", "status", 7, `{"f:status":{"f:replicas":{}}}`),
			}},
			[]string{"kubectl-set/Update/", "kube-controller-manager/Update/status"},
		},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, changedBy(t, tc.old, tc.now)) })
	}
}

func TestChangedByNamesNobodyForARemoval(t *testing.T) {
	labels := func(fields string, at int) string {
		return entry("kubectl-label", "Update", "", at, `{"f:metadata":{"f:labels":{`+fields+`}}}`)
	}
	base := entry("kubectl-create", "Update", "", 1, `{"f:spec":{"f:replicas":{}}}`)
	for name, tc := range map[string]struct{ old, now version }{
		"the entry vanished": {
			version{`"labels":{"a":"1"}|"spec":{}`, []string{base, labels(`"f:a":{}`, 3)}}, version{`|"spec":{}`, []string{base}},
		},
		"the entry shrank": {
			version{`"labels":{"a":"1","b":"2"}|"spec":{}`, []string{base, labels(`"f:a":{},"f:b":{}`, 3)}},
			version{`"labels":{"a":"1"}|"spec":{}`, []string{base, labels(`"f:a":{}`, 3)}},
		},
		"of a list's item": {
			version{`|"spec":{"l":[{"name":"a"},{"name":"b"}]}`, []string{entry("m", "Update", "", 3, `{"f:spec":{"f:l":{"k:{\"name\":\"a\"}":{".":{},"f:name":{}},"k:{\"name\":\"b\"}":{".":{},"f:name":{}}}}}`)}},
			version{`|"spec":{"l":[{"name":"b"}]}`, []string{entry("m", "Update", "", 3, `{"f:spec":{"f:l":{"k:{\"name\":\"b\"}":{".":{},"f:name":{}}}}}`)}},
		},
		"an entry that owns nothing": {
			version{`"labels":{"a":"1"}|`, []string{entry("m", "Update", "", 3, `{}`)}}, version{`|`, []string{entry("m", "Update", "", 3, `{}`)}},
		},
		"an entry without fields": {
			version{`"labels":{"a":"1"}|`, []string{entry("m", "Update", "", 3, `null`)}}, version{`|`, []string{entry("m", "Update", "", 3, `null`)}},
		},
	} {
		t.Run(name, func(t *testing.T) { require.Empty(t, changedBy(t, &tc.old, tc.now)) })
	}
}

func TestChangedByFallsBackToWhoseTimeAdvanced(t *testing.T) {
	const fields = `{"f:spec":{"f:x":{}}}`
	old := &version{`|"spec":{"x":1}`, []string{entry("same", "Update", "", 3, fields), entry("later", "Update", "", 3, fields), entry("sub", "Update", "", 5, fields)}}
	now := version{`"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}|"spec":{"x":1}`, []string{
		entry("same", "Update", "", 3, fields), entry("later", "Update", "", 4, fields), entry("new", "Apply", "", 2, fields),
		entry("sub", "Update", "status", 5, fields), entry("timeless", "Update", "scale", -1, fields),
	}}
	require.Equal(t, []string{"later/Update/", "new/Apply/", "sub/Update/status"}, changedBy(t, old, now))

	// One manager may have an entry for each version of the API.
	twice := []string{entry("hpa", "Update", "", 3, fields), entry("hpa", "Update", "", 5, fields)}
	require.Empty(t, changedBy(t, &version{`|"spec":{"x":1}`, twice}, version{`|"spec":{"x":1}`, twice}))

	var o object.Object
	got, err := o.ChangedBy([]byte(`{"a":1}`), []byte(`{"a":2}`), nil)
	require.NoError(t, err)
	require.NotNil(t, got, "an empty list, not null")
	require.Empty(t, got)
}

func TestTimesOfChangedByAreThoseRecorded(t *testing.T) {
	o, err := newPacker(t, deployments).Pack(version{`|"spec":{"x":1}`, []string{
		entry("a", "Update", "", 3, `{"f:spec":{"f:x":{}}}`), entry("b", "Update", "scale", -1, `{"f:spec":{"f:x":{}}}`),
	}}.raw(1), nil)
	require.NoError(t, err)
	got, err := o.ChangedBy(nil, []byte(`{"spec":{"x":1}}`), nil)
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, time.Date(2026, 11, 22, 9, 0, 3, 0, time.UTC), got[0].Time.UTC())
	require.Nil(t, got[1].Time)
}
