package watcher

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestThereIsOneProcessorWhileNothingWaits(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("there is one processor at all times here")
	}
	t.Setenv("GOMAXPROCS", "")
	was := runtime.GOMAXPROCS(2)
	defer runtime.GOMAXPROCS(was)
	synctest.Test(t, func(t *testing.T) {
		var waiting atomic.Int64
		p := newProcessors(func() int { return int(waiting.Load()) })
		has := func(want int, why string) {
			t.Helper()
			require.Equal(t, want, runtime.GOMAXPROCS(0), why)
		}
		has(2, "a start has much to do")
		p.calm()
		has(1, "it is over")
		waiting.Store(muchWaiting - 1)
		p.busy()
		has(1, "a few changes need no other")
		waiting.Store(muchWaiting)
		p.busy()
		p.busy()
		has(2, "changes wait")
		time.Sleep(10 * calmAfter)
		has(2, "and still do")
		waiting.Store(0)
		time.Sleep(2 * calmAfter)
		has(1, "no more")
		p.end()
		has(2, "a stop has little time")
		waiting.Store(muchWaiting)
		p.busy()
		p.calm()
	})
}

func TestGOMAXPROCSOfTheEnvironmentStays(t *testing.T) {
	t.Setenv("GOMAXPROCS", os.Getenv("GOMAXPROCS")+"3")
	was := runtime.GOMAXPROCS(3)
	defer runtime.GOMAXPROCS(was)
	p := newProcessors(func() int { return muchWaiting })
	p.calm()
	p.busy()
	p.end()
	require.Equal(t, 3, runtime.GOMAXPROCS(0))
}
