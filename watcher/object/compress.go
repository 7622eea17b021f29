package object

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Compressor is zstd with little memory; it is safe for concurrent use.
type Compressor struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// Manifests are small: a window of 256 KiB covers nearly all of them and keeps
// the encoder's tables small. The limit of a decompressed object is far above
// what etcd stores.
const (
	window          = 256 << 10
	maxDecompressed = 64 << 20
)

// NewCompressor gives a compressor; n is how many goroutines use it at once.
func NewCompressor(n int) (*Compressor, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(n), zstd.WithWindowSize(window),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(n), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxDecompressed))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &Compressor{enc: enc, dec: dec}, nil
}

// Compress gives b compressed, in memory of just that size.
func (c *Compressor) Compress(b []byte) []byte {
	out := c.enc.EncodeAll(b, make([]byte, 0, len(b)/4))
	return append(make([]byte, 0, len(out)), out...)
}

// Decompress undoes Compress.
func (c *Compressor) Decompress(b []byte) ([]byte, error) { return c.dec.DecodeAll(b, nil) }
