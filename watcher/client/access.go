package client

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	authorization "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/event"
)

// Verbs are what watching a resource takes.
var Verbs = []string{"list", "watch"}

// Place is a resource in one namespace, or in all.
type Place struct {
	schema.GroupResource
	Namespace string // empty: all, or a resource of the cluster
}

// Rule is a rule of a Role for a resource, as YAML in one line.
func Rule(r schema.GroupResource, verbs ...string) string {
	return fmt.Sprintf("{apiGroups: [%q], resources: [%q], verbs: [\"%s\"]}", r.Group, r.Resource, strings.Join(verbs, `", "`))
}

// asking bounds the questions that are under way at once.
const asking = 8

// MissingVerbs asks the API server, for each place, which of Verbs the client
// may not use there. An error says that it gives no answer to this question.
func (c *Client) MissingVerbs(ctx context.Context, places []Place) ([][]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	missing := make([][]string, len(places))
	errs := make([]error, len(places))
	slots := make(chan struct{}, asking)
	var questions sync.WaitGroup
	for i, p := range places {
		slots <- struct{}{}
		questions.Go(func() {
			defer func() { <-slots }()
			missing[i], errs[i] = c.missing(ctx, p, "", Verbs)
		})
	}
	questions.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// MissingOn asks which of some verbs the client may not use on one object.
func (c *Client) MissingOn(ctx context.Context, p Place, name string, verbs ...string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return c.missing(ctx, p, name, verbs)
}

func (c *Client) missing(ctx context.Context, p Place, name string, verbs []string) (missing []string, err error) {
	for _, verb := range verbs {
		allowed, err := c.allowed(ctx, p, name, verb)
		if err != nil {
			return nil, err
		}
		if !allowed {
			missing = append(missing, verb)
		}
	}
	return missing, nil
}

func (c *Client) allowed(ctx context.Context, p Place, name, verb string) (bool, error) {
	if verb == "create" {
		name = "" // which is not known to the authorizer then
	}
	review := authorization.SelfSubjectAccessReview{Spec: authorization.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorization.ResourceAttributes{
			Namespace: p.Namespace, Verb: verb, Group: p.Group, Resource: p.Resource, Name: name,
		},
	}}
	review.APIVersion, review.Kind = "authorization.k8s.io/v1", "SelfSubjectAccessReview"
	body, err := json.Marshal(review)
	if err != nil {
		return false, err
	}
	raw, err := c.REST.Post().AbsPath("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").
		SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Raw()
	if err != nil {
		return false, fmt.Errorf("ask for permissions: %w", err)
	}
	if err := json.Unmarshal(raw, &review); err != nil {
		return false, fmt.Errorf("ask for permissions: the answer is no review")
	}
	return review.Status.Allowed, nil
}

// Path is where a resource's objects are listed: an object's path without its
// name.
func Path(r schema.GroupVersionResource, namespace string) string {
	return strings.TrimSuffix(event.NewSubject(r.Group, r.Version, r.Resource, namespace, ""), "/")
}

// TryList asks for one object, to see whether the API server takes the
// question.
func (c *Client) TryList(ctx context.Context, r Resource, namespace, labelSelector, fieldSelector string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return c.REST.Get().AbsPath(Path(r.GroupVersionResource, namespace)).Param("limit", "1").
		Param("labelSelector", labelSelector).Param("fieldSelector", fieldSelector).
		SetHeader("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json").
		Do(ctx).Error()
}
