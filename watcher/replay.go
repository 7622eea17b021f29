package watcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/deadletter"
)

func replayCommand(name string, load func(*cobra.Command) (*config.Config, error), functions map[string]Function) *cobra.Command {
	var step int
	cmd := &cobra.Command{
		Use: "replay FILE", Short: "Send the events of a dead letter again, from the step that failed",
		Long: "Sends the events of a dead letter's file along the configured chain, each from the step that\n" +
			"failed, one object's in their order. No cluster is asked and no state is opened, so it may be\n" +
			"used beside a running watcher. The file is not changed; what is given up again goes to the\n" +
			"configured dead letter. The exit code is 0 if every event was delivered or stopped by a step.",
		Example: "  mv dead-letter.jsonl replay.jsonl   # the watcher goes on with a new file\n  " +
			name + " replay replay.jsonl && rm replay.jsonl",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("replay: want one FILE (see replay --help)")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("step") && step < 1 {
				return errors.New("--step: bad value: want 1 for the first step, or more")
			}
			return replay(cmd.Context(), cfg, functions, args[0], step, cmd.OutOrStdout())
		},
	}
	cmd.Flags().IntVar(&step, "step", 0, "the step to begin at, whatever the events say; 1 is the first")
	return cmd
}

// replay sends what a file holds.
func replay(ctx context.Context, cfg *config.Config, functions map[string]Function, path string, step int, out io.Writer) error {
	log := logger(os.Stderr, cfg.LogLevel)
	slog.SetDefault(logger(os.Stderr, slog.LevelError)) // see run
	ch, _, err := assemble(cfg, functions, log, true)   // what is not sent is still in the file
	if err != nil {
		return err
	}
	file, err := deadletter.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	letters, err := openDeadLetter(cfg, ch)
	if err != nil {
		return err
	}
	defer letters.close()
	all, err := readLetters(file, ch, step, log)
	if err != nil {
		return err
	}
	log.Info("replaying", "file", path, "events", len(all), "chain", ch.Steps(), "deadLetter", letters.name())
	return sendAgain(ctx, ch, all, path, log, out)
}

// readLetters reads the whole file before anything is sent, so that a mistake
// in it sends no half of it.
func readLetters(file *deadletter.Reader, ch *chain.Chain, step int, log *slog.Logger) ([]*letter, error) {
	var all []*letter
	said := map[string]int{}
	err := file.Each(func(at deadletter.Letter, e event.Event) error {
		place, _ := strconv.Atoi(e.Extensions[chain.FailedStep])
		dest := e.Extensions[chain.ErrorDest]
		if step > 0 {
			place, dest = step, ""
		} else if place == 0 && dest == "" {
			place = 1 // it says nothing, as an event that was recorded
		}
		begin, moved, ok := ch.StepOf(place, dest)
		switch {
		case !ok && step > 0:
			return fmt.Errorf("--step %d: the chain has fewer steps", step)
		case !ok:
			return fmt.Errorf("it failed at step %d (%.80q), which the configured chain does not have: "+
				"configure the chain that it came from, or say with --step where to begin", place, dest)
		case moved && said[dest] != begin+1:
			said[dest] = begin + 1
			log.Warn("the chain is another one than that of the dead letter", "failed", dest, "at", place, "begin", ch.Steps()[begin])
		}
		all = append(all, &letter{file: file, at: at, lane: e.Subject, step: begin})
		return nil
	}, func(line int) { log.Warn("line is cut short and passed over", "line", line) })
	return all, err
}

// tell is how often a replay says how far it is.
const tell = 10 * time.Second

func sendAgain(ctx context.Context, ch *chain.Chain, all []*letter, path string, log *slog.Logger, out io.Writer) error {
	var left atomic.Int64
	left.Store(int64(len(all)))
	done := make(chan struct{})
	if len(all) == 0 {
		close(done)
	}
	for _, l := range all {
		l.done = func() {
			if left.Add(-1) == 0 {
				close(done)
			}
		}
		ch.PushAt(l, l.step)
	}
	delivery, breakOff := context.WithCancel(context.WithoutCancel(ctx))
	defer breakOff()
	ended := make(chan int, 1)
	go func() { ended <- ch.Run(delivery) }()
	told := time.NewTicker(tell)
	defer told.Stop()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-ctx.Done():
			waiting = false
		case <-told.C:
			log.Info("replaying", "left", left.Load())
		}
	}
	grace := time.AfterFunc(stopTimeout, breakOff)
	defer grace.Stop()
	ch.Close()
	unsent := <-ended
	delivered, givenUp := ch.Counts()
	if _, err := fmt.Fprintf(out, "%d of %d events delivered or stopped by a step, %d given up again, %d not sent\n",
		delivered, len(all), givenUp, unsent); err != nil {
		return err
	}
	switch {
	case unsent > 0:
		return fmt.Errorf("replay: stopped before %d of %d events were sent; they are still in %s", unsent, len(all), path)
	case givenUp > 0:
		return fmt.Errorf("replay: %d of %d events were given up again; they are still in %s", givenUp, len(all), path)
	}
	return nil
}

// letter is an event of the file on its way.
type letter struct {
	file *deadletter.Reader
	at   deadletter.Letter
	lane string
	step int
	done func()
	kept []byte
}

// Lane is the subject.
func (l *letter) Lane() string { return l.lane }

// Name gives the event's id and subject.
func (l *letter) Name() (id, subject string) {
	e, err := l.Event()
	if err != nil {
		return "", l.lane
	}
	return e.ID, e.Subject
}

// Event reads the event, without what the dead letter said of it.
func (l *letter) Event() (*event.Event, error) {
	e, err := l.file.Event(l.at)
	for _, name := range []string{chain.ErrorDest, chain.ErrorCode, chain.ErrorData, chain.FailedStep, chain.FailedTries} {
		delete(e.Extensions, name)
	}
	return &e, err
}

// Keep keeps the input of a later step.
func (l *letter) Keep(input []byte) { l.kept = input }

// Kept gives it back.
func (l *letter) Kept() ([]byte, error) { return l.kept, nil }

// Done is the end of it.
func (l *letter) Done() { l.done() }
