package model

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	key   = Key{"configmaps", "shop", "web"}
)

// at is a moment of a made-up run; the revision n is of the second n.
func at(second int64) time.Time { return began.Add(time.Duration(second) * time.Second) }

// states makes a history of one object: each letter is a uid, each - is nothing.
// State i has revision 10i.
func states(pattern string) []State {
	out := []State{{}}
	for i, c := range pattern {
		s := State{Revision: int64(10 * (i + 1)), At: at(int64(10 * (i + 1)))}
		if c != '-' {
			s.Version = fmt.Sprintf("%c.%d", c, s.Revision)
		}
		out = append(out, s)
	}
	return out
}

// tell is the event that goes from one state to another, a second after the latter.
func tell(all []State, from, to int) Telling {
	t := Telling{Of: key, Old: all[from].Version, Now: all[to].Version, Via: "watch", Epoch: -1, At: all[to].At.Add(time.Second)}
	t.ID = idOf(t.Old, t.Now)
	return t
}

// relisted is tell by a comparison.
func relisted(all []State, from, to int) Telling {
	t := tell(all, from, to)
	t.Via = viaRelist
	return t
}

// rightly tells every change.
func rightly(all []State) []Telling {
	var out []Telling
	for i := 1; i < len(all); i++ {
		out = append(out, tell(all, i-1, i))
	}
	return out
}

func run(all []State, told []Telling, announced ...Announcement) Run {
	return Run{History: map[Key][]State{key: all}, Told: told, Announced: announced}
}

// found are the kinds of what a verdict has found, with a plus for what was announced.
func found(v *Verdict) []string {
	out := []string{}
	for _, f := range v.Findings {
		if f.Excuse != "" {
			out = append(out, string(f.Kind)+" +")
		} else {
			out = append(out, string(f.Kind))
		}
	}
	return out
}

// announce is a line of a second and the revision of that time.
func announce(second int64, excuses Excuse) Announcement {
	return Announcement{Line: "said", Excuses: excuses, Resource: "configmaps", At: at(second), UpTo: second}
}

// gap is a line about a gap that was read: what came and went within it is lost.
func gap(from, to int64) Announcement {
	a := announce(to, mayLosePassing)
	a.From = from
	return a
}

// merged is a line about a gap that was merged.
func merged(from, to int64) Announcement {
	a := announce(to, mayMerge)
	a.From = from
	return a
}

func TestTheJudgeNamesTheDamageAndNothingElse(t *testing.T) {
	all := states("aaaaa-bb")
	right := rightly(all)
	replace := func(from, to int, with ...Telling) []Telling {
		return slices.Concat(right[:from], with, right[to:])
	}
	epochs := func(told []Telling, epochs ...int64) []Telling {
		told = slices.Clone(told)
		for i, e := range epochs {
			told[i].Epoch = e
		}
		return told
	}
	other := right[2]
	other.ID = "a.30.add"
	wrong := right[3]
	wrong.Old = all[2].Version
	merge, lose := mayMerge, mayLose
	for name, c := range map[string]struct {
		run  Run
		want []string
	}{
		"all is right":                     {run(all, right), nil},
		"told twice":                       {run(all, replace(2, 2, right[:2]...)), nil},
		"one is dropped":                   {run(all, replace(2, 3)), []string{"missing"}},
		"the last is dropped":              {run(all, right[:7]), []string{"missing"}},
		"a Delete is dropped":              {run(all, replace(5, 6)), []string{"missing"}},
		"two are swapped":                  {run(all, replace(2, 4, right[3], right[2])), []string{"out of order"}},
		"another old object":               {run(all, replace(3, 4, wrong)), []string{"wrong old object"}},
		"an old object that never was":     {run(all, replace(3, 4, Telling{ID: right[3].ID, Of: key, Old: "a.1", Now: right[3].Now, Epoch: -1})), []string{"wrong old object"}},
		"a state that never was":           {run(all, replace(3, 3, Telling{ID: "a.35.update", Of: key, Old: right[3].Old, Now: "a.35", Epoch: -1})), []string{"invented"}},
		"a Delete that never was":          {run(all, append(slices.Clone(right), Telling{ID: "b.80.delete", Of: key, Old: "b.80"})), []string{"invented"}},
		"an object that never was":         {run(all, append(slices.Clone(right), Telling{ID: "x.1.add", Now: "x.1", Of: Key{Name: "x"}})), []string{"invented"}},
		"an id of another change":          {run(all, replace(2, 3, other)), []string{"invented", "missing"}},
		"told again as another update":     {run(all, replace(4, 4, relisted(all, 2, 4))), []string{"retold"}},
		"told again as an Add":             {run(all, replace(4, 4, relisted(all, 0, 4))), []string{"retold"}},
		"a second Add of what goes on":     {run(all, replace(3, 4, relisted(all, 0, 4))), []string{"retold"}},
		"another Add of what was out":      {run(states("aa-aa"), slices.Delete(rightly(states("aa-aa")), 2, 3)), []string{"missing"}},
		"a second Delete":                  {run(all, append(slices.Clone(right), relisted(all, 4, 6))), []string{"retold"}},
		"merged without a word":            {run(all, replace(2, 4, relisted(all, 2, 4))), []string{"missing"}},
		"merged, and said so":              {run(all, replace(2, 4, relisted(all, 2, 4)), announce(41, merge)), []string{"merged +"}},
		"merged by a watch":                {run(all, replace(2, 4, tell(all, 2, 4)), announce(41, merge)), []string{"missing"}},
		"merged, said of before":           {run(all, replace(2, 4, relisted(all, 2, 4)), announce(39, merge)), []string{"missing"}},
		"merged, said afterwards":          {run(all, replace(2, 4, relisted(all, 2, 4)), announce(49, merge)), []string{"missing"}},
		"another uid, merged":              {run(all, slices.Concat(right[:3], netOf(all, 3, 8)), announce(81, merge)), []string{"merged +", "merged +", "merged +"}},
		"made and deleted, merged":         {run(states("aa-b-c"), slices.Concat(rightly(states("aa-")), rightly(states("aa-b-c"))[5:]), announce(51, merge)), []string{"merged +", "merged +"}},
		"made and deleted, not merged":     {run(states("aa-b-c"), slices.Concat(rightly(states("aa-")), rightly(states("aa-b-c"))[5:])), []string{"missing", "missing"}},
		"came and went in a gap":           {run(states("aa-b-c"), slices.Concat(rightly(states("aa-")), rightly(states("aa-b-c"))[5:]), gap(35, 51)), []string{"missing +", "missing +"}},
		"came before the gap":              {run(states("aa-b-c"), slices.Concat(rightly(states("aa-")), rightly(states("aa-b-c"))[5:]), gap(45, 51)), []string{"missing", "missing"}},
		"went after the gap":               {run(states("aa-b-c"), slices.Concat(rightly(states("aa-")), rightly(states("aa-b-c"))[5:]), gap(35, 49)), []string{"missing", "missing"}},
		"stayed, and is not told":          {run(states("aa-bb"), rightly(states("aa-")), gap(35, 51)), []string{"missing", "missing"}},
		"told by the one before, merged":   {run(all, slices.Concat(epochs(right[:4], 1, 1, 1, 1), epochs([]Telling{relisted(all, 3, 5)}, 2), epochs(right[5:], 2, 2, 2)), merged(35, 51)), []string{"wrong old object +"}},
		"it waited, and was told":          {run(all, slices.Concat(epochs(right[:4], 1, 1, 1, 1), epochs([]Telling{relisted(all, 0, 3), right[4]}, 2, 2), epochs(right[5:], 2, 2, 2)), announce(31, mayMerge|mayRetellBehind)), []string{"retold +"}},
		"it waited, and it told it itself": {run(all, replace(4, 4, relisted(all, 0, 3))), []string{"retold"}},
		"told by itself, and merged":       {run(all, replace(4, 5, relisted(all, 3, 5)), merged(35, 51)), []string{"wrong old object"}},
		"told before the gap, and merged":  {run(all, slices.Concat(epochs(right[:4], 1, 1, 1, 1), epochs([]Telling{relisted(all, 3, 5)}, 2), epochs(right[5:], 2, 2, 2)), merged(45, 51)), []string{"wrong old object"}},
		"lost, and said so":                {run(all, replace(2, 5), announce(55, lose)), []string{"missing +", "missing +", "missing +"}},
		"lost, said of what was before":    {run(all, replace(2, 3), announce(50, lose)), []string{"missing"}},
		"lost, said too early":             {run(all, replace(2, 5), announce(39, lose)), []string{"missing +", "missing", "missing"}},
		"older, as this watcher knows it":  {run(all, replace(3, 4, relisted(all, 2, 4)), announce(41, mayRetell)), []string{"wrong old object +"}},
		"late, one of each":                {run(all, replace(5, 5, right[4])), nil},
		"late, of a leader of before":      {run(all, epochs(replace(5, 5, right[2]), 0, 0, 0, 0, 1, 0, 1, 1, 1)), nil},
		"late, two of a leader of before":  {run(all, epochs(replace(5, 5, right[1], right[2]), 0, 0, 0, 0, 1, 0, 0, 1, 1, 1)), []string{"out of order"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := Judge(c.run)
			require.ElementsMatch(t, c.want, found(v), "%v", v.Findings)
		})
	}
}

// What a leader told that began before what the one before had told: at a mark that one
// waiting change held back, and with a list, for the history after it was gone.
func TestTheJudgeKnowsALeaderThatBeganTooEarly(t *testing.T) {
	all := states("aaaa-b")
	first := rightly(all)[:5] // of epoch 0
	for i := range first {
		first[i].Epoch = 0
	}
	again := func(from, to int) Telling {
		out := relisted(all, from, to)
		out.Epoch, out.At = 1, at(100)
		return out
	}
	merge := announce(60, mayMerge)
	for name, c := range map[string]struct {
		told []Telling
		want []string
	}{
		"an Add under a new id":                  {[]Telling{first[0], first[1], again(0, 2), again(2, 5), again(5, 6)}, []string{"retold", "merged +", "merged +"}},
		"an Update with a known id":              {[]Telling{first[0], first[1], first[2], again(1, 3), again(3, 5), again(5, 6)}, []string{"retold", "merged +"}},
		"an Update from an older object":         {[]Telling{first[0], first[1], first[2], again(1, 4), again(4, 5), again(5, 6)}, []string{"wrong old object"}},
		"a Delete under a second id":             {append(slices.Clone(first), again(2, 5), again(5, 6)), []string{"retold"}},
		"an object that went without its Delete": {[]Telling{first[0], first[1], again(5, 6)}, []string{"missing", "missing", "missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.ElementsMatch(t, c.want, found(Judge(run(all, c.told, merge))))
		})
	}
}

func TestALineExcusesOnlyWhatItNames(t *testing.T) {
	all := states("aaaa")
	told := []Telling{tell(all, 0, 1), relisted(all, 1, 3), tell(all, 3, 4)}
	for _, c := range []struct {
		resource, namespace, id string
		want                    string
	}{
		{"configmaps", "", "", "merged +"},
		{"", "", "", "merged +"},
		{"configmaps", "shop", "", "merged +"},
		{"configmaps", "tools", "", "missing"},
		{"secrets", "", "", "missing"},
		{"configmaps", "shop", "a.20.update", "missing"},
	} {
		a := announce(31, mayMerge)
		a.Resource, a.Namespace, a.ID = c.resource, c.namespace, c.id
		require.Equal(t, []string{c.want}, found(Judge(run(all, told, a))), "%+v", c)
	}
	lost := Announcement{Line: "not delivered", Excuses: mayLose, ID: "a.20.update"}
	require.Equal(t, []string{"missing +"}, found(Judge(run(all, []Telling{tell(all, 0, 1), tell(all, 2, 3), tell(all, 3, 4)}, lost))))
	require.Equal(t, []string{"missing"}, found(Judge(run(all, []Telling{tell(all, 0, 1), tell(all, 1, 2), tell(all, 3, 4)}, lost))))
}

func TestWhatWasNotWatchedMayBeTold(t *testing.T) {
	all := states("aaaaaa")
	r := run(all, []Telling{tell(all, 0, 1), tell(all, 3, 4), tell(all, 4, 5), tell(all, 5, 6)})
	r.Unwatched = []Span{{"configmaps", "shop", 15, 35}}
	v := Judge(r)
	require.Empty(t, v.Findings)
	require.Equal(t, 2, v.Unwatched)
	require.Equal(t, 4, v.Sent)
	r.Told = rightly(all)
	require.Empty(t, Judge(r).Findings)
	r.Told = []Telling{tell(all, 0, 1), tell(all, 4, 5), tell(all, 5, 6)}
	require.Equal(t, []string{"missing"}, found(Judge(r)))
}

// TestTheJudgeHasNothingAgainstARightRun plays watchers that make no mistake and
// compare now and then, and say so.
func TestTheJudgeHasNothingAgainstARightRun(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		pattern := []byte{}
		uid, there := byte('a'), false
		for range 40 {
			if there && rng.IntN(4) == 0 {
				pattern, there = append(pattern, '-'), false
				continue
			}
			if !there {
				uid++
			}
			pattern, there = append(pattern, uid), true
		}
		all := states(string(pattern))
		r := run(all, nil)
		for i := 1; i < len(all); {
			if rng.IntN(5) > 0 {
				r.Told = append(r.Told, tell(all, i-1, i))
				if rng.IntN(5) == 0 { // the process was killed
					r.Told = append(r.Told, r.Told[max(0, len(r.Told)-3):]...)
				}
				i++
				continue
			}
			to := min(i+1+rng.IntN(6), len(all)-1)
			r.Announced = append(r.Announced, announce(all[to].Revision, mayMerge))
			r.Told = append(r.Told, netOf(all, i-1, to)...)
			i = to + 1
		}
		v := Judge(r)
		require.Empty(t, v.Unannounced(), "seed %d: %s", seed, pattern)
		require.Equal(t, 40, v.Sent)
	}
}

// netOf is what a comparison of two states tells.
func netOf(all []State, from, to int) []Telling {
	old, now := all[from].Version, all[to].Version
	switch {
	case old == now:
		return nil
	case old == "" || now == "" || uidOf(old) == uidOf(now):
		return []Telling{relisted(all, from, to)}
	}
	gone := from
	for all[gone].Version != "" {
		gone++
	}
	out := []Telling{relisted(all, from, gone), relisted(all, gone, to)}
	out[0].At = out[1].At
	return out
}
