package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resource is a resource that the API server serves, in one version.
type Resource struct {
	schema.GroupVersionResource
	Kind       schema.GroupVersionKind
	Namespaced bool
	Singular   string
	ShortNames []string
	Verbs      []string
}

// names are all the names that a resource answers to, in lower case.
func (r *Resource) names() []string {
	out := slices.Concat([]string{r.Resource, r.Singular, strings.ToLower(r.Kind.Kind)}, r.ShortNames)
	if r.Group == "" {
		return out
	}
	for _, n := range out {
		out = append(out, n+"."+r.Group, n+"."+r.Version+"."+r.Group)
	}
	return out
}

// client-go's discovery client links every API type of Kubernetes, 56 packages,
// so the two documents are read here.
const (
	acceptAggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList," +
		"application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
	acceptJSON = "application/json"
)

// Discovery is what an API server serves.
type Discovery struct {
	// Resources are in the order of preference: the core group first, then the
	// groups in the server's order, the versions of a group with the preferred
	// one first.
	Resources []Resource
	// Stale are the groups whose server does not answer.
	Stale []string
	// Time is the server's when it answered, to the second.
	Time time.Time
	// Unchanged tells that all of it is what was known before.
	Unchanged bool

	roots map[string]root
}

// root is one of the two documents of discovery.
type root struct {
	etag      string
	resources []Resource
	stale     []string
}

// Discover asks for what the API server serves. last, if not nil, is what it
// answered before, of which nothing is sent or read again that is unchanged.
func (c *Client) Discover(ctx context.Context, last *Discovery) (*Discovery, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	d := &Discovery{roots: map[string]root{}, Unchanged: last != nil}
	for _, path := range []string{"/api", "/apis"} {
		var known root
		if last != nil {
			known = last.roots[path]
		}
		r, at, err := c.root(ctx, path, known)
		if err != nil {
			return nil, c.unreachable(err)
		}
		d.roots[path], d.Time = r, at
		d.Unchanged = d.Unchanged && r.etag != "" && r.etag == known.etag
		d.Resources, d.Stale = append(d.Resources, r.resources...), append(d.Stale, r.stale...)
	}
	return d, nil
}

func (c *Client) root(ctx context.Context, path string, known root) (root, time.Time, error) {
	raw, header, err := c.ask(ctx, path, known.etag)
	if err != nil {
		return root{}, time.Time{}, err
	}
	at, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		at = time.Now() // every server says it; without, the clocks have to agree
	}
	if raw == nil {
		return known, at, nil
	}
	var list apidiscovery.APIGroupDiscoveryList
	if err := json.Unmarshal(raw, &list); err != nil {
		return root{}, at, fmt.Errorf("%s holds no JSON", path)
	}
	r := root{etag: header.Get("Etag")}
	if list.Kind != "APIGroupDiscoveryList" {
		r.etag = "" // says nothing about the documents of the groups
		r.resources, r.stale, err = c.legacy(ctx, path, raw)
		return r, at, err
	}
	for _, group := range list.Items {
		found, missing := aggregated(group)
		r.resources, r.stale = append(r.resources, found...), append(r.stale, missing...)
	}
	return r, at, nil
}

// ask gets a document, nil if it is still the one with this tag. client-go
// shows no headers of an answer.
func (c *Client) ask(ctx context.Context, path, etag string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.REST.Get().AbsPath(path).URL().String(), nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", acceptAggregated)
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := c.REST.Client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusNotModified && etag != "" {
		return nil, resp.Header, nil
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxDiscovery))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = refused(resp.StatusCode, raw)
	}
	return raw, resp.Header, err
}

// maxDiscovery bounds a document in bytes.
const maxDiscovery = 64 << 20

// refused is the error that the API server describes in a Status.
func refused(code int, raw []byte) error {
	var status metav1.Status
	if json.Unmarshal(raw, &status) == nil && status.Kind == "Status" {
		return &apierrors.StatusError{ErrStatus: status}
	}
	return apierrors.NewGenericServerResponse(code, "get", schema.GroupResource{}, "", "", 0, true)
}

// aggregated takes each resource of a group in the first version that serves
// it; versions come in the server's order of preference.
func aggregated(group apidiscovery.APIGroupDiscovery) (out []Resource, stale []string) {
	for _, v := range group.Versions {
		if v.Freshness == apidiscovery.DiscoveryFreshnessStale && len(v.Resources) == 0 {
			stale = append(stale, group.Name)
		}
		for _, r := range v.Resources {
			if r.ResponseKind == nil {
				continue
			}
			gv := schema.GroupVersion{Group: group.Name, Version: v.Version}
			out = append(out, Resource{
				GroupVersionResource: gv.WithResource(r.Resource), Kind: gv.WithKind(r.ResponseKind.Kind),
				Namespaced: r.Scope == apidiscovery.ScopeNamespace, Singular: r.SingularResource,
				ShortNames: r.ShortNames, Verbs: r.Verbs,
			})
		}
	}
	return out, stale
}

// legacy reads the documents of servers before 1.26: one for the groups and
// one for each version.
func (c *Client) legacy(ctx context.Context, root string, raw []byte) (out []Resource, stale []string, err error) {
	var groups metav1.APIGroupList
	if root == "/api" {
		groups.Groups = []metav1.APIGroup{{Versions: []metav1.GroupVersionForDiscovery{{GroupVersion: "v1", Version: "v1"}}}}
	} else if err := json.Unmarshal(raw, &groups); err != nil {
		return nil, nil, errors.New("/apis holds no list of groups")
	}
	for _, g := range groups.Groups {
		var found []Resource
		for _, v := range g.Versions {
			var list metav1.APIResourceList
			if err := c.get(ctx, root+"/"+v.GroupVersion, acceptJSON, &list); err != nil {
				stale = append(stale, g.Name)
				continue
			}
			for _, r := range list.APIResources {
				if strings.Contains(r.Name, "/") {
					continue
				}
				gv := schema.GroupVersion{Group: g.Name, Version: v.Version}
				found = append(found, Resource{
					GroupVersionResource: gv.WithResource(r.Name), Kind: gv.WithKind(r.Kind),
					Namespaced: r.Namespaced, Singular: r.SingularName, ShortNames: r.ShortNames, Verbs: r.Verbs,
				})
			}
		}
		out = append(out, found...)
	}
	return out, stale, nil
}

func (c *Client) getRaw(ctx context.Context, path, accept string) ([]byte, error) {
	return c.REST.Get().AbsPath(path).SetHeader("Accept", accept).Do(ctx).Raw()
}

func (c *Client) get(ctx context.Context, path, accept string, into any) error {
	raw, err := c.getRaw(ctx, path, accept)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// UnauthorizedText is what a 401 means, at the start and later.
const UnauthorizedText = "the API server refuses the credentials (401 Unauthorized): check the kubeconfig or the service account"

// unreachable makes one line of why the API server gave no answer to the first
// question.
func (c *Client) unreachable(err error) error {
	if apierrors.IsUnauthorized(err) {
		return errors.New(UnauthorizedText)
	}
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("discovery is forbidden: %w; bind the ClusterRole system:discovery", err)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		host := u.URL
		if parsed, err := url.Parse(u.URL); err == nil {
			host = parsed.Host
		}
		reason := u.Err
		if u.Timeout() {
			reason = errors.New("no answer in time")
		} else if op, ok := errors.AsType[*net.OpError](u.Err); ok {
			reason = op.Err
		}
		return fmt.Errorf("the API server at %s cannot be reached: %w", host, reason)
	}
	return fmt.Errorf("the API server at %s does not say what it serves: %w; check the server in the kubeconfig", c.Host(), err)
}
