package watcher

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/metrics"
)

// B10: a file that comes back as it was, after it was away or after an edit that was
// refused, restarts nothing.
func TestAFileThatComesBackUnchangedRestartsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	write("a = 1")
	synctest.Test(t, func(t *testing.T) {
		p := &process{
			cfg: &config.Config{FileSum: config.FileSum(path)}, metrics: metrics.New("test"),
			log: slog.New(slog.DiscardHandler), changed: make(chan struct{}, 1),
		}
		ctx, cancel := context.WithCancel(t.Context())
		var looking sync.WaitGroup
		defer func() {
			cancel()
			looking.Wait()
		}()
		looking.Go(func() {
			p.lookAtFile(ctx, path, p.cfg.FileSum)
		})
		asked := func() bool {
			time.Sleep(5 * time.Second)
			select {
			case <-p.changed:
				return true
			default:
				return false
			}
		}
		require.False(t, asked(), "nothing has changed")
		require.NoError(t, os.Remove(path))
		require.True(t, asked(), "it is gone")
		p.refuse(errors.New("no such file"))
		write("a = 1")
		require.False(t, asked(), "it is as it was")
		require.False(t, p.isRefused())
		write("a = ]")
		require.True(t, asked(), "it is another one")
		p.refuse(errors.New("syntax error"))
		write("a = 1")
		require.False(t, asked(), "the edit was taken back")
		write("a = ]")
		require.True(t, asked(), "and made once more")
		p.refuse(errors.New("syntax error"))
		require.False(t, asked())
		time.Sleep(askAgainAfter)
		require.True(t, asked(), "what is refused is tried again")
	})
}

// An edit that is taken back while the API server is asked about it is taken back.
func TestAnEditThatIsTakenBackWhileItIsPreparedIsTakenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	write("a = 1")
	synctest.Test(t, func(t *testing.T) {
		p := &process{
			cfg: &config.Config{FileSum: config.FileSum(path)}, metrics: metrics.New("test"),
			log: slog.New(slog.DiscardHandler), changed: make(chan struct{}, 1),
		}
		ctx, cancel := context.WithCancel(t.Context())
		var looking sync.WaitGroup
		defer func() {
			cancel()
			looking.Wait()
		}()
		looking.Go(func() { p.lookAtFile(ctx, path, p.cfg.FileSum) })
		write("a = 2")
		<-p.changed // it is read, and takes some seconds to be prepared
		prepared := config.FileSum(path)
		time.Sleep(time.Second)
		write("a = 1")
		time.Sleep(5 * time.Second)
		p.take(&config.Config{FileSum: prepared})
		time.Sleep(5 * time.Second)
		select {
		case <-p.changed:
		default:
			t.Fatal("nobody looks at the file again")
		}
	})
}
