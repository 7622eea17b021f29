package chain

// Leave begins a stop as Close does, but leaves to another chain, by Resume, all
// that has not begun.
func (c *Chain) Leave() {
	c.leaving.Store(true)
	c.queue.shutDown()
}

// Resume queues, before Run, what a chain whose Run has ended has left. An item
// between two steps goes on there, unless the steps before it are others now or
// its input is gone.
func (c *Chain) Resume(of *Chain) {
	for _, d := range of.queue.left() {
		if d.step > d.first && !d.kept || !c.begins(of.steps[:d.step]) || d.dead != nil && !c.begins(of.steps[:d.step+1]) {
			if d.kept {
				d.item.Keep(nil)
			}
			*d = delivery{item: d.item, since: d.since}
		}
		c.queue.add(d)
	}
}

// begins tells whether the chain begins with these steps.
func (c *Chain) begins(steps []*step) bool {
	if len(steps) > len(c.steps) {
		return false
	}
	for i, s := range steps {
		if s.url != c.steps[i].url || s.dest != c.steps[i].dest {
			return false
		}
	}
	return true
}
