package watcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/deadletter"
)

func replayCommand(name string, load func(*cobra.Command) (*config.Config, error), functions map[string]Function) *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use: "replay FILE", Short: "Send the events of a dead letter again, from the step that failed",
		Long: "Sends the events of a dead letter's file along the configured chain, each from the step that\n" +
			"failed, one object's in their order. No cluster is asked and no state is opened, so it may be\n" +
			"used beside a running watcher. The file is not changed; what is given up again goes to the\n" +
			"configured dead letter, unless that is the file itself. The exit code is 0 if every line was\n" +
			"an event and every event was delivered or stopped by a step.",
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
			r := &replay{path: args[0], log: logger(os.Stderr, cfg.LogLevel), out: cmd.OutOrStdout()}
			if cmd.Flags().Changed("step") {
				if r.step, err = strconv.Atoi(from); err != nil || r.step < 1 {
					return errors.New("--step: bad value: want 1 for the first step, or more")
				}
			}
			return r.run(cmd.Context(), cfg, functions)
		},
	}
	cmd.Flags().StringVar(&from, "step", "", "the step to begin at, whatever the events say; 1 is the first")
	return cmd
}

// replay sends what a file holds.
type replay struct {
	path string
	step int // to begin at; 0: what each event says
	log  *slog.Logger
	out  io.Writer

	chain  *chain.Chain
	again  string // the dead letter for what is given up once more; empty: none, or the file itself
	all    []*letter
	broken int // lines that are no events
}

func (r *replay) run(ctx context.Context, cfg *config.Config, functions map[string]Function) (err error) {
	slog.SetDefault(logger(os.Stderr, slog.LevelError)) // see run
	tracer, err := newTracer(r.log)
	if err != nil {
		return err
	}
	defer tracer.Close()
	r.chain, _, err = assemble(cfg, functions, r.log, nil, tracer, true) // what is not sent is still in the file
	if err != nil {
		return err
	}
	file, err := deadletter.Open(r.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	if box := cfg.DeadLetterFile(); box != "" && sameFile(box, r.path) {
		r.chain.SetDeadLetter(itself(r.path))
	} else {
		letters, err := openDeadLetter(cfg, r.chain)
		if err != nil {
			return err
		}
		defer letters.close()
		r.again = letters.name()
	}
	if err := r.read(file); err != nil {
		return err
	}
	r.log.Info("replaying", "file", r.path, "events", len(r.all), "chain", r.chain.Steps(), "deadLetter", r.again)
	return r.send(ctx)
}

// itself is the dead letter of a replay whose file it is already: what is given
// up again is still there.
type itself string

func (i itself) Name() string                            { return string(i) }
func (i itself) Put(context.Context, *event.Event) error { return nil }

// read reads the whole file before anything is sent, so that a mistake in it
// sends no half of it.
func (r *replay) read(file *deadletter.Reader) error {
	said := map[string]int{}
	return file.Each(func(at deadletter.Letter, e event.Event) error {
		place, _ := strconv.Atoi(e.Extensions[chain.FailedStep])
		dest := e.Extensions[chain.ErrorDest]
		if r.step > 0 {
			place, dest = r.step, ""
		} else if place == 0 && dest == "" {
			place = 1 // it says nothing, as an event that was recorded
		}
		begin, moved, ok := r.chain.StepOf(place, dest)
		switch {
		case !ok && r.step > 0:
			return fmt.Errorf("--step %d: the chain has fewer steps", r.step)
		case !ok:
			return fmt.Errorf("it failed at step %d (%.80q), which the configured chain does not have: "+
				"configure the chain that it came from, or say with --step where to begin", place, dest)
		case moved && said[dest] != begin+1:
			said[dest] = begin + 1
			r.log.Warn("the chain is another one than that of the dead letter", "failed", dest, "at", place, "begin", r.chain.Steps()[begin])
		}
		r.all = append(r.all, &letter{file: file, at: at, lane: e.Subject, step: begin})
		return nil
	}, func(line int) {
		r.broken++
		r.log.Warn("line is no event, as a crash or a full disk leaves one behind; it is passed over", "line", line)
	})
}

// tell is how often a replay says how far it is.
const tell = 10 * time.Second

// send delivers until all is done or ctx ends.
func (r *replay) send(ctx context.Context) error {
	var left atomic.Int64
	left.Store(int64(len(r.all)))
	done := make(chan struct{})
	if len(r.all) == 0 {
		close(done)
	}
	for _, l := range r.all {
		l.done = func() {
			if left.Add(-1) == 0 {
				close(done)
			}
		}
		r.chain.PushAt(l, l.step)
	}
	delivery, breakOff := context.WithCancel(context.WithoutCancel(ctx))
	defer breakOff()
	ended := make(chan int, 1)
	go func() { ended <- r.chain.Run(delivery) }()
	told := time.NewTicker(tell)
	defer told.Stop()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-ctx.Done():
			r.log.Info("stopping, what is in flight comes to its end; again to end at once", "left", left.Load())
			waiting = false
		case <-told.C:
			r.log.Info("replaying", "left", left.Load())
		}
	}
	grace := time.AfterFunc(stopTimeout, breakOff)
	defer grace.Stop()
	r.chain.Close()
	return r.report(<-ended)
}

// report says what became of the events.
func (r *replay) report(unsent int) error {
	delivered, givenUp := r.chain.Counts()
	text := fmt.Sprintf("%d of %d events delivered or stopped by a step, %d given up again, %d not delivered", delivered, len(r.all), givenUp, unsent)
	if r.broken > 0 {
		text += fmt.Sprintf(", and lines that are no events: %d", r.broken)
	}
	if _, err := fmt.Fprintln(r.out, text); err != nil {
		return err
	}
	switch {
	case unsent > 0:
		return fmt.Errorf("replay: stopped before %d of %d events were delivered; they are still in %s", unsent, len(r.all), r.path)
	case givenUp > 0 && r.again != "":
		return fmt.Errorf("replay: %d of %d events were given up again; they are in %s now", givenUp, len(r.all), r.again)
	case givenUp > 0:
		return fmt.Errorf("replay: %d of %d events were given up again; they are still in %s", givenUp, len(r.all), r.path)
	case r.broken > 0:
		return fmt.Errorf("replay: lines of %s that are no events: %d; the log names them", r.path, r.broken)
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

	keptStep   int
	keptBefore string
	kept       []byte
	mu         sync.Mutex // protects what is kept
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

// Keep keeps the input of a later step, in memory.
func (l *letter) Keep(step int, before string, input []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keptStep, l.keptBefore, l.kept = step, before, input
}

// KeptStep is the step whose input is kept.
func (l *letter) KeptStep() (step int, before string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keptStep, l.keptBefore, l.kept != nil
}

// Kept gives it back.
func (l *letter) Kept() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept, nil
}

// Done is the end of it.
func (l *letter) Done() { l.done() }
