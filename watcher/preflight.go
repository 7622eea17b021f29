package watcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/lease"
	"github.com/kwatchman/kwatchman/watcher/plan"
)

// connect asks the API server what it serves, which is the first question.
func connect(ctx context.Context, cfg *config.Config) (*client.Client, *client.Discovery, error) {
	api, err := client.Connect(cfg.Kubeconfig, "kwatchman/"+Version)
	if err != nil {
		return nil, nil, err
	}
	served, err := api.Discover(ctx, nil)
	return api, served, err
}

// survey finds what is configured among what the API server serves; current is
// what is watched already, see plan.Of.
func survey(ctx context.Context, cfg *config.Config, current map[client.Place]schema.GroupVersionResource) (*client.Client, *client.Discovery, *plan.Plan, error) {
	api, served, err := connect(ctx, cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	p := plan.Of(cfg, served, current)
	return api, served, p, p.Err()
}

// selectable asks whether the API server takes the field selectors, which each
// resource has its own of.
func selectable(ctx context.Context, cfg *config.Config, api *client.Client, p *plan.Plan) error {
	for _, place := range p.Sorted() {
		entry := p.Places[place]
		if entry.FieldSelector == "" {
			continue
		}
		if err := tryList(ctx, cfg, api, place, entry); apierrors.IsBadRequest(err) {
			return err
		}
	}
	return nil
}

// tryList lists one object of a place. What the API server has against a field
// selector is said of the setting that gives it.
func tryList(ctx context.Context, cfg *config.Config, api *client.Client, place client.Place, entry plan.Entry) error {
	err := api.TryList(ctx, entry.Resource, place.Namespace, entry.LabelSelector, fieldSelector(cfg, entry.FieldSelector, entry.Resource.Namespaced))
	if apierrors.IsBadRequest(err) && entry.FieldSelector != "" {
		return fmt.Errorf("%s: %s: %w", cfg.Of("KW_FIELD_SELECTOR", entry.Where, "fieldSelector"), place, err)
	}
	return err
}

// leasePlace is where the Lease is that is configured.
func leasePlace(cfg *config.Config, api *client.Client) client.Place {
	namespace, _ := cfg.LeaseName()
	return client.Place{GroupResource: lease.Resource, Namespace: cmp.Or(namespace, api.Namespace)}
}

// leaseTrouble says what is missing to take part in the election; empty: nothing.
func leaseTrouble(ctx context.Context, cfg *config.Config, api *client.Client) (string, error) {
	if cfg.Lease == "" {
		return "", nil
	}
	place := leasePlace(cfg, api)
	_, name := cfg.LeaseName()
	missing, err := api.MissingOn(ctx, place, name, lease.Verbs...)
	if err != nil || len(missing) == 0 {
		return "", err
	}
	return mayNot(place, missing, lease.Rules(name)...), nil
}

// mayNot says what is missing at a place, and the rules to add.
func mayNot(place client.Place, missing []string, rules ...string) string {
	role := "a ClusterRole"
	if place.Namespace != "" {
		role = "a Role in namespace " + place.Namespace
	}
	return fmt.Sprintf("may not %s %s: add to %s the rule %s", strings.Join(missing, " and "),
		place.GroupResource, role, strings.Join(rules, " and "))
}

// permitted asks whether every place of the plan may be watched, so that a
// missing permission is one error about all of them. An API server that does
// not answer this question is not asked again: the watch itself will tell.
func permitted(ctx context.Context, cfg *config.Config, api *client.Client, p *plan.Plan, log *slog.Logger) error {
	if trouble, err := leaseTrouble(ctx, cfg, api); err == nil && trouble != "" {
		return fmt.Errorf("KW_LEASE: %s (kwatchman rbac prints the whole role)", trouble)
	}
	places := p.Sorted()
	missing, err := api.MissingVerbs(ctx, places)
	if err != nil {
		log.Debug("permissions are not known before the watch", "error", err)
		return nil
	}
	var lines []string
	for i, verbs := range missing {
		if len(verbs) == 0 {
			continue
		}
		lines = append(lines, mayNot(places[i], verbs, client.Rule(places[i].GroupResource, client.Verbs...)))
	}
	if len(lines) == 0 {
		return nil
	}
	text := lines[0]
	if n := len(lines) - 1; n > 0 {
		text += fmt.Sprintf("; and so for %d more", n)
	}
	return errors.New(text + " (kwatchman rbac prints the whole role)")
}
