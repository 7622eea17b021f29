package watcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/kwatchman/kwatchman/internal/tracing"
	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/deadletter"
	"github.com/kwatchman/kwatchman/watcher/plan"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// report is the table that check prints.
type report struct {
	rows     [][]string
	problems int
}

func (r *report) row(what, name, where, result string) {
	r.rows = append(r.rows, []string{what, name, where, result})
}

func (r *report) problem(what, name, where, result string) {
	r.problems++
	r.row(what, name, where, "PROBLEM: "+result)
}

func (r *report) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "WHAT\tNAME\tWHERE\tRESULT")
	for _, row := range r.rows {
		_, _ = fmt.Fprintln(tw, strings.Join(row, "\t")) // Flush tells of an error
	}
	return tw.Flush()
}

// check looks at everything that a run needs, and goes on after a problem. A
// configuration that cannot be read is an error before there is a table.
func check(ctx context.Context, cfg *config.Config, functions map[string]Function, w io.Writer) error {
	ch, _, err := assemble(cfg, functions, slog.New(slog.DiscardHandler), nil, nil, cfg.StateDir != "")
	if err != nil {
		return err
	}
	r := &report{}
	from := cmp.Or(cfg.ConfigFile, "-")
	r.row("configuration", from, "", "ok")
	for _, note := range cfg.Notes {
		r.row("configuration", from, "", "note: "+note)
	}
	if collector, err := tracing.Check(); err != nil {
		r.problem("tracing", "-", "", err.Error())
	} else if collector != "" {
		r.row("tracing", collector, "remote", "ok, not asked")
	}
	of := checkState(r, cfg)
	checkDeadLetter(ctx, r, cfg, ch)
	if cfg.Record != "" {
		if _, err := recording(cfg); err != nil {
			r.problem("recording", cfg.Record, "", err.Error())
		} else {
			r.row("recording", cfg.Record, "", "ok")
		}
	}
	checkCluster(ctx, r, cfg, of)
	for _, s := range ch.Check(ctx) {
		if s.Err != nil {
			r.problem("handler", s.Name, s.Where, s.Err.Error())
		} else {
			r.row("handler", s.Name, s.Where, "ok")
		}
	}
	if err := r.print(w); err != nil {
		return err
	}
	switch r.problems {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("check found 1 problem")
	}
	return fmt.Errorf("check found %d problems", r.problems)
}

// checkState looks into the state and leaves it as it is. It returns whose it is.
func checkState(r *report, cfg *config.Config) state.Cluster {
	if cfg.StateDir == "" {
		return state.Cluster{}
	}
	found, err := state.Inspect(cfg.StateDir)
	switch {
	case err != nil:
		r.problem("state", cfg.StateDir, "", err.Error())
	case found.Locked:
		r.row("state", cfg.StateDir, "", "ok, in use by a watcher")
	case !found.Exists:
		r.row("state", cfg.StateDir, "", "ok, none yet: it begins with a baseline")
	default:
		r.row("state", cfg.StateDir, "", fmt.Sprintf("ok, waiting changes: %d", found.Waiting))
	}
	return found.Cluster
}

func checkDeadLetter(ctx context.Context, r *report, cfg *config.Config, ch *chain.Chain) {
	if u := cfg.DeadLetterURL(); u != "" {
		name := "-"
		post, err := ch.NewPost(u)
		if err == nil {
			defer post.Close()
			name, err = post.Name(), post.Check(ctx)
		}
		if err != nil {
			r.problem("dead letter", name, "remote", err.Error())
			return
		}
		r.row("dead letter", name, "remote", "ok")
		return
	}
	path := cfg.DeadLetterFile()
	if path == "" {
		return
	}
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) && cfg.DeadLetter == "" {
		r.row("dead letter", path, "file", "ok, the folder is made at the start")
		return
	}
	err := notTheState(cfg, "KW_DEAD_LETTER", path)
	if err == nil {
		err = deadletter.Check(path)
	}
	if err != nil {
		r.problem("dead letter", path, "file", err.Error())
		return
	}
	r.row("dead letter", path, "file", "ok")
}

// checkLease asks whether the watcher may take part in the election.
func checkLease(ctx context.Context, r *report, cfg *config.Config, api *client.Client) {
	if cfg.Lease == "" {
		return
	}
	_, name := cfg.LeaseName()
	trouble, err := leaseTrouble(ctx, cfg, api)
	switch where := "namespace " + leasePlace(cfg, api).Namespace; {
	case err != nil:
		r.problem("lease", name, where, err.Error())
	case trouble != "":
		r.problem("lease", name, where, trouble)
	default:
		r.row("lease", name, where, "ok")
	}
}

func checkCluster(ctx context.Context, r *report, cfg *config.Config, of state.Cluster) {
	api, served, err := connect(ctx, cfg)
	if err != nil {
		r.problem("cluster", "-", "", err.Error())
		return
	}
	name, result := cfg.ClusterName, "ok"
	if name == "" {
		if name = api.ClusterName(ctx, slog.New(slog.DiscardHandler)); name == api.Host() {
			result = "ok, named by its host: set KW_CLUSTER_NAME"
		}
	}
	r.row("cluster", name, api.Host(), result)
	if cfg.StateDir != "" {
		if err := of.Admits(state.Cluster{Name: name, UID: api.ClusterUID(ctx)}); err != nil {
			r.problem("state", cfg.StateDir, "", "it "+err.Error())
		}
	}
	checkLease(ctx, r, cfg, api)
	p := plan.Of(cfg, served, nil)
	for _, err := range p.Errs() {
		r.problem("resource", "-", "", err.Error())
	}
	for _, m := range p.Awaited() {
		text := "not served yet, it would be waited for"
		if m.Near != "" {
			text += " (similar: " + m.Near + ")"
		}
		r.row("resource", m.Name, "", text)
	}
	places := p.Sorted()
	missing, err := api.MissingVerbs(ctx, places)
	if err != nil {
		r.problem("permissions", "-", "", err.Error())
		missing = make([][]string, len(places))
	}
	for i, place := range places {
		entry := p.Places[place]
		name := place.String() + " " + entry.Resource.Version
		where := "all namespaces"
		switch {
		case place.Namespace != "":
			where = "namespace " + place.Namespace
		case !entry.Resource.Namespaced:
			where = "cluster"
		}
		if len(missing[i]) > 0 {
			r.problem("resource", name, where, fmt.Sprintf("may not %s: add the rule %s",
				strings.Join(missing[i], " and "), client.Rule(place.GroupResource, client.Verbs...)))
			continue
		}
		if err := tryList(ctx, cfg, api, place, entry); err != nil {
			r.problem("resource", name, where, err.Error())
			continue
		}
		r.row("resource", name, where, "ok")
	}
}

// sortedKeys lists a map's keys in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
