package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// kind is a kind of change, with its share of a hundred.
type kind struct {
	name    string
	share   int
	manager string // who writes it
}

// statusOnly is what diff stops: nothing that a person wrote has changed.
const statusOnly = "status only"

// kinds are the mix, each by whom a cluster sees it from.
var kinds = []kind{
	{"image", 35, "kubectl-set"},
	{"label", 15, "kubectl-label"},
	{"replicas", 15, "kubectl-edit"},
	{"environment", 15, "helm"},
	{statusOnly, 20, "kube-controller-manager"},
}

func mix() string {
	var out []string
	for _, k := range kinds {
		out = append(out, fmt.Sprintf("%d %% %s", k.share, k.name))
	}
	return strings.Join(out, ", ")
}

// change is one change to make.
type change struct {
	object int
	kind   kind
	n      int // of all changes; what is written holds it, so that none changes nothing
	nth    int // of this object
}

// changer plans changes, always the same.
type changer struct {
	objects int
	rng     *rand.Rand
	n       int
	nth     map[int]int
}

func newChanger(objects int) *changer {
	return &changer{objects, rand.New(rand.NewPCG(seed, 0)), 0, map[int]int{}} //nolint:gosec // the same in every run
}

func (c *changer) plan(n int) []change {
	out := make([]change, n)
	for i := range out {
		object, k, share := c.rng.IntN(c.objects), 0, c.rng.IntN(100)
		for share >= kinds[k].share {
			share -= kinds[k].share
			k++
		}
		c.n++
		c.nth[object]++
		out[i] = change{object, kinds[k], c.n, c.nth[object]}
	}
	return out
}

// request is the path, the type and the body of the patch.
func (c change) request() (path, contentType, body string) {
	path, contentType = objectPath(c.object), mergePatch
	switch c.kind.name {
	case "image":
		contentType = jsonPatch
		body = fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"registry.local/shop/%s:1.%d.0@sha256:%064x"}]`,
			services[c.object%len(services)], c.n, c.n*0x9e3779b1)
	case "environment":
		contentType = jsonPatch
		body = fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/containers/0/env/1/value","value":"release-%d"}]`, c.n)
	case "label":
		body = fmt.Sprintf(`{"metadata":{"labels":{"release":"r%d"}}}`, c.n)
	case "replicas":
		body = fmt.Sprintf(`{"spec":{"replicas":%d}}`, 3+c.nth%30) // differs from those just before and after
	default:
		path += "/status"
		body = fmt.Sprintf(`{"status":{"observedGeneration":%d}}`, 1+c.n)
	}
	return path + "?fieldManager=" + c.kind.manager, contentType, body
}

// ledger is what was changed: by the resourceVersion that the API server
// answered, when the call began and of what kind it was.
type ledger struct {
	mu    sync.Mutex
	began map[string]time.Time
	kinds map[string]string
}

func (l *ledger) note(version string, began time.Time, c change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began[version], l.kinds[version] = began, c.kind.name
}

// versions are those of all changes but of the kind without.
func (l *ledger) versions(without string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for v, k := range l.kinds {
		if k != without {
			out = append(out, v)
		}
	}
	return out
}

// make makes the changes, rate a second or, if that is 0, as fast as the API
// server takes them.
func (c *cluster) make(ctx context.Context, changes []change, rate int) (*ledger, error) {
	l := &ledger{began: map[string]time.Time{}, kinds: map[string]string{}}
	progress := newProgress("changes made", len(changes))
	start := time.Now()
	err := parallel(ctx, clients, len(changes), func(ctx context.Context, i int) error {
		defer progress.step()
		if rate > 0 {
			due := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
			if err := sleep(ctx, time.Until(due)); err != nil {
				return err
			}
		}
		path, contentType, body := changes[i].request()
		began := time.Now()
		version, err := c.do(ctx, http.MethodPatch, path, contentType, []byte(body))
		if err == nil {
			l.note(version, began, changes[i])
		}
		return err
	})
	if err == nil && len(l.began) != len(changes) {
		err = fmt.Errorf("%d changes gave %d versions: some changed nothing", len(changes), len(l.began))
	}
	return l, err
}
