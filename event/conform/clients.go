package conform

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// concurrent is how many events are sent at once, twice what the watcher does
// by default.
const concurrent = 32

// concurrency sends events at once; each has to get the answer to itself.
func (s *suite) concurrency(ctx context.Context) {
	type reply struct {
		e   event.Event
		got answer
		err error
	}
	replies := make([]reply, concurrent)
	start := make(chan struct{})
	var sending sync.WaitGroup
	for i := range replies {
		replies[i].e = s.numbered(i)
		sending.Go(func() {
			<-start
			r := &replies[i]
			r.got, r.err = s.send(ctx, binary(r.e))
		})
	}
	close(start)
	sending.Wait()
	// What the answers mean was judged before; here they must not be mixed up.
	var apart suite
	took := make([]time.Duration, 0, concurrent)
	for i, r := range replies {
		s.clients.Cases++
		of := fmt.Sprintf("event %d of %d at once", i+1, concurrent)
		if r.err != nil {
			s.clients.add(Breach, of, "%v", r.err)
			continue
		}
		took = append(took, r.got.took)
		apart.judge(of, r.e, r.got)
	}
	for _, r := range []Result{apart.continues, apart.attributes, apart.data, apart.stops} {
		for _, f := range r.Findings {
			if f.Level == Breach || strings.HasPrefix(f.Text, "member serial") {
				s.clients.Findings = append(s.clients.Findings, Finding{Breach, f.Case, f.Text})
			}
		}
	}
	if len(took) > 0 {
		slices.Sort(took)
		s.clients.Note = fmt.Sprintf("%d at once: median %s, slowest %s", concurrent,
			took[len(took)/2].Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond))
	}
}

// numbered is the base event with a number everywhere.
func (s *suite) numbered(i int) event.Event {
	e := foreign(s.base)
	e.ID = fmt.Sprintf("00000000-0000-4000-8000-%012d.%d.%s", i, i, strings.ToLower(string(e.Action)))
	e.Name = fmt.Sprintf("%s-%d", e.Name, i)
	e.Subject += fmt.Sprint("-", i)
	e.PartitionKey = e.Subject
	e.Extra["serial"] = json.RawMessage(fmt.Sprint(i))
	return e
}
