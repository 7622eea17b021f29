package watcher

import "sync"

// initialSync counts the sources of the start whose first list is not through.
type initialSync struct {
	ready func() // called once, when there are none left

	mu    sync.Mutex
	armed bool
	left  map[*running]bool
}

func (p *initialSync) add(r *running) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == nil {
		p.left = map[*running]bool{}
	}
	p.left[r] = true
}

func (p *initialSync) done(r *running) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.left, r)
	p.check()
}

// arm is called when all sources of the start are added.
func (p *initialSync) arm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = true
	p.check()
}

// check: the caller holds mu.
func (p *initialSync) check() {
	if p.armed && len(p.left) == 0 && p.ready != nil {
		p.ready()
		p.ready = nil
	}
}
