package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// pages checks the tree of pages of a bbolt file by reading it. bbolt has such a
// check too, but it follows the mapped pages in a goroutine of its own, where a
// broken one ends the process; it does so when a file is opened to write, and
// may after this. The layout is that of bbolt's version 2 files
// (https://github.com/etcd-io/bbolt/tree/main/internal/common).
type pages struct {
	file io.ReaderAt
	size int    // of a page
	high uint64 // the first page that does not exist
	seen map[uint64]bool
}

const (
	pageHeader   = 16
	pageElement  = 16
	pageBranch   = 0x01
	pageLeaf     = 0x02
	leafBucket   = 0x01 // flag of an element that is a bucket
	bucketHeader = 16
	maxDepth     = 64
)

var errPage = errors.New("a page does not belong where it is")

// tree checks the pages from id on, whose keys are at least low and less than
// below, each if it is not nil, and gives the last key.
func (p *pages) tree(id uint64, low, below []byte, depth int) (last []byte, err error) {
	page, err := p.read(id)
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, errPage
	}
	return p.elements(page, low, below, depth)
}

// read gives a page with what overflows it. Each page is read once.
func (p *pages) read(id uint64) ([]byte, error) {
	head := make([]byte, pageHeader)
	if id < 2 || id >= p.high {
		return nil, errPage
	}
	if _, err := p.file.ReadAt(head, int64(id)*int64(p.size)); err != nil { //nolint:gosec // less than the file's size
		return nil, fmt.Errorf("read page %d: %w", id, reason(err))
	}
	overflow := uint64(binary.NativeEndian.Uint32(head[12:]))
	if binary.NativeEndian.Uint64(head) != id || overflow >= p.high-id {
		return nil, errPage
	}
	for i := id; i <= id+overflow; i++ {
		if p.seen[i] {
			return nil, errPage
		}
		p.seen[i] = true
	}
	page := make([]byte, (int(overflow)+1)*p.size)                          //nolint:gosec // checked above
	if _, err := p.file.ReadAt(page, int64(id)*int64(p.size)); err != nil { //nolint:gosec // less than the file's size
		return nil, fmt.Errorf("read page %d: %w", id, reason(err))
	}
	return page, nil
}

// elements checks those of one page, or of a bucket that is small enough to
// stand in its element.
func (p *pages) elements(page, low, below []byte, depth int) (last []byte, err error) {
	if len(page) < pageHeader {
		return nil, errPage
	}
	flags, count := binary.NativeEndian.Uint16(page[8:]), int(binary.NativeEndian.Uint16(page[10:]))
	if flags != pageBranch && flags != pageLeaf || flags == pageBranch && count == 0 || len(page) < pageHeader+count*pageElement {
		return nil, errPage
	}
	last = low
	var before *element
	for i := range count {
		e, ok := elementOf(page, pageHeader+i*pageElement, flags == pageBranch)
		if !ok || !ordered(last, e.key, below, i > 0) {
			return nil, errPage
		}
		if flags == pageBranch {
			if last, err = p.child(before, e.key, last, depth); err != nil {
				return nil, err
			}
			if !ordered(last, e.key, below, i > 0) {
				return nil, errPage
			}
			before = &e
		} else if err := p.value(e, depth); err != nil {
			return nil, err
		}
		last = e.key
	}
	if before != nil {
		return p.child(before, below, last, depth)
	}
	return last, nil
}

// child checks what is below an element of a branch, up to the key of the next.
func (p *pages) child(e *element, below, last []byte, depth int) ([]byte, error) {
	if e == nil {
		return last, nil
	}
	return p.tree(e.child, e.key, below, depth+1)
}

// value checks an element of a leaf that is a bucket.
func (p *pages) value(e element, depth int) error {
	if e.flags&leafBucket == 0 {
		return nil
	}
	if len(e.value) < bucketHeader {
		return errPage
	}
	var err error
	if root := binary.NativeEndian.Uint64(e.value); root != 0 {
		_, err = p.tree(root, nil, nil, depth+1)
	} else {
		_, err = p.elements(e.value[bucketHeader:], nil, nil, depth+1)
	}
	return err
}

// element is one of a page: key and value of a leaf, or the least key of a
// branch's child.
type element struct {
	flags      uint32
	key, value []byte
	child      uint64
}

func elementOf(page []byte, at int, branch bool) (e element, ok bool) {
	raw := page[at:]
	pos, keySize, valueSize := binary.NativeEndian.Uint32(raw), binary.NativeEndian.Uint32(raw[4:]), uint32(0)
	if branch {
		e.child = binary.NativeEndian.Uint64(raw[8:])
	} else {
		e.flags, pos, keySize = pos, keySize, binary.NativeEndian.Uint32(raw[8:])
		valueSize = binary.NativeEndian.Uint32(raw[12:])
	}
	if uint64(pos)+uint64(keySize)+uint64(valueSize) > uint64(len(raw)) {
		return e, false
	}
	e.key = raw[pos : pos+keySize]
	e.value = raw[pos+keySize : pos+keySize+valueSize]
	return e, true
}

// ordered tells whether a key fits between its neighbours.
func ordered(before, key, below []byte, strictly bool) bool {
	if before != nil {
		if c := bytes.Compare(before, key); c > 0 || c == 0 && strictly {
			return false
		}
	}
	return below == nil || bytes.Compare(key, below) < 0
}
