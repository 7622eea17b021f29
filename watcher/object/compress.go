package object

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// Compressor is zstd with little memory; it is safe for concurrent use.
type Compressor struct {
	enc *zstd.Encoder
	// dec knows all vocabularies; another one replaces it with each that comes.
	dec     atomic.Pointer[zstd.Decoder]
	buffers sync.Pool // of *[]byte

	mu           sync.Mutex
	vocabularies map[string]*Vocabulary // by resource
	taught       []zstd.DOption
	next         uint32 // number of the next vocabulary
	kept         func(resource string, number uint32, text []byte)
}

// Manifests are small: a window of 256 KiB covers nearly all of them and keeps
// the encoder's tables small. Two at once are plenty: to compress a manifest
// takes microseconds, and each has tables of its own. The limit of a
// decompressed object is far above what etcd stores.
const (
	window          = 256 << 10
	atOnce          = 2
	maxDecompressed = 64 << 20
)

// NewCompressor gives a compressor.
func NewCompressor() (*Compressor, error) {
	c := &Compressor{vocabularies: map[string]*Vocabulary{}, next: firstNumber}
	c.buffers.New = func() any { return new([]byte) }
	var err error
	if c.enc, err = newEncoder(atOnce); err != nil {
		return nil, err
	}
	return c, c.renew()
}

func newEncoder(concurrency int, options ...zstd.EOption) (*zstd.Encoder, error) {
	enc, err := zstd.NewWriter(nil, append([]zstd.EOption{
		// The next level saves 2 % and takes a fifth more time.
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(concurrency), zstd.WithWindowSize(window),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false),
	}, options...)...)
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return enc, nil
}

// renew makes the decoder for what has been taught.
func (c *Compressor) renew() error {
	dec, err := zstd.NewReader(nil, append([]zstd.DOption{
		zstd.WithDecoderConcurrency(2 * atOnce), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxDecompressed),
	}, c.taught...)...)
	if err != nil {
		return fmt.Errorf("zstd: %w", err)
	}
	c.dec.Store(dec) // who has the one before goes on with it
	return nil
}

// Compress gives b compressed, in memory of just that size.
func (c *Compressor) Compress(b []byte) []byte { return c.compress(c.enc, b) }

func (c *Compressor) compress(enc *zstd.Encoder, b []byte) []byte {
	buffer := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buffer)
	*buffer = enc.EncodeAll(b, (*buffer)[:0])
	out := append(make([]byte, 0, len(*buffer)), *buffer...)
	if cap(*buffer) > muchDesk {
		*buffer = nil
	}
	return out
}

// Decompress undoes Compress.
func (c *Compressor) Decompress(b []byte) ([]byte, error) { return c.dec.Load().DecodeAll(b, nil) }
