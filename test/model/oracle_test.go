package model

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// oracle follows etcd itself, past the API server, so that no restart and no
// compaction hides what happened.
type oracle struct {
	plane   *plane
	base    string // what the namespaces of the set-up begin with
	watched []string
	cancel  context.CancelFunc
	work    sync.WaitGroup

	mu      sync.Mutex
	states  map[Key][]State
	samples []sample
	failed  error
	opened  int
}

// outLabel takes an object out of what the watchers select.
const (
	outLabel = "model"
	outValue = "out"
	selector = outLabel + "!=" + outValue
)

func newOracle(t *testing.T, p *plane, base string, watched []string) *oracle {
	t.Helper()
	o := &oracle{plane: p, base: base, watched: watched, states: map[Key][]State{}}
	now, err := p.revision(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	o.cancel = cancel
	for _, r := range []schema.GroupVersionResource{configMaps, widgets} {
		o.work.Go(func() { o.fail(o.follow(ctx, r, now+1)) })
	}
	o.work.Go(func() { o.sample(ctx) })
	t.Cleanup(o.close)
	require.Eventually(t, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.opened == 2 && len(o.samples) > 0
	}, 10*time.Second, 10*time.Millisecond, "etcd is followed")
	return o
}

func (o *oracle) close() {
	o.cancel()
	o.work.Wait()
}

func (o *oracle) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = errors.Join(o.failed, err)
}

// prefix is where etcd has the objects of a resource in the set-up's namespaces.
func (o *oracle) prefix(r schema.GroupVersionResource) string {
	if r.Group == "" {
		return "/registry/" + r.Resource + "/" + o.base
	}
	return "/registry/" + r.Group + "/" + r.Resource + "/" + o.base
}

// message is what etcd's gateway sends on a watch.
type message struct {
	Error  json.RawMessage
	Result struct {
		Created, Canceled bool
		CancelReason      string `json:"cancel_reason"`
		Events            []struct {
			Type string
			KV   struct {
				Key, Value  []byte
				ModRevision int64 `json:"mod_revision,string"`
			} `json:"kv"`
		}
	}
}

// follow reads a resource's changes until ctx ends.
func (o *oracle) follow(ctx context.Context, r schema.GroupVersionResource, from int64) error {
	prefix := o.prefix(r)
	end := prefix[:len(prefix)-1] + string(prefix[len(prefix)-1]+1)
	body := fmt.Sprintf(`{"create_request":{"key":%q,"range_end":%q,"start_revision":"%d"}}`,
		base64.StdEncoding.EncodeToString([]byte(prefix)), base64.StdEncoding.EncodeToString([]byte(end)), from)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.plane.etcd+"/v3/watch", bytes.NewBufferString(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	for d := json.NewDecoder(resp.Body); ; {
		var m message
		if err := d.Decode(&m); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("watch of etcd: %w", err)
		}
		if m.Error != nil || m.Result.Canceled {
			return fmt.Errorf("watch of etcd ends: %s %s", m.Error, m.Result.CancelReason)
		}
		if err := o.take(r, prefix, &m); err != nil {
			return err
		}
	}
}

func (o *oracle) take(r schema.GroupVersionResource, prefix string, m *message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m.Result.Created {
		o.opened++
	}
	for _, e := range m.Result.Events {
		namespace, name, ok := strings.Cut(strings.TrimPrefix(string(e.KV.Key), prefix), "/")
		if !ok {
			return fmt.Errorf("a key of etcd is %q", e.KV.Key)
		}
		s := State{Revision: e.KV.ModRevision, At: time.Now()}
		if e.Type != "DELETE" {
			meta, err := metaOf(e.KV.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", e.KV.Key, err)
			}
			if meta.Labels[outLabel] != outValue {
				s.Version = fmt.Sprintf("%s.%d", meta.UID, e.KV.ModRevision)
			}
		}
		k := Key{r.GroupResource().String(), o.base + namespace, name}
		o.states[k] = append(o.states[k], s)
	}
	return nil
}

// metaOf reads what etcd stores: protobuf of what Kubernetes has built in, JSON of
// the rest. The metadata is the first field of every kind.
func metaOf(stored []byte) (*metav1.ObjectMeta, error) {
	var o metav1.PartialObjectMetadata
	raw, ok := bytes.CutPrefix(stored, []byte("k8s\x00"))
	if !ok {
		return &o.ObjectMeta, json.Unmarshal(stored, &o)
	}
	var wrapped runtime.Unknown
	if err := wrapped.Unmarshal(raw); err != nil {
		return nil, err
	}
	return &o.ObjectMeta, o.Unmarshal(wrapped.Raw)
}

// sample notes etcd's revision again and again.
func (o *oracle) sample(ctx context.Context) {
	for ctx.Err() == nil {
		s := sample{asked: time.Now()}
		var err error
		if s.revision, err = o.plane.revision(ctx); err == nil {
			s.answered = time.Now()
			o.mu.Lock()
			o.samples = append(o.samples, s)
			o.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// history is what happened so far, without states that the watchers cannot tell
// apart: an object that is out of what they select.
func (o *oracle) history() map[Key][]State {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[Key][]State{}
	for k, all := range o.states {
		if !slices.Contains(o.watched, k.Namespace) {
			continue
		}
		states := []State{{}}
		for _, s := range all {
			if s.Version != "" || states[len(states)-1].Version != "" {
				states = append(states, s)
			}
		}
		out[k] = states
	}
	return out
}

// has tells whether an object was seen.
func (o *oracle) has(k Key) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.states[k]) > 0
}

func (o *oracle) clock() clock {
	o.mu.Lock()
	defer o.mu.Unlock()
	return clockOf(slices.Clone(o.samples))
}

func (o *oracle) err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed
}
