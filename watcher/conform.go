package watcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/conform"
	"github.com/kwatchman/kwatchman/watcher/chain"
)

func conformCommand(name string) *cobra.Command {
	var continues, stops, further string
	var strict bool
	timeout := conform.DefaultTimeout
	cmd := &cobra.Command{
		Use: "conform URL", Short: "Check that an endpoint keeps the handler protocol",
		Long: "Sends some hundred requests to an endpoint, valid events and what is none, and judges its\n" +
			"answers by the handler protocol (docs/handlers.md). Prints a table and what is wrong; the\n" +
			"exit code is 1 if the contract is broken, with --strict also for advice. The endpoint does\n" +
			"for the samples, which are Deployments and Roles that exist nowhere, what it does for\n" +
			"changes: point a handler that posts elsewhere at a place for tests. No configuration is read.",
		Example: "  " + name + " conform http://localhost:8080\n" +
			"  " + name + " conform --stops delete.json http://localhost:8080",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("conform: want one URL (see conform --help)")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := chain.ParseTarget(args[0]); err != nil {
				return fmt.Errorf("conform: the argument %w", err)
			}
			if timeout <= 0 {
				return errors.New("--timeout: bad value: want a duration such as 15s")
			}
			o := conform.Options{URL: args[0], Timeout: timeout, Progress: progress(cmd.ErrOrStderr())}
			for _, f := range []struct {
				path string
				take func(event.Event)
			}{
				{continues, func(e event.Event) { o.Continues = &e }},
				{stops, func(e event.Event) { o.Stops = &e }},
				{further, func(e event.Event) { o.Events = append(o.Events, e) }},
			} {
				if f.path == "" {
					continue
				}
				if err := readEvents(f.path, cmd.InOrStdin(), logger(os.Stderr, slog.LevelInfo), func(e event.Event) error {
					f.take(e)
					return nil
				}); err != nil {
					return fmt.Errorf("conform: %w", err)
				}
			}
			return checkConformance(cmd.Context(), o, strict, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&continues, "continues", "", "file with an event at which the endpoint has to continue")
	cmd.Flags().StringVar(&stops, "stops", "", "file with an event at which the endpoint has to stop")
	cmd.Flags().StringVar(&further, "event", "", "file with further events to send")
	cmd.Flags().BoolVar(&strict, "strict", false, "advice fails too")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "time for one answer")
	return cmd
}

// progress says on a terminal what is being done.
func progress(w io.Writer) func(string) {
	if !isTerminal(w) {
		return nil
	}
	return func(part string) { _, _ = fmt.Fprintf(w, "checking %s …\n", part) }
}

func checkConformance(ctx context.Context, o conform.Options, strict bool, out io.Writer) error {
	began := time.Now()
	results, err := conform.Run(ctx, o)
	if err != nil {
		return fmt.Errorf("conform: endpoint: %w", err)
	}
	if err := conform.Print(out, results); err != nil {
		return err
	}
	counts := map[conform.Level]int{}
	answers := 0
	for _, r := range results {
		answers += r.Cases
		for _, f := range r.Findings {
			counts[f.Level]++
		}
	}
	_, _ = fmt.Fprintf(out, "\n%d answers judged in %s: %s, %s\n", answers, time.Since(began).Round(10*time.Millisecond),
		several(counts[conform.Breach], "breach of the contract", "breaches of the contract"),
		several(counts[conform.Advice], "piece of advice", "pieces of advice"))
	switch worst := conform.Worst(results); {
	case worst == conform.Breach:
		return errors.New("conform: the endpoint breaks the contract")
	case worst == conform.Advice && strict:
		return errors.New("conform: the endpoint could do better, and --strict is set")
	}
	return nil
}

// several is a number with its noun.
func several(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
