package object

import (
	"errors"
	"slices"
	"time"
)

// lastApplied repeats the whole manifest, Secrets and passwords included.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

var (
	errNoMap  = errors.New("metadata is no object")
	errNoText = errors.New("a text is wanted")
	errFields = errors.New("managedFields are no list of entries")
)

// readMetadata reads metadata without what never leaves the watcher, for every
// kind: managedFields, which changedBy sums up, and what kubectl applied last.
func (d *desk) readMetadata() error {
	d.metadata, d.meta, d.fields = d.metadata[:0], meta{}, nil
	d.managers = append(d.managers[:0], "[]"...)
	if d.next() != '{' {
		if _, err := d.value(); err != nil {
			return err
		}
		return errNoMap
	}
	if err := d.token(); err != nil {
		return err
	}
	for {
		quoted, name, more, err := d.name()
		if err != nil || !more {
			return err
		}
		if string(name) == "managedFields" {
			if err := d.readFields(); err != nil {
				return err
			}
			continue
		}
		value, err := d.value()
		if err != nil {
			return err
		}
		d.metadata = append(d.metadata, member{quoted, name, value})
		if err := d.note(string(name), value); err != nil {
			return err
		}
	}
}

// note takes over what the object is known by.
func (d *desk) note(name string, value []byte) (err error) {
	switch name {
	case "namespace":
		d.meta.namespace, err = text(value)
	case "name":
		d.meta.name, err = text(value)
	case "uid":
		d.meta.uid, err = text(value)
	case "resourceVersion":
		d.meta.resourceVersion, err = text(value)
	case "creationTimestamp":
		d.meta.created = 0
		if string(value) == "null" {
			break
		}
		var at time.Time
		if at, err = timeOf(value); err == nil && !at.IsZero() {
			d.meta.created = at.Unix()
		}
	}
	return err
}

// text is a string's text; null is none.
func text(value []byte) ([]byte, error) {
	switch {
	case string(value) == "null":
		return nil, nil
	case value[0] != '"':
		return nil, errNoText
	}
	return unquote(value), nil
}

func timeOf(value []byte) (at time.Time, err error) {
	quoted, err := text(value)
	if err == nil {
		err = at.UnmarshalText(quoted) // as strict as JSON's
	}
	return at, err
}

// readFields reads managedFields: whole, and who wrote without what.
func (d *desk) readFields() error {
	d.fields, d.managers = nil, append(d.managers[:0], '[')
	kind := d.next()
	if kind != '[' {
		d.managers = append(d.managers, ']')
		if _, err := d.value(); err != nil {
			return err
		}
		if kind != 'n' {
			return errFields
		}
		return nil
	}
	if err := d.token(); err != nil {
		return err
	}
	start := d.dec.InputOffset() - 1
	for d.next() != ']' {
		if len(d.managers) > 1 {
			d.managers = append(d.managers, ',')
		}
		if err := d.readEntry(); err != nil {
			return err
		}
	}
	if err := d.token(); err != nil {
		return err
	}
	d.managers = append(d.managers, ']')
	d.fields = d.raw[start:d.dec.InputOffset()]
	return nil
}

// readEntry reads an entry of managedFields and notes who wrote, in the form of
// event.Manager.
func (d *desk) readEntry() error {
	if d.next() == 'n' {
		d.managers = append(d.managers, `{"manager":"","operation":""}`...)
		return d.token()
	}
	if d.next() != '{' {
		return errFields
	}
	if err := d.token(); err != nil {
		return err
	}
	manager, operation := []byte(`""`), []byte(`""`)
	var subresource, at []byte
	for {
		_, name, more, err := d.name()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		value, err := d.value()
		if err != nil {
			return err
		}
		var field *[]byte
		switch string(name) {
		case "manager":
			field = &manager
		case "operation":
			field = &operation
		case "subresource":
			field = &subresource
		case "time":
			field = &at
			if string(value) != "null" {
				if _, err := timeOf(value); err != nil {
					return err
				}
			}
		}
		if field == nil || string(value) == "null" {
			continue
		}
		if value[0] != '"' {
			return errNoText
		}
		*field = value
	}
	d.managers = append(append(d.managers, `{"manager":`...), manager...)
	d.managers = append(append(d.managers, `,"operation":`...), operation...)
	if len(subresource) > len(`""`) {
		d.managers = append(append(d.managers, `,"subresource":`...), subresource...)
	}
	if len(at) > 0 {
		d.managers = append(append(d.managers, `,"time":`...), at...)
	}
	d.managers = append(d.managers, '}')
	return nil
}

// clean takes out of the annotations what repeats the manifest. The scanner is
// used anew, so the manifest has to have been read to its end.
func (d *desk) clean() error {
	kept := d.metadata[:0]
	for _, m := range d.metadata {
		if string(m.name) == "annotations" {
			value, err := d.cleaned(m.value)
			if err != nil {
				return err
			}
			if value == nil {
				continue
			}
			m.value = value
		}
		kept = append(kept, m)
	}
	d.metadata = kept
	return nil
}

// cleaned is annotations without lastApplied; nil: nothing is left. What is no
// map cannot be looked into and does not leave; no API server serves such.
func (d *desk) cleaned(value []byte) ([]byte, error) {
	if string(value) == "null" {
		return value, nil
	}
	all, ok, err := d.members(d.parts[:0], value)
	d.parts = all
	if err != nil || !ok {
		return nil, err
	}
	isLast := func(m member) bool { return string(m.name) == lastApplied }
	if !slices.ContainsFunc(all, isLast) {
		return value, nil
	}
	all = slices.DeleteFunc(sortMembers(all), isLast)
	if len(all) == 0 {
		return nil, nil
	}
	return appendMembers(nil, all), nil
}
