package model

import (
	"fmt"
	"strings"
)

// Kind is what is wrong with what was told.
type Kind string

// The kinds of findings. Merged is none by itself: it is announced by its nature,
// for a transition that is skipped without a line is Missing.
const (
	Missing  Kind = "missing"
	Merged   Kind = "merged"
	Retold   Kind = "retold"
	Disorder Kind = "out of order"
	WrongOld Kind = "wrong old object"
	Invented Kind = "invented"
)

// Kinds are those that a run must not have unannounced.
var Kinds = []Kind{Missing, Retold, Disorder, WrongOld, Invented}

// Finding is one thing that is wrong, with the line of the log that announced it.
type Finding struct {
	Kind   Kind
	Excuse string // empty: nothing announced it
	Of     Key
	Text   string
}

func (f Finding) String() string {
	text := fmt.Sprintf("%s: %s: %s", f.Of, f.Kind, f.Text)
	if f.Excuse != "" {
		text += " (announced: " + f.Excuse + ")"
	}
	return text
}

// Verdict is what the judge says.
type Verdict struct {
	Sent       int // changes that had to be told
	Arrived    int
	Duplicates int // told again with the same id and the same old object
	Late       int // of a leader of before
	Unwatched  int // changes that did not have to be told, and were not
	Findings   []Finding
}

func (v *Verdict) find(kind Kind, excuse string, of Key, format string, args ...any) {
	v.Findings = append(v.Findings, Finding{kind, excuse, of, fmt.Sprintf(format, args...)})
}

// Count is how many findings of a kind were announced, or were not.
func (v *Verdict) Count(kind Kind, announced bool) int {
	n := 0
	for _, f := range v.Findings {
		if f.Kind == kind && (f.Excuse != "") == announced {
			n++
		}
	}
	return n
}

// Unannounced are the findings that nothing excuses.
func (v *Verdict) Unannounced() []Finding {
	var out []Finding
	for _, f := range v.Findings {
		if f.Excuse == "" {
			out = append(out, f)
		}
	}
	return out
}

// Head names the columns of Row.
const Head = "SENT\tARRIVED\tTWICE\tLATE\tMERGED\tMISSING\tRETOLD\tOUT OF ORDER\tWRONG OLD\tINVENTED"

// Row is the verdict as cells between tabs. What was announced stands behind a plus.
func (v *Verdict) Row() string {
	cells := []string{fmt.Sprint(v.Sent), fmt.Sprint(v.Arrived), fmt.Sprint(v.Duplicates), fmt.Sprint(v.Late), fmt.Sprint(v.Count(Merged, true))}
	for _, kind := range Kinds {
		cell := fmt.Sprint(v.Count(kind, false))
		if n := v.Count(kind, true); n > 0 {
			cell += fmt.Sprintf(" +%d", n)
		}
		cells = append(cells, cell)
	}
	return strings.Join(cells, "\t")
}
