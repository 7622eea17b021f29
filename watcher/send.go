package watcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/conform"
	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/config"
)

func sendCommand(name string, load func(*cobra.Command) (*config.Config, error), functions map[string]Function) *cobra.Command {
	var path, action string
	cmd := &cobra.Command{
		Use: "send [URL …]", Short: "Send a sample or recorded event along a chain, and print each step's answer",
		Long: "Sends an event to endpoints, one after the other as a chain, or along the configured chain if\n" +
			"none is named, and prints what each step answers. The event is a sample, the change of a\n" +
			"Deployment that exists nowhere, or those of a file. Each step gets one attempt. The steps do\n" +
			"what they do for a change: slack posts. The exit code is 1 if a step fails.",
		Example: "  " + name + " send http://localhost:8080\n" +
			"  " + name + " send --action delete diff log http://localhost:8080\n" +
			"  " + name + " send --event changes.jsonl",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				_ = os.Unsetenv("K_SINK") // who names endpoints means them
				if err := cmd.Flags().Set("handlers", strings.Join(args, ",")); err != nil {
					return err
				}
			}
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			sample, err := event.ParseAction(action)
			if err != nil {
				return fmt.Errorf("--action: %w", err)
			}
			ch, log, err := toWalk(cfg, functions)
			if err != nil {
				return err
			}
			defer ch.Release()
			s := &sender{chain: ch, out: cmd.OutOrStdout()}
			each := func(e event.Event) error { return s.send(cmd.Context(), &e) }
			if path == "" {
				err = each(conform.Sample(sample))
			} else {
				err = readEvents(path, cmd.InOrStdin(), log, each)
			}
			if err != nil {
				return fmt.Errorf("send: %w", err)
			}
			return s.end()
		},
	}
	cmd.Flags().StringVar(&path, "event", "", "file with the events to send, as --record writes them; - is stdin")
	cmd.Flags().StringVar(&action, "action", string(event.Update), "action of the sample: Add, Update or Delete")
	return cmd
}

// toWalk makes the chain for who walks it by hand, quiet but for warnings; the
// caller releases it.
func toWalk(cfg *config.Config, functions map[string]Function) (*chain.Chain, *slog.Logger, error) {
	log := logger(os.Stderr, max(cfg.LogLevel.Level(), slog.LevelWarn))
	slog.SetDefault(logger(os.Stderr, slog.LevelError)) // see run
	ch, _, err := assemble(cfg, functions, log, nil, nil, true)
	return ch, log, err
}

// sender sends events and prints what becomes of them.
type sender struct {
	chain        *chain.Chain
	out          io.Writer
	sent, failed int
}

func (s *sender) send(ctx context.Context, e *event.Event) error {
	if err := ctx.Err(); err != nil {
		return errors.New("broken off")
	}
	p := &page{out: s.out}
	p.title(s.sent, e)
	s.sent++
	before := e
	if !s.chain.Walk(ctx, e, 0, true, func(o chain.Outcome) {
		p.step(o.Step, answered(o, before))
		before = o.Next
	}) {
		s.failed++
	}
	return p.err
}

func (s *sender) end() error {
	switch {
	case s.failed > 0 && s.sent == 1:
		return errors.New("send: the event was not delivered")
	case s.failed > 0:
		return fmt.Errorf("send: %d of %d events were not delivered", s.failed, s.sent)
	}
	return nil
}

// answered says what a step's answer means.
func answered(o chain.Outcome, before *event.Event) string {
	took := " in " + o.Took.Round(10*time.Microsecond).String()
	switch {
	case o.Err != nil && o.Pause > 0:
		return fmt.Sprintf("fails%s: %s (the watcher would try again after %s)", took, o.Err, o.Pause)
	case o.Err != nil && o.Permanent:
		return fmt.Sprintf("fails%s: %s (the watcher would give the change up)", took, o.Err)
	case o.Err != nil:
		return fmt.Sprintf("fails%s: %s (the watcher would try again)", took, o.Err)
	case o.Sink:
		return "accepts" + took
	case o.Next == nil && o.Reason == "":
		return "stops" + took + ", without a reason"
	case o.Next == nil:
		return "stops" + took + ": " + o.Reason
	}
	return "continues" + took + news(before, o.Next)
}

// page prints events with a line for each step.
type page struct {
	out io.Writer
	err error
}

func (p *page) print(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format, args...)
	}
}

func (p *page) title(before int, e *event.Event) {
	if before > 0 {
		p.print("\n")
	}
	p.print("%s (%s)\n", e.Title(), e.ID)
}

func (p *page) step(name, what string) { p.print("  %s: %s\n", name, what) }

// text prints what a step would do, indented.
func (p *page) text(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		p.print("      %s\n", strings.TrimRight(line, "\n"))
	}
}

// news says what a step added to an event.
func news(before, after *event.Event) string {
	if before == nil || after == nil {
		return ""
	}
	if after.Diff != nil && (before.Diff == nil || before.Diff.Summary != after.Diff.Summary) {
		return ": " + after.Diff.Summary
	}
	if text := after.Payload.Text(); text != before.Payload.Text() {
		return fmt.Sprintf(" with a payload of %d bytes (%s)", len(text), after.Payload.ContentType)
	}
	return ""
}
