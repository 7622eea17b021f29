package watcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kwatchman/kwatchman/internal/unreached"
	"github.com/kwatchman/kwatchman/watcher/chain"
)

// readyTimeout bounds the one request of ready.
const readyTimeout = 10 * time.Second

// readyCommand is for images that hold nothing to make a request with: health
// checks of containers, and the chart's test.
func readyCommand(name string) *cobra.Command {
	return &cobra.Command{
		Use: "ready [URL]", Short: "Ask a running watcher whether it is ready",
		Long: "Asks a watcher, by default the one on this host, for /readyz: whether its first lists are done.\n" +
			"Prints the answer; the exit code is 1 unless it is ready. A URL with a path is asked as it is.",
		Example: "  " + name + " ready\n  " + name + " ready http://kwatchman.kwatchman:9090",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return errors.New("ready: want one URL at most (see ready --help)")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			at := "http://localhost:9090"
			if len(args) > 0 {
				at = args[0]
			}
			target, err := chain.ParseTarget(at)
			if err != nil {
				return fmt.Errorf("ready: the argument %w", err)
			}
			if strings.Trim(target.Path, "/") == "" {
				target.Path = "/readyz"
			}
			return askReady(cmd.Context(), target, cmd.OutOrStdout())
		},
	}
}

func askReady(ctx context.Context, target *url.URL, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return fmt.Errorf("ready: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ready: %s does not answer: %s", target.Host, unreached.Cause(err))
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 256))
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", cmp.Or(line, resp.Status))
	}
	_, err = fmt.Fprintln(w, cmp.Or(line, "ok"))
	return err
}
