package processors

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const much = 10

func TestThereIsOneProcessorWhileLittleWaits(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("there is one processor at all times here")
	}
	t.Setenv("GOMAXPROCS", "")
	was := runtime.GOMAXPROCS(2)
	defer runtime.GOMAXPROCS(was)
	synctest.Test(t, func(t *testing.T) {
		var waiting atomic.Int64
		p := New(Config{Most: 2, Much: much, Waiting: func() int { return int(waiting.Load()) }})
		has := func(want int, why string) {
			t.Helper()
			require.Equal(t, want, runtime.GOMAXPROCS(0), why)
		}
		has(2, "a start has much to do")
		p.Calm()
		has(1, "it is over")
		waiting.Store(much - 1)
		p.Busy()
		has(1, "little waits")
		waiting.Store(much)
		p.Busy()
		p.Busy()
		has(2, "much does")
		time.Sleep(10 * calmAfter)
		has(2, "and still does")
		waiting.Store(0)
		time.Sleep(2 * calmAfter)
		has(1, "no more")
		p.End()
		has(2, "a stop has little time")
		waiting.Store(much)
		p.Busy()
		p.Calm()
	})
}

func TestGOMAXPROCSOfTheEnvironmentStays(t *testing.T) {
	t.Setenv("GOMAXPROCS", "3")
	was := runtime.GOMAXPROCS(3)
	defer runtime.GOMAXPROCS(was)
	p := New(Config{Most: 2, Much: much, Waiting: func() int { return much }})
	p.Calm()
	p.Busy()
	p.End()
	require.Equal(t, 3, runtime.GOMAXPROCS(0))
}
