package object

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// Vocabulary is what the manifests of one resource have in common, which is
// most of them: packed without it an object takes a third. It is learned from
// some of the first objects, and then stays as it is. Like the objects it holds
// nothing that must not leave the watcher.
type Vocabulary struct {
	zip      *Compressor
	resource string
	enc      atomic.Pointer[zstd.Encoder] // nil: not learned

	mu      sync.Mutex
	seen    int // objects
	packed  int // bytes that they take without it
	samples [][]byte
}

const (
	// learnAt is after how many bytes of packed objects a vocabulary is learned:
	// its encoder and decoder take 1 MB, which is about what it saves with so many.
	learnAt = 3 << 19
	// maxSamples and maxSample bound in bytes what is learned from, together and
	// one by one.
	maxSamples = 64 << 10
	maxSample  = 16 << 10
	// firstNumber is the first that zstd leaves to everybody (RFC 8878, section 5).
	firstNumber = 32768
)

// Vocabulary gives the vocabulary of a resource, named as deployments.apps.
func (c *Compressor) Vocabulary(resource string) *Vocabulary {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.vocabularies[resource]
	if v == nil {
		v = &Vocabulary{zip: c, resource: resource}
		c.vocabularies[resource] = v
	}
	return v
}

// Keep says who keeps vocabularies as long as what is packed with them: keep is
// called before the first object is. Without, they end with the process.
func (c *Compressor) Keep(keep func(resource string, number uint32, text []byte)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = keep
}

// Teach takes over a vocabulary that Keep's function was given by an earlier
// process.
func (c *Compressor) Teach(resource string, number uint32, text []byte) error {
	v := c.Vocabulary(resource)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.teach(v, number, text)
}

// teach: see Teach; the caller holds mu.
func (c *Compressor) teach(v *Vocabulary, number uint32, text []byte) error {
	enc, err := newEncoder(1, zstd.WithEncoderDictRaw(number, text))
	if err != nil {
		return err
	}
	c.taught = append(c.taught, zstd.WithDecoderDictRaw(number, text))
	if err := c.renew(); err != nil {
		return err
	}
	c.next = max(c.next, number+1)
	v.enc.Store(enc)
	return nil
}

// compress packs a manifest of the resource, and learns from it if it is that of
// another object.
func (v *Vocabulary) compress(b, manifest []byte, another bool) ([]byte, error) {
	if enc := v.enc.Load(); enc != nil {
		return v.zip.compress(enc, b), nil
	}
	packed := v.zip.Compress(b)
	if !another {
		return packed, nil
	}
	return packed, v.learn(manifest, len(packed))
}

// learn counts an object, takes fewer and fewer as samples, and at last learns
// from them.
func (v *Vocabulary) learn(manifest []byte, packed int) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.packed >= learnAt {
		return nil // another goroutine was faster
	}
	v.seen++
	v.packed += packed
	if v.seen&(v.seen-1) == 0 { // 1, 2, 4, 8 …
		v.samples = append(v.samples, slices.Clone(manifest[:min(len(manifest), maxSample)]))
	}
	if v.packed < learnAt {
		return nil
	}
	var text []byte
	for _, s := range v.samples {
		if len(text)+len(s) <= maxSamples {
			text = append(text, s...)
		}
	}
	v.samples = nil
	c := v.zip
	c.mu.Lock()
	defer c.mu.Unlock()
	number := c.next
	if c.kept != nil {
		c.kept(v.resource, number, text)
	}
	if err := c.teach(v, number, text); err != nil {
		return fmt.Errorf("vocabulary of %s: %w", v.resource, err)
	}
	return nil
}
