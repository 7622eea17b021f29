package chain

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// fingerprints identify, for each step, the steps in front of it: what they made
// of a change is kept under that name, possibly on a disk, and goes on only in a
// chain that begins with the same. URLs are secrets, so it is their hash.
//
// A step counts as the same if its URL and its name are: what else its function
// is configured with is not looked at. After a change of that, an item between two
// steps goes on with what the step made of it before.
func fingerprints(steps []*step) []string {
	out := make([]string, len(steps))
	var sum [sha256.Size]byte
	for i, s := range steps {
		out[i] = hex.EncodeToString(sum[:12])
		sum = sha256.Sum256([]byte(string(sum[:]) + s.url + "\n" + s.dest))
	}
	return out
}

// restore lets a delivery that is worked on for the first time go on at the step
// that an earlier chain or process came to. Where this chain does not begin with
// the same steps, what is kept is forgotten.
func (c *Chain) restore(d *delivery) {
	if d.begun {
		return
	}
	d.begun = true
	step, before, ok := d.item.KeptStep()
	switch {
	case !ok:
	case step > d.first && step < len(c.steps) && before == c.before[step]:
		d.step, d.kept = step, true
	default:
		d.forget()
	}
}

// load gives the input of the step that is next: what is kept of it, else the
// item's event.
func (c *Chain) load(d *delivery) (*event.Event, error) {
	if d.kept {
		kept, err := d.item.Kept()
		if err != nil {
			return nil, err
		}
		e, err := unpack(kept, c.cfg.Decompress)
		if err != nil {
			return nil, err
		}
		c.beginTrace(d, e)
		return c.extended(e), nil // this process may lead in another epoch
	}
	e, err := d.item.Event()
	if err != nil {
		return nil, err
	}
	e = c.extended(e)
	c.beginTrace(d, e)
	return d.trace.Carry(e), nil
}

// beginTrace begins the trace of a change when its first input is loaded; e is
// that input. The trace of a change that goes on between two steps is derived from
// the event that it began with, so that it is the same as before.
func (c *Chain) beginTrace(d *delivery, e *event.Event) {
	if d.trace != nil || !c.cfg.Tracer.On() {
		return
	}
	if d.kept {
		if first, err := d.item.Event(); err == nil {
			e = c.extended(first)
		}
	}
	d.trace = c.cfg.Tracer.Begin(e, d.since)
}

// keep has the item keep the input of the step that is next, once. The input of
// the first step is the item's own event, which is never kept.
func (c *Chain) keep(d *delivery, input *event.Event) error {
	if d.kept || d.step == d.first {
		return nil
	}
	packed, err := pack(input, c.cfg.Compress)
	if err != nil {
		return err
	}
	d.item.Keep(d.step, c.before[d.step], packed)
	d.kept = true
	return nil
}

// slow is how long an attempt may take before its input is kept meanwhile.
//
// A crash repeats the steps since what was last kept. Keeping each input at once
// would cost a write to the disk for each step of each change; with this delay it
// costs one where somebody waits anyway, and a crash repeats, besides the step
// under way, only what was answered in its last 100 ms.
const slow = 100 * time.Millisecond

// slowKeeper keeps the input of one attempt if that takes long. A nil slowKeeper
// keeps nothing.
type slowKeeper struct {
	timer *time.Timer
	ended sync.WaitGroup // the timer's function
	kept  bool           // by that function; read after ended
}

// keepIfSlow starts the timer for an attempt with t's event, which nobody changes
// until stop has been called.
func (c *Chain) keepIfSlow(t *turn) *slowKeeper {
	if !c.cfg.Durable || t.kept || t.step == t.first {
		return nil
	}
	k := &slowKeeper{}
	item, step, before, input := t.item, t.step, c.before[t.step], t.event
	k.ended.Add(1)
	k.timer = time.AfterFunc(slow, func() {
		defer k.ended.Done()
		packed, err := pack(input, c.cfg.Compress)
		if err != nil { // no step takes it either, and the attempt says why
			return
		}
		item.Keep(step, before, packed)
		k.kept = true
	})
	return k
}

// stop ends the timer, waits for its function, and tells whether the input is
// kept.
func (k *slowKeeper) stop() bool {
	if k == nil {
		return false
	}
	if !k.timer.Stop() {
		k.ended.Wait()
	}
	return k.kept
}
