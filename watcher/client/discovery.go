package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resource is a resource that the API server serves, in the version that it
// prefers.
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

// Resources lists what the API server serves: the core group first, then the
// groups in the server's order. Groups whose server does not answer are named
// in stale.
func (c *Client) Resources(ctx context.Context) (resources []Resource, stale []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for _, root := range []string{"/api", "/apis"} {
		raw, err := c.getRaw(ctx, root, acceptAggregated)
		if err != nil {
			return nil, nil, unreachable(err)
		}
		var list apidiscovery.APIGroupDiscoveryList
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, nil, fmt.Errorf("discovery: %s holds no JSON", root)
		}
		if list.Kind != "APIGroupDiscoveryList" {
			found, missing, err := c.legacy(ctx, root, raw)
			if err != nil {
				return nil, nil, unreachable(err)
			}
			resources, stale = append(resources, found...), append(stale, missing...)
			continue
		}
		for _, group := range list.Items {
			found, missing := aggregated(group)
			resources, stale = append(resources, found...), append(stale, missing...)
		}
	}
	return resources, stale, nil
}

// aggregated takes each resource of a group in the first version that serves
// it; versions come in the server's order of preference.
func aggregated(group apidiscovery.APIGroupDiscovery) (out []Resource, stale []string) {
	for _, v := range group.Versions {
		if v.Freshness == apidiscovery.DiscoveryFreshnessStale && len(v.Resources) == 0 {
			stale = append(stale, group.Name)
		}
		for _, r := range v.Resources {
			if r.ResponseKind == nil || slices.ContainsFunc(out, func(o Resource) bool { return o.Resource == r.Resource }) {
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
		return nil, nil, errors.New("discovery: /apis holds no list of groups")
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
				known := slices.ContainsFunc(found, func(o Resource) bool { return o.Resource == r.Name })
				if known || strings.Contains(r.Name, "/") {
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
func unreachable(err error) error {
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
	return fmt.Errorf("discovery: %w", err)
}
