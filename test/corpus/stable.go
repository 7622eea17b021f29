package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// pair is a change with values in it that every recording has.
type pair struct {
	attributes map[string]any
	old, new   any // manifests; nil for none
}

var (
	uids      = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	times     = regexp.MustCompile(`\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z`)
	addresses = regexp.MustCompile(`\b10\.0\.\d{1,3}\.\d{1,3}\b`) // of Services
	hashes    = regexp.MustCompile(`redacted:[0-9a-f]{8}`)
	tokens    = regexp.MustCompile(`\bkube-api-access-[0-9a-z]{5}\b`)
	moments   = regexp.MustCompile(`\.[0-9a-f]{16}\b`) // in names of Events
)

// epoch is the first time of every pair.
var epoch = time.Date(2026, time.January, 1, 9, 0, 0, 0, time.UTC)

// steady replaces what is another in every recording. Two values that are equal
// stay equal and two that differ stay different, in both manifests.
type steady struct {
	namespace string
	generated map[string]string // names that the API server made up: what they begin with
	versions  []string
	instants  []string
	seen      map[string]map[string]int // by what it is: the number of a value
}

// stable is the event with such values.
func stable(e event.Event, namespace string, generated map[string]string) pair {
	s := &steady{namespace: namespace, generated: generated, seen: map[string]map[string]int{}}
	p := pair{old: decode(e.OldObject), new: decode(e.Object)}
	s.collect("", p.old)
	s.collect("", p.new)
	slices.SortFunc(s.versions, byNumber)
	slices.SortFunc(s.instants, func(a, b string) int { return instant(a).Compare(instant(b)) })
	p.old, p.new = s.value("", p.old), s.value("", p.new)
	managers := make([]any, len(e.ChangedBy))
	for i, m := range e.ChangedBy {
		managers[i] = map[string]any{"manager": m.Manager, "operation": m.Operation}
		if m.Subresource != "" {
			managers[i].(map[string]any)["subresource"] = m.Subresource
		}
	}
	p.attributes = map[string]any{
		"apiVersion": e.APIVersion, "kind": e.Kind, "name": s.text(e.Name), "subject": s.text(e.Subject),
		"action": string(e.Action), "via": e.Via, "changedBy": managers,
	}
	if e.Namespace != "" {
		p.attributes["namespace"] = s.text(e.Namespace)
	}
	return p
}

// collect finds the values that have an order, which theirs must follow.
func (s *steady) collect(key string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, member := range v {
			s.collect(k, member)
		}
	case []any:
		for _, item := range v {
			s.collect(key, item)
		}
	case string:
		if key == "resourceVersion" && !slices.Contains(s.versions, v) {
			s.versions = append(s.versions, v)
		}
		for _, t := range times.FindAllString(v, -1) {
			if !slices.ContainsFunc(s.instants, func(other string) bool { return instant(other).Equal(instant(t)) }) {
				s.instants = append(s.instants, t)
			}
		}
	}
}

// value goes through a manifest in the order of its keys, so that numbers are
// given in the same order every time.
func (s *steady) value(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out[s.text(k)] = s.value(k, v[k])
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = s.value(key, item)
		}
		return out
	case json.Number:
		if key == "nodePort" || key == "healthCheckNodePort" {
			return json.Number(strconv.Itoa(30000 + s.number("port", v.String())))
		}
	case string:
		if key == "resourceVersion" {
			return strconv.Itoa(1001 + slices.Index(s.versions, v))
		}
		return s.text(v)
	}
	return v
}

func (s *steady) text(v string) string {
	for _, name := range slices.Sorted(maps.Keys(s.generated)) {
		if strings.Contains(v, name) {
			v = strings.ReplaceAll(v, name, s.generated[name]+fmt.Sprintf("%05d", s.number(s.generated[name], name)))
		}
	}
	v = strings.ReplaceAll(v, s.namespace, "shop")
	v = uids.ReplaceAllStringFunc(v, func(m string) string {
		return fmt.Sprintf("00000000-0000-4000-8000-%012d", s.number("uid", m))
	})
	v = addresses.ReplaceAllStringFunc(v, func(m string) string { return fmt.Sprintf("10.0.0.%d", 10+s.number("address", m)) })
	v = hashes.ReplaceAllStringFunc(v, func(m string) string { return fmt.Sprintf("redacted:%08x", s.number("hash", m)) })
	v = tokens.ReplaceAllStringFunc(v, func(m string) string { return fmt.Sprintf("kube-api-access-%05d", s.number("token", m)) })
	v = moments.ReplaceAllStringFunc(v, func(m string) string { return fmt.Sprintf(".%016x", s.number("moment", m)) })
	return times.ReplaceAllStringFunc(v, s.time)
}

// time is one minute later for each earlier time of the pair, in the same form.
func (s *steady) time(v string) string {
	n := slices.IndexFunc(s.instants, func(other string) bool { return instant(other).Equal(instant(v)) })
	text := epoch.Add(time.Duration(n) * time.Minute).Format("2006-01-02T15:04:05")
	if digits := len(v) - len("2006-01-02T15:04:05Z"); digits > 0 {
		text += "." + strings.Repeat("0", digits-1)
	}
	return text + "Z"
}

// number counts the different values of a sort, from 1.
func (s *steady) number(sort, value string) int {
	if s.seen[sort] == nil {
		s.seen[sort] = map[string]int{}
	}
	if s.seen[sort][value] == 0 {
		s.seen[sort][value] = len(s.seen[sort]) + 1
	}
	return s.seen[sort][value]
}

func instant(v string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, v) // the pattern lets through what is one
	return t
}

func byNumber(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }
