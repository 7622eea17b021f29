package object

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// finder follows the elements of fieldsV1 paths from one value. A list is
// indexed once for all its elements: anybody who may write a list of thousands
// could else hold the watcher up for seconds.
type finder struct {
	value any
	index map[string]map[string]any // by key fields, by their values
}

// step follows one element: f:<field>, k:<keys of a list's item>, v:<value of a
// set>, i:<index>.
func (f *finder) step(element string) (any, bool) {
	kind, arg, _ := strings.Cut(element, ":")
	switch v := f.value.(type) {
	case map[string]any:
		if kind == "f" {
			child, ok := v[arg]
			return child, ok
		}
	case []any:
		switch kind {
		case "i":
			if i, err := strconv.Atoi(arg); err == nil && i >= 0 && i < len(v) {
				return v[i], true
			}
		case "k", "v":
			return f.item(v, kind, arg)
		}
	}
	return nil, false
}

func (f *finder) item(list []any, kind, arg string) (any, bool) {
	var want any
	if decodeValue([]byte(arg), &want) != nil {
		return nil, false
	}
	var fields []string // none: the item as a whole
	if kind == "k" {
		keys, ok := want.(map[string]any)
		if !ok || len(keys) == 0 {
			return nil, false
		}
		fields = slices.Sorted(maps.Keys(keys))
	}
	by := strings.Join(fields, "\x00")
	if f.index[by] == nil {
		items := make(map[string]any, len(list))
		for _, item := range list {
			id, ok := identity(item, fields)
			if _, twice := items[id]; ok && !twice {
				items[id] = item
			}
		}
		if f.index == nil {
			f.index = map[string]map[string]any{}
		}
		f.index[by] = items
	}
	id, _ := identity(want, fields)
	item, ok := f.index[by][id]
	return item, ok
}

// identity is the same for equal values of the fields, or of the whole item.
func identity(item any, fields []string) (string, bool) {
	if fields != nil {
		all, ok := item.(map[string]any)
		if !ok {
			return "", false
		}
		some := make([]any, len(fields))
		for i, name := range fields {
			if some[i], ok = all[name]; !ok {
				return "", false
			}
		}
		item = some
	}
	b, err := json.Marshal(item)
	return string(b), err == nil
}
