package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// scenario is one thing that somebody does in a cluster. Its commands run in
// manifests/, in a namespace of its own that the corpus calls shop.
type scenario struct {
	name  string // of the file
	what  string // was done, in one line; empty: the commands of do say it
	given string // commands before, whose events are not kept
	do    string // the commands
	keep  []pick
}

// recording writes the events of scenarios into files.
type recording struct {
	events *recorder
	shell  *shell
	out    string
	pairs  int
	number int // of the scenario
}

func (r *recording) scenario(ctx context.Context, s scenario) error {
	r.number++
	namespace := fmt.Sprintf("shop-%04d", r.number)
	before := r.events.count()
	if err := r.shell.run(ctx, namespace, "kubectl create namespace "+namespace); err != nil {
		return err
	}
	for _, commands := range []string{s.given, s.do} {
		if commands == "" {
			continue
		}
		if err := r.events.settle(ctx, namespace); err != nil {
			return fmt.Errorf("wait for the controllers: %w", err)
		}
		before = r.events.count()
		nextSecond()
		if err := r.shell.run(ctx, namespace, commands); err != nil {
			return err
		}
	}
	kept := map[string]string{}
	for _, p := range s.keep {
		e, err := r.await(ctx, before, namespace, p)
		if err != nil {
			return err
		}
		if other, twice := kept[e.ID]; twice {
			return fmt.Errorf("%q and %q are one event", other, p.event)
		}
		kept[e.ID] = p.event
		pair := stable(e, namespace, r.events.names())
		if err := pair.write(r.out, s.file(p), s.comment(p)); err != nil {
			return err
		}
		r.pairs++
	}
	fmt.Println(s.name)
	return r.shell.run(ctx, "default", "kubectl delete namespace --wait=false --ignore-not-found "+namespace)
}

func (r *recording) await(ctx context.Context, before int, namespace string, p pick) (event.Event, error) {
	var found event.Event
	err := await(ctx, func() bool {
		for _, e := range r.events.since(before, namespace) {
			if p.matches(e) {
				found = e
				return true
			}
		}
		return false
	})
	if err != nil {
		return found, fmt.Errorf("no event is %q; there were:\n%s", p.event, list(r.events.since(before, namespace)))
	}
	return found, nil
}

func (s scenario) file(p pick) string {
	if p.file == "" {
		return s.name + ".txtar"
	}
	return s.name + "-" + p.file + ".txtar"
}

var namespaced = regexp.MustCompile(`"\$NAMESPACE([^"]*)"`)

func (s scenario) comment(p pick) string {
	comment := cmp.Or(s.what, namespaced.ReplaceAllString(s.do, "shop$1")) + "\n"
	if p.note != "" {
		comment += p.note + "\n"
	}
	return comment
}

// nextSecond waits until a second begins. What commands and controllers then
// write at once gets one time, as in every other recording.
func nextSecond() {
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
}

// list says which events there were, and what each of them changed.
func list(events []event.Event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%s %s/%s %s\n", e.Action, e.Kind, e.Name, strings.Join(changedPaths(e), " "))
	}
	return b.String()
}
