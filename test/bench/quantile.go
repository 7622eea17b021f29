package main

import (
	"math"
	"slices"
	"time"
)

// quantiles of a number of durations.
type quantiles struct{ p50, p90, p99, max time.Duration }

// quantilesOf sorts d. A quantile is the smallest value that at least this share
// of all does not exceed.
func quantilesOf(d []time.Duration) quantiles {
	if len(d) == 0 {
		return quantiles{}
	}
	slices.Sort(d)
	at := func(q float64) time.Duration { return d[max(int(math.Ceil(q*float64(len(d))))-1, 0)] }
	return quantiles{at(0.5), at(0.9), at(0.99), d[len(d)-1]}
}
