package watcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/config"
)

func explainCommand(name string, load func(*cobra.Command) (*config.Config, error), functions map[string]Function) *cobra.Command {
	var remote, brief bool
	cmd := &cobra.Command{
		Use: "explain FILE", Short: "Say for recorded events at which step each stops and why, without sending anything",
		Long: "Walks the events of a file (- is stdin), a recording or a dead letter, through the configured\n" +
			"chain and prints what each step makes of each event, and at which step it stops and why.\n" +
			"Nothing is sent, run or written: built-in functions that would say what. Endpoints are not\n" +
			"called, an event passes them unchanged; with --remote they are, and do what they do.",
		Example: "  " + name + " --record changes.jsonl       # as long as you like\n" +
			"  DIFF_IGNORE=spec.replicas " + name + " explain --brief changes.jsonl",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("explain: want one FILE (see explain --help)")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			ch, log, err := toWalk(cfg, functions)
			if err != nil {
				return err
			}
			defer ch.Release()
			x := &explainer{chain: ch, page: page{out: cmd.OutOrStdout()}, remote: remote, brief: brief, ends: map[end]int{}}
			if err := readEvents(args[0], cmd.InOrStdin(), log, func(e event.Event) error { return x.explain(cmd.Context(), &e) }); err != nil {
				return fmt.Errorf("explain: %w", err)
			}
			return x.sum()
		},
	}
	cmd.Flags().BoolVar(&remote, "remote", false, "call endpoints too")
	cmd.Flags().BoolVar(&brief, "brief", false, "a line for each event")
	return cmd
}

// explainer says what becomes of events.
type explainer struct {
	page

	chain         *chain.Chain
	remote, brief bool
	events        int
	ends          map[end]int
}

// end is where an event ends, and why.
type end struct{ step, what string }

func (x *explainer) explain(ctx context.Context, e *event.Event) error {
	if ctx.Err() != nil {
		return errors.New("broken off")
	}
	from, err := x.begin(e)
	if err != nil {
		return err
	}
	if !x.brief {
		x.title(x.events, e)
	}
	x.events++
	var would string
	ctx = event.Rehearse(ctx, func(text string) { would += text })
	last, before := end{what: "reached the end"}, e
	x.chain.Walk(ctx, e, from, x.remote, func(o chain.Outcome) {
		if !x.brief {
			x.outcome(o, before, would)
		}
		if o.Err != nil || o.Next == nil {
			last = end{o.Step, ended(o)}
		}
		would, before = "", o.Next
	})
	if x.brief {
		x.print("%s: %s\n", e.Title(), last)
	}
	x.ends[last]++
	return x.err
}

// begin is the step that an event of a dead letter failed at.
func (x *explainer) begin(e *event.Event) (int, error) {
	place, _ := strconv.Atoi(e.Extensions[chain.FailedStep])
	if place == 0 {
		return 0, nil
	}
	from, _, ok := x.chain.StepOf(place, e.Extensions[chain.ErrorDest])
	if !ok {
		return 0, fmt.Errorf("%s failed at step %d, which the configured chain does not have", e.ID, place)
	}
	return from, nil
}

func (x *explainer) outcome(o chain.Outcome, before *event.Event, would string) {
	switch {
	case o.Skipped:
		x.step(o.Step, "not called; --remote calls it")
		return
	case o.Err != nil || o.Next == nil:
		x.step(o.Step, ended(o))
	default:
		x.step(o.Step, "continues"+news(before, o.Next))
	}
	if would != "" {
		x.text("would " + would)
	}
}

// ended says why an event goes no further.
func ended(o chain.Outcome) string {
	switch {
	case o.Err != nil && o.Permanent:
		return "fails for good: " + o.Err.Error()
	case o.Err != nil:
		return "fails: " + o.Err.Error()
	case o.Sink:
		return "accepts"
	case o.Reason == "":
		return "stops without a reason"
	}
	return "stops: " + o.Reason
}

func (e end) String() string {
	if e.step == "" {
		return e.what
	}
	return e.step + " " + e.what
}

// sum counts where the events ended, the most first.
func (x *explainer) sum() error {
	ends := make([]end, 0, len(x.ends))
	for e := range x.ends {
		ends = append(ends, e)
	}
	slices.SortFunc(ends, func(a, b end) int {
		if n := x.ends[b] - x.ends[a]; n != 0 {
			return n
		}
		return strings.Compare(a.String(), b.String())
	})
	x.print("\n%s\n", several(x.events, "event", "events"))
	for _, e := range ends {
		x.print("%7d  %s\n", x.ends[e], e)
	}
	return x.err
}
