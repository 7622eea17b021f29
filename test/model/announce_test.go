package model

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func revision(t time.Time) int64 { return int64(t.Sub(began) / time.Second) }

func said(second int64, message string, fields ...string) Line {
	l := Line{At: at(second), Message: message, Fields: map[string]any{}}
	for i := 0; i < len(fields); i += 2 {
		l.Fields[fields[i]] = fields[i+1]
	}
	return l
}

func TestLinesOfTheLogAnnounce(t *testing.T) {
	baseline := said(10, leftBehind, "resource", "configmaps", "namespace", "shop", "comparedWith", "a baseline")
	got := Announcements([]Line{
		said(1, "watching", "resource", "configmaps", "namespace", "shop"),
		baseline,
		said(11, "watching", "resource", "configmaps", "namespace", "tools"),
		said(12, "change not delivered", "id", "a.1.add", "deadLetter", "http://127.0.0.1"),
		said(13, "change not delivered", "id", "a.2.add"),
		said(14, "watching", "resource", "configmaps", "namespace", "shop"),
		said(15, "the API server's history is gone, so the objects are listed: changes in between are merged", "resource", "configmaps", "namespace", ""),
		said(16, leftBehind, "resource", "configmaps", "namespace", "shop", "comparedWith", "what the leader before saw last, and what waited there is not told"),
		said(17, "watching again", "resource", "configmaps", "namespace", "shop"),
	}, revision)
	require.Len(t, got, 4)
	require.Equal(t, Announcement{leftBehind + ", compared with a baseline", mayLose | mayMerge | mayRetell, "configmaps", "shop", "", at(10), 0, 14}, got[0])
	require.Equal(t, Announcement{"change not delivered", mayLose, "", "", "a.2.add", at(13), 0, 13}, got[1])
	require.Equal(t, mayMerge, got[2].Excuses)
	require.True(t, got[2].names(Key{"configmaps", "any", "x"}))
	require.Equal(t, mayLose, got[3].Excuses)
	require.Equal(t, int64(16), got[3].UpTo)
}

func TestAPlaceIsNotWatchedFromTheFileWithoutItUntilItIsFollowedAgain(t *testing.T) {
	both, one := map[string][]string{"configmaps": {"shop", "tools"}}, map[string][]string{"configmaps": {"shop"}}
	settings := []Setting{{at(0), both}, {at(10), one}, {at(20), nil}, {at(40), one}}
	c := clock{revision, revision}
	watching := func(second int64) Line { return said(second, isWatching, "resource", "configmaps", "namespace", "") }
	leader := Process{Begin: at(-5), Log: []Line{said(-4, isStarting), said(12, isGoingOver), said(22, isGoingOver), watching(23)}}
	standby := Process{Begin: at(-5), Log: []Line{said(13, isChanged), said(25, isChanged)}}
	spans := func(to int64) []Span {
		return []Span{{"configmaps", "tools", 10, to}, {"configmaps", "tools", 40, math.MaxInt64}}
	}
	got := func(all ...Process) []Span { return unwatched(settings, all, "configmaps", "tools", c) }
	require.Equal(t, spans(23), got(leader))
	require.Equal(t, spans(25), got(leader, standby), "it may have led with the file of before")
	require.Empty(t, unwatched(settings, []Process{leader, standby}, "configmaps", "shop", c))
	killed := leader
	killed.End = at(24)
	other := Process{Begin: at(-5), Log: []Line{said(24, isStarting), said(26, isGoingOver), watching(27)}}
	require.Equal(t, spans(27), got(killed, other), "the next one began without it")
	require.Equal(t, spans(math.MaxInt64), got(leader, Process{Begin: at(-5)}), "one never took it")
	require.Equal(t, spans(23), got(leader, Process{Begin: at(-5), End: at(21)}))
}

func TestTimesAreReadFromSamples(t *testing.T) {
	c := clockOf([]sample{{at(1), at(2), 10}, {at(3), at(4), 20}, {at(5), at(6), 30}})
	require.Equal(t, int64(0), c.before(at(1)))
	require.Equal(t, int64(10), c.before(at(3)))
	require.Equal(t, int64(20), c.before(at(5)))
	require.Equal(t, int64(20), c.after(at(2)))
	require.Equal(t, int64(30), c.after(at(4)))
	require.Equal(t, int64(math.MaxInt64), c.after(at(7)))
}
