package object

import (
	"bytes"
	"slices"
	"strconv"
)

// finder follows the elements of fieldsV1 paths from one value. A large value
// is indexed once for all its elements: anybody who may write a list of
// thousands could else hold the watcher up for seconds.
type finder struct {
	of     *tape
	at     int32 // none: there is no value
	hint   int32 // the member behind the one found last; paths come in order
	many   bool  // of the members are more than are looked at one by one
	names  map[string]int32
	items  []int32
	index  map[string]map[string]int32 // items by key fields, by their values
	buffer []byte
}

// few is up to how many members are looked at one by one.
const few = 32

func newFinder(of *tape, at int32) finder {
	f := finder{of: of, at: at, hint: none}
	if at == none {
		return f
	}
	f.hint = of.first(at)
	n := 0
	for m := f.hint; m != none && n <= few; m = of.after(at, m) {
		n++
	}
	f.many = n > few
	return f
}

// step follows one element: f:<field>, k:<keys of a list's item>, v:<value of a
// set>, i:<index>. It gives none where that leads nowhere.
func (f *finder) step(element []byte) int32 {
	if f.at == none {
		return none
	}
	kind, arg, _ := bytes.Cut(element, []byte(":"))
	if len(kind) != 1 {
		return none
	}
	switch f.of.kind(f.at) {
	case '{':
		if kind[0] == 'f' {
			return f.member(arg)
		}
	case '[':
		switch kind[0] {
		case 'i':
			return f.nth(arg)
		case 'k', 'v':
			return f.item(kind[0] == 'k', arg)
		}
	}
	return none
}

// member looks from where the last one was found on, and then from the start.
func (f *finder) member(name []byte) int32 {
	if f.many {
		return f.named(name)
	}
	for at := f.hint; at != none; at = f.of.after(f.at, at) {
		if bytes.Equal(f.of.name(at), name) {
			f.hint = f.of.after(f.at, at)
			return at
		}
	}
	for at := f.of.first(f.at); at != f.hint; at = f.of.after(f.at, at) {
		if bytes.Equal(f.of.name(at), name) {
			return at
		}
	}
	return none
}

func (f *finder) named(name []byte) int32 {
	if f.names == nil {
		f.names = map[string]int32{}
		for at := f.of.first(f.at); at != none; at = f.of.after(f.at, at) {
			f.names[string(f.of.name(at))] = at
		}
	}
	if at, ok := f.names[string(name)]; ok {
		return at
	}
	return none
}

func (f *finder) nth(arg []byte) int32 {
	if f.items == nil {
		for at := f.of.first(f.at); at != none; at = f.of.after(f.at, at) {
			f.items = append(f.items, at)
		}
	}
	i, err := strconv.Atoi(string(arg))
	if err != nil || i < 0 || i >= len(f.items) {
		return none
	}
	return f.items[i]
}

// item finds the item with the values of some fields, or that is equal as a
// whole.
func (f *finder) item(keyed bool, arg []byte) int32 {
	var want tape
	if want.read(arg) != nil {
		return none
	}
	var fields [][]byte // none: the item as a whole
	if keyed {
		if want.kind(0) != '{' || want.first(0) == none {
			return none
		}
		for at := want.first(0); at != none; at = want.after(0, at) {
			fields = append(fields, want.name(at))
		}
		slices.SortFunc(fields, bytes.Compare)
	}
	by := string(bytes.Join(fields, []byte{0}))
	if f.index[by] == nil {
		items := map[string]int32{}
		for at := f.of.first(f.at); at != none; at = f.of.after(f.at, at) {
			if id, ok := f.identity(f.of, at, fields); ok {
				if _, twice := items[string(id)]; !twice {
					items[string(id)] = at
				}
			}
		}
		if f.index == nil {
			f.index = map[string]map[string]int32{}
		}
		f.index[by] = items
	}
	id, _ := f.identity(&want, 0, fields)
	if at, ok := f.index[by][string(id)]; ok {
		return at
	}
	return none
}

// identity is the same for equal values of the fields, or of the whole item. It
// is good until the next call.
func (f *finder) identity(t *tape, item int32, fields [][]byte) ([]byte, bool) {
	f.buffer = f.buffer[:0]
	if fields == nil {
		f.buffer = appendCanonical(f.buffer, t.bytes(item))
		return f.buffer, true
	}
	if t.kind(item) != '{' {
		return nil, false
	}
	for _, name := range fields {
		found := none
		for at := t.first(item); at != none; at = t.after(item, at) {
			if bytes.Equal(t.name(at), name) {
				found = at
			}
		}
		if found == none {
			return nil, false
		}
		f.buffer = append(appendCanonical(f.buffer, t.bytes(found)), ',')
	}
	return f.buffer, true
}
