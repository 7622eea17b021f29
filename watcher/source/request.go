package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/kwatchman/kwatchman/watcher/client"
)

// open starts a request at a path, with the selectors of the watch; the caller
// closes the body.
//
// It stands on rest.Request.Stream because client-go's own decoder costs several
// times more and keeps a list unpacked in memory.
func (s *Source) open(ctx context.Context, path string, opts metav1.ListOptions) (io.ReadCloser, error) {
	s.life.beat()
	opts.LabelSelector = s.cfg.Watch.Labels
	if opts.FieldSelector != "" && s.cfg.FieldSelector != "" {
		opts.FieldSelector = s.cfg.FieldSelector + "," + opts.FieldSelector
	} else if opts.FieldSelector == "" {
		opts.FieldSelector = s.cfg.FieldSelector
	}
	// Waiting and trying again is the loop's: client-go would wait ten times a second
	// inside of a request that is reset, and nobody would hear of it.
	return s.cfg.Client.Get().AbsPath(path).MaxRetries(0).
		SpecificallyVersionedParams(&opts, metav1.ParameterCodec, schema.GroupVersion{Version: "v1"}).
		SetHeader("Accept", "application/json").
		Stream(ctx)
}

// freshFor is how long nobody doubts the version that a list gave.
const freshFor = 10 * time.Second

// checkHistory looks whether the server has a version in its past. An API server
// whose etcd was restored may be behind it, and a watch would wait, deaf, until
// that version comes anew. A version that cannot be compared is taken for good.
//
// It asks for one object's metadata without selectors: the answer's version is
// all that is wanted, and a selector that matches little would make the API server
// look through all objects.
func (s *Source) checkHistory(ctx context.Context, version string) error {
	s.life.beat()
	body, err := s.cfg.Client.Get().AbsPath(s.path).MaxRetries(0).Param("limit", "1").
		SetHeader("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json").
		Stream(ctx)
	switch {
	case apierrors.IsForbidden(err):
		return nil // it may be allowed with the selectors only; the watch will tell
	case err != nil:
		return err
	}
	defer closeBody(body)
	var list struct{ Metadata metav1.ListMeta }
	if err := json.NewDecoder(body).Decode(&list); err != nil {
		return listError(err)
	}
	if c, err := resourceversion.CompareResourceVersion(version, list.Metadata.ResourceVersion); err != nil || c <= 0 {
		return nil
	}
	s.log.Warn("the API server's history went back behind what was seen, as after a restore of its data",
		"seen", version, "now", list.Metadata.ResourceVersion)
	return apierrors.NewResourceExpired("the API server's history went back")
}

// isPermanent tells whether the API server's answer is one that waiting cannot
// mend.
func isPermanent(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) ||
		apierrors.IsMethodNotSupported(err) || apierrors.IsBadRequest(err) || apierrors.IsInvalid(err)
}

// explain makes one line of an error that says what to do.
func (s *Source) explain(err error) error {
	r := s.cfg.Scope.Resource
	var status apierrors.APIStatus
	if u, ok := errors.AsType[*url.Error](err); ok { // without the URL, which says nothing new
		return fmt.Errorf("watch %s: the API server cannot be reached: %w", r.GroupResource(), u.Err)
	}
	if !errors.As(err, &status) {
		return fmt.Errorf("watch %s: %w", r.GroupResource(), err)
	}
	message := status.Status().Message
	if apierrors.IsForbidden(err) {
		role := "its ClusterRole"
		if s.cfg.Watch.Namespace != "" {
			role = "its Role in namespace " + s.cfg.Watch.Namespace
		}
		return fmt.Errorf("watch %s: %s; add to %s the rule %s (kwatchman rbac prints all of them)",
			r.GroupResource(), message, role, client.Rule(r.GroupResource(), client.Verbs...))
	}
	if apierrors.IsUnauthorized(err) {
		message = client.UnauthorizedText
	}
	if apierrors.IsBadRequest(err) && s.cfg.FieldSelector != "" {
		message += "; see the field selector"
	}
	return fmt.Errorf("watch %s: %s", r.GroupResource(), message)
}

// closeBody ends a response that is not needed any more; there is nothing to
// learn from an error here.
func closeBody(c io.Closer) { _ = c.Close() }
